/** Predict arguments with onnxruntime-web. A predictor returns arguments and never draws. */

import * as ort from "onnxruntime-web/wasm";

import { type Arguments, fromNumbers, identity } from "./arguments.ts";
import { type Contract, readContract, REMEDY } from "./contract.ts";
import { InvalidError, ModelError } from "./errors.ts";
import { readOnnx } from "./onnx.ts";
import { DEFAULT_LABEL, LABELS, OUTPUT } from "./registry.ts";

/** Where ONNX Runtime's own files lie, and how many threads it may take. */
export interface RuntimeOptions {
  readonly wasmPaths?: { readonly mjs?: string; readonly wasm?: string } | string;
  readonly threads?: number;
}

/** Set ONNX Runtime up; once, before the first predictor. */
export function configureRuntime(options: RuntimeOptions): void {
  if (options.wasmPaths !== undefined) ort.env.wasm.wasmPaths = options.wasmPaths;
  ort.env.wasm.numThreads = options.threads ?? 1;
  ort.env.logLevel = "error";
}

export class Predictor {
  private constructor(
    readonly source: string,
    readonly contract: Contract,
    readonly metadata: ReadonlyMap<string, string>,
    private readonly session: ort.InferenceSession,
  ) {}

  /** Check a file and load it. */
  static async load(data: Uint8Array, source = "the model"): Promise<Predictor> {
    let file;
    try {
      file = readOnnx(data);
    } catch (error) {
      throw new ModelError(
        `${source} must be a complete ONNX model; it is not (${(error as Error).message}). ${REMEDY}`,
      );
    }
    const contract = readContract(source, file.metadata);
    if (file.complaints.length) {
      throw new ModelError(
        `${source} must be made of known operators, without loops and graphs inside; ` +
          `${file.complaints.join("; ")}. ${REMEDY}`,
      );
    }
    let session;
    try {
      session = await ort.InferenceSession.create(data, { executionProviders: ["wasm"] });
    } catch (error) {
      throw new ModelError(
        `${source} must be a model that ONNX Runtime can run; it is not ` +
          `(${String((error as Error).message ?? error).slice(0, 200)}). ${REMEDY}`,
      );
    }
    checkSession(source, contract, session);
    return new Predictor(source, contract, file.metadata, session);
  }

  /** The arguments for thumbnails in the order of `contract.inputs`, all of one picture. */
  async predict(inputs: readonly Float32Array[], label?: string): Promise<Arguments> {
    const { contract, source } = this;
    if (label !== undefined && !contract.labelled) {
      throw new InvalidError(
        "`label` must go with a model that reads one; this one reads " +
          `${Object.keys(contract.inputs).join(", ")}. Leave it out.`,
      );
    }
    const given = [...inputs];
    if (contract.labelled) given.push(oneHot(label ?? DEFAULT_LABEL));
    const feeds: Record<string, ort.Tensor> = {};
    Object.entries(contract.inputs).forEach(([name, shape], i) => {
      feeds[name] = new ort.Tensor("float32", given[i], [1, ...shape]);
    });
    const answer = (await this.session.run(feeds))[OUTPUT].data as Float32Array;
    const count = contract.sizes.reduce((sum, size) => sum + size, 0);
    if (answer.length !== count || !answer.every(Number.isFinite)) {
      throw new ModelError(
        `${source} must answer with ${count} finite numbers; it does not. The model is damaged or ` +
          "overflows in its precision: use the FP32 export.",
      );
    }
    return fromNumbers(answer, contract.filters, contract.sizes);
  }

  identity(): Arguments {
    return identity(this.contract.filters, this.contract.sizes);
  }

  async close(): Promise<void> {
    await this.session.release();
  }
}

function oneHot(label: string): Float32Array {
  if (!LABELS.includes(label)) {
    throw new InvalidError(`\`label\` must be one of ${LABELS.join(", ")}; got '${label}'.`);
  }
  return Float32Array.from(LABELS, (name) => (name === label ? 1 : 0));
}

function checkSession(source: string, contract: Contract, session: ort.InferenceSession): void {
  const expected = Object.keys(contract.inputs);
  const complaints = [];
  if ([...session.inputNames].sort().join() !== [...expected].sort().join()) {
    complaints.push(`its inputs are ${session.inputNames.join(", ") || "none"}`);
  }
  for (const value of session.inputMetadata) {
    const shape = contract.inputs[value.name];
    if (!shape || !value.isTensor) continue;
    const tail = value.shape.slice(1);
    const fits = tail.length === shape.length &&
      tail.every((size, i) => typeof size !== "number" || size === shape[i]);
    if (value.type !== "float32" || !fits) {
      complaints.push(`its ${value.name} is ${value.type} [${value.shape.join(", ")}]`);
    }
  }
  if (!session.outputNames.includes(OUTPUT)) complaints.push(`it has no ${OUTPUT}`);
  if (complaints.length) {
    throw new ModelError(
      `${source} must map ${expected.join(", ")} to ${OUTPUT}, all float32, N dynamic; ` +
        `${complaints.join("; ")}. ${REMEDY}`,
    );
  }
}
