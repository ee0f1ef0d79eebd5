/** Errors whose message is a sentence for a person: the rule, what came, the remedy. */

/** A picture, mask, argument or file breaks a documented rule. */
export class InvalidError extends Error {
  override name = "InvalidError";
}

/** A model is unusable: damaged, of another contract, or not ours. */
export class ModelError extends Error {
  override name = "ModelError";
}

/** The tab has not enough memory; what was open stays open. */
export class MemoryError extends Error {
  override name = "MemoryError";
}

/** This browser lacks what the renderer needs. */
export class UnsupportedError extends Error {
  override name = "UnsupportedError";
}
