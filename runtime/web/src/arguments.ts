/** Filter arguments: what a network predicts and a person may read, store and edit. */

import { InvalidError } from "./errors.ts";
import {
  ARGUMENTS_FORMAT, ARGUMENTS_VERSION, CURVE_KNOTS, DEFAULT_FILTERS, MAX_FILTERS, MAX_STRENGTH,
  OPERATIONS,
} from "./registry.ts";

/** A number, or as many as the operation takes, flat. */
export type Value = number | readonly number[];

/** Filter -> argument; the order of the keys is the order of drawing. */
export type Arguments = Readonly<Record<string, Value>>;

const REMEDY = "Write one with `harmonizer image --save-arguments`, or here, and edit that.";

/** The arguments that change nothing. */
export function identity(
  filters: readonly string[] = DEFAULT_FILTERS, sizes?: readonly number[],
): Arguments {
  return Object.fromEntries(filters.map((name, i) => {
    const size = sizes?.[i] ?? OPERATIONS[name].sizes[0];
    const each = OPERATIONS[name].identity;
    return [name, size === 1 ? each : Array<number>(size).fill(each)];
  }));
}

/** The arguments that a predictor's numbers are, one after the other. */
export function fromNumbers(
  numbers: Float32Array, filters: readonly string[], sizes: readonly number[],
): Arguments {
  let at = 0;
  return Object.fromEntries(filters.map((name, i) => {
    const part = Array.from(numbers.subarray(at, (at += sizes[i])));
    return [name, sizes[i] === 1 ? part[0] : part];
  }));
}

function each(given: Arguments, change: (value: number, name: string) => number): Arguments {
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [
    name,
    typeof value === "number" ? change(value, name) : value.map((v) => change(v, name)),
  ]));
}

/** Blend from the identity (0) over these arguments (1) beyond them (up to 1.5). */
export function scaled(given: Arguments, strength: number): Arguments {
  if (!(strength >= 0 && strength <= MAX_STRENGTH)) {
    throw new InvalidError(
      `strength must lie in [0, ${MAX_STRENGTH}]; got ${strength}. 0 gives the composite, 1 what ` +
        "the network predicted.",
    );
  }
  return each(given, (value, name) => {
    const rest = OPERATIONS[name].identity;
    return rest + strength * (value - rest);
  });
}

/** The arguments as they are drawn: each clamped to its operation's range. */
export function clamped(given: Arguments): Arguments {
  return each(given, (value, name) => {
    const { minimum, maximum } = OPERATIONS[name];
    return Math.min(Math.max(value, minimum), maximum);
  });
}

/** Refuse what is no list of 1 to `MAX_FILTERS` registered operations, each once. */
export function checkFilters(names: readonly unknown[]): readonly string[] {
  const unknown = names.filter((name) => !(typeof name === "string" && name in OPERATIONS));
  if (unknown.length) {
    throw new InvalidError(
      `filters must be registered operations; got ${unknown.map((n) => `'${n}'`).join(", ")}. ` +
        `Choose among ${Object.keys(OPERATIONS).join(", ")}.`,
    );
  }
  if (new Set(names).size !== names.length) {
    throw new InvalidError(`each filter may appear once; got ${names.join(", ")}.`);
  }
  if (names.length < 1 || names.length > MAX_FILTERS) {
    throw new InvalidError(`a filter list has 1 to ${MAX_FILTERS} entries; got ${names.length}.`);
  }
  return names as readonly string[];
}

/** The text of the file that the command line reads, with the arguments as they are drawn. */
export function toJson(given: Arguments): string {
  const document = {
    format: ARGUMENTS_FORMAT,
    version: ARGUMENTS_VERSION,
    filters: Object.keys(given),
    arguments: Object.fromEntries(
      Object.entries(clamped(given)).map(([name, value]) => [name, nested(value)]),
    ),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** Read a file of arguments, or `{"brightness": 0.5}` written by hand, as the command line does. */
export function fromJson(text: string, source = "the file"): Arguments {
  const document = parse(text, source);
  if (!isObject(document)) refuseFormat(source, document);
  const keys = Object.keys(document);
  if (keys.length && keys.every((key) => key in OPERATIONS)) return byHand(document, source);
  if (document.format !== ARGUMENTS_FORMAT) refuseFormat(source, document);
  if (document.version !== ARGUMENTS_VERSION) {
    throw new InvalidError(
      `${source} must have version ${ARGUMENTS_VERSION}; got ${JSON.stringify(document.version)}. ` +
        "Write it again with this version of harmonizer.",
    );
  }
  const { filters, arguments: given } = document;
  const expected = ["format", "version", "filters", "arguments"];
  if (keys.length !== expected.length || !expected.every((key) => keys.includes(key))) {
    throw new InvalidError(
      `${source} must have the keys ${expected.join(", ")}; got ${keys.join(", ")}. Remove or ` +
        "add what differs.",
    );
  }
  if (!Array.isArray(filters) || !isObject(given)) {
    throw new InvalidError(
      `${source} must hold a list "filters" (drawing order) and an object "arguments" (name -> ` +
        `number). ${REMEDY}`,
    );
  }
  return fromMapping(given, checkFilters(filters), source);
}

function byHand(document: Record<string, unknown>, source: string): Arguments {
  const plain = Object.keys(document).every((name) => DEFAULT_FILTERS.includes(name));
  const filters = plain ? DEFAULT_FILTERS : checkFilters(Object.keys(document));
  const rest = Object.fromEntries(filters.map((name) => [name, OPERATIONS[name].identity]));
  return fromMapping({ ...rest, ...document }, filters, source);
}

function fromMapping(
  given: Record<string, unknown>, filters: readonly string[], source: string,
): Arguments {
  const unknown = Object.keys(given).filter((name) => !filters.includes(name));
  const missing = filters.filter((name) => !(name in given));
  if (unknown.length || missing.length) {
    const complaints = [
      ...(unknown.length ? [`unknown ${unknown.join(", ")}`] : []),
      ...(missing.length ? [`missing ${missing.join(", ")}`] : []),
    ];
    throw new InvalidError(
      `${source}: arguments must name each of ${filters.join(", ")} once; ` +
        `${complaints.join("; ")}. Write 0 for a filter that should do nothing.`,
    );
  }
  return Object.fromEntries(filters.map((name) => [name, checkValue(name, given[name], source)]));
}

/** Refuse what is no argument of that operation. */
export function checkValue(name: string, value: unknown, source: string): Value {
  const { minimum, maximum, sizes } = OPERATIONS[name];
  const numbers: unknown[] = Array.isArray(value) ? value.flat(2) : [value];
  if (!sizes.includes(numbers.length) || Array.isArray(value) !== sizes[0] > 1) {
    throw new InvalidError(
      `${source}: argument \`${name}\` must be ${sizes.join(", ")} numbers; got ` +
        `${JSON.stringify(value)?.slice(0, 40)}. Write as many.`,
    );
  }
  for (const number of numbers) {
    if (typeof number !== "number" || !(number >= minimum && number <= maximum)) {
      throw new InvalidError(
        `${source}: argument \`${name}\` must lie in [${minimum}, ${maximum}]; got ` +
          `${JSON.stringify(number)?.slice(0, 40)}. Write a value in that range.`,
      );
    }
  }
  return numbers.length === 1 ? (numbers[0] as number) : (numbers as number[]);
}

function nested(value: Value): unknown {
  if (typeof value === "number") return value;
  const curves = [];
  for (let at = 0; at < value.length; at += CURVE_KNOTS) curves.push(value.slice(at, at + CURVE_KNOTS));
  const stages = [];
  for (let at = 0; at < curves.length; at += 3) stages.push(curves.slice(at, at + 3));
  return stages;
}

function parse(text: string, source: string): unknown {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new InvalidError(
      `${source} must be a JSON file of arguments; it cannot be parsed (${
        (error as Error).message.slice(0, 80)
      }). ${REMEDY}`,
    );
  }
  const names = ["format", "version", "filters", "arguments", ...Object.keys(OPERATIONS)];
  const twice = names.find((name) => text.split(new RegExp(`"${name}"\\s*:`)).length > 2);
  if (twice) {
    throw new InvalidError(
      `${source} must have every key once; "${twice}" comes twice. Remove one of them.`,
    );
  }
  return document;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refuseFormat(source: string, document: unknown): never {
  throw new InvalidError(
    `${source} must be an object with "format": "${ARGUMENTS_FORMAT}"; got ` +
      `${JSON.stringify(document).slice(0, 80)}. ${REMEDY}`,
  );
}
