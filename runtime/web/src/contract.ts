/** What a predictor file promises, held to as contract.py does. */

import { checkFilters } from "./arguments.ts";
import { ModelError } from "./errors.ts";
import {
  END_TO_END_FORMAT, INPUTS, LABELS, OPERATIONS, PREDICTOR_FORMAT, PREDICTOR_VERSION,
} from "./registry.ts";

export interface Contract {
  readonly model: string;
  /** The operations whose arguments it predicts, in drawing order. */
  readonly filters: readonly string[];
  /** How many numbers each of them takes. */
  readonly sizes: readonly number[];
  /** Name -> shape without the batch, in the order in which they are passed. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly labelled: boolean;
  /** Whether it reads foreground and background apart. */
  readonly crops: boolean;
}

export const REMEDY =
  "Export one with: python export/to_onnx.py --checkpoint CKPT --output FILE.onnx";

/** Check that a file is ours and of this version. */
export function readContract(source: string, metadata: ReadonlyMap<string, string>): Contract {
  const kind = metadata.get("harmonizer.format");
  if (kind === END_TO_END_FORMAT) {
    throw new ModelError(
      `${source} must be a predictor, which gives arguments; it is an end-to-end graph, which ` +
        "draws them itself. Export the predictor.",
    );
  }
  if (kind !== PREDICTOR_FORMAT) {
    throw new ModelError(
      `${source} must say harmonizer.format = "${PREDICTOR_FORMAT}" in its metadata; it says ` +
        `${kind === undefined ? "nothing" : `'${kind.slice(0, 80)}'`}: it was not written by this ` +
        `project. ${REMEDY}`,
    );
  }
  const version = metadata.get("harmonizer.format_version");
  if (version !== PREDICTOR_VERSION) {
    throw new ModelError(
      `${source} must have format version ${PREDICTOR_VERSION}; it has ` +
        `'${String(version).slice(0, 40)}'. Export it again with this version, or update harmonizer.`,
    );
  }
  const model = metadata.get("harmonizer.model") ?? "harmonizer";
  if (!Object.hasOwn(INPUTS, model)) {
    throw new ModelError(
      `${source} must be one of ${Object.keys(INPUTS).join(", ")} (harmonizer.model); it is ` +
        `'${model.slice(0, 80)}'. Update harmonizer. ${REMEDY}`,
    );
  }
  const filters = readFilters(source, metadata.get("harmonizer.filters") ?? "");
  const labelled = readLabelled(source, metadata.get("harmonizer.labels") ?? "[]");
  const inputs = { ...INPUTS[model], ...(labelled ? { label: [LABELS.length] } : {}) };
  const sizes = readSizes(source, metadata.get("harmonizer.sizes") ?? "{}", filters);
  return { model, filters, sizes, inputs, labelled, crops: "foreground" in inputs };
}

function readFilters(source: string, listed: string): readonly string[] {
  try {
    const names: unknown = JSON.parse(listed);
    if (!Array.isArray(names)) throw new Error("not a list of names");
    return checkFilters(names);
  } catch (error) {
    throw new ModelError(
      `${source} must list its filters in harmonizer.filters; it has '${listed.slice(0, 200)}' ` +
        `(${(error as Error).message}). ${REMEDY}`,
    );
  }
}

function readSizes(source: string, listed: string, filters: readonly string[]): number[] {
  let given: unknown;
  try {
    given = JSON.parse(listed);
  } catch {
    given = null;
  }
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new ModelError(
      `${source} must hold an object in harmonizer.sizes; it has '${listed.slice(0, 200)}'. ${REMEDY}`,
    );
  }
  return filters.map((name) => {
    const size = (given as Record<string, unknown>)[name] ?? 1;
    if (typeof size !== "number" || !OPERATIONS[name].sizes.includes(size)) {
      throw new ModelError(
        `${source} must predict ${OPERATIONS[name].sizes.join(" or ")} numbers for ${name} ` +
          `(harmonizer.sizes); it says ${JSON.stringify(size).slice(0, 80)}. ${REMEDY}`,
      );
    }
    return size;
  });
}

function readLabelled(source: string, listed: string): boolean {
  let labels: unknown = null;
  try {
    labels = JSON.parse(listed);
  } catch {
    // refused below
  }
  const all = JSON.stringify(LABELS);
  if (JSON.stringify(labels) !== "[]" && JSON.stringify(labels) !== all) {
    throw new ModelError(
      `${source} must know the labels ${LABELS.join(", ")}, or none (harmonizer.labels); it has ` +
        `'${listed.slice(0, 200)}'. ${REMEDY}`,
    );
  }
  return JSON.stringify(labels) === all;
}
