/** White-box image harmonization in a browser or in Node.js. */

export {
  type Arguments, checkFilters, clamped, fromJson, identity, scaled, toJson, type Value,
} from "./arguments.ts";
export { type Contract, readContract } from "./contract.ts";
export { InvalidError, MemoryError, ModelError, UnsupportedError } from "./errors.ts";
export { Frame, type Picture } from "./frame.ts";
export { Harmonizer, type HarmonizerOptions } from "./harmonizer.ts";
export { Library, MOST_THREADS, type Region, type Samples, type Threads } from "./wasm.ts";
export { cube, greys } from "./lut.ts";
export type { Plan, Step } from "./plan.ts";
export { configureRuntime, Predictor, type RuntimeOptions } from "./predictor.ts";
export * from "./registry.ts";
