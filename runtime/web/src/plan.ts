/** The plan between predictor and renderer: arguments and what was measured of a picture. */

import type { Value } from "./arguments.ts";

export interface Step {
  readonly operation: string;
  /** Within the operation's range. */
  readonly argument: Value;
  /** What the operation reads of the whole picture, as the steps before it leave it. */
  readonly statistics: readonly number[];
}

export interface Plan {
  readonly steps: readonly Step[];
}
