/** A look in the page's address: `#temperature=0.12&shadow=-0.2`, arguments alone. */

import { type Arguments, checkValue, clamped, identity } from "../src/arguments.ts";
import { InvalidError } from "../src/errors.ts";
import { DEFAULT_FILTERS, OPERATIONS } from "../src/registry.ts";

/** The fragment for these arguments; curves are too long for an address. */
export function toFragment(given: Arguments): string {
  const entries = Object.entries(clamped(given));
  if (entries.some(([, value]) => typeof value !== "number")) {
    throw new InvalidError(
      "A link must hold one number a filter; curves are longer. Save the arguments as a file.",
    );
  }
  return `#${entries.map(([name, value]) => `${name}=${Number((value as number).toFixed(4))}`).join("&")}`;
}

/** The arguments of a fragment; null where it holds none. */
export function fromFragment(fragment: string): Arguments | null {
  const text = fragment.replace(/^#/, "");
  if (!text) return null;
  const given: Record<string, number> = {};
  for (const [name, value] of new URLSearchParams(text)) {
    if (!Object.hasOwn(OPERATIONS, name) || name in given) {
      throw new InvalidError(
        `The address must name filters after #, each once; it has '${name.slice(0, 40)}'. The ` +
          `filters are ${DEFAULT_FILTERS.join(", ")}.`,
      );
    }
    const number = value === "" ? NaN : Number(value);
    given[name] = checkValue(name, number, "The address") as number;
  }
  const names = Object.keys(given);
  const plain = names.every((name) => DEFAULT_FILTERS.includes(name));
  return { ...(plain ? identity() : {}), ...given };
}
