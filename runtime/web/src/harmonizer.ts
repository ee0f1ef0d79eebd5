/** The renderer and one network together. */

import type { Arguments } from "./arguments.ts";
import { InvalidError } from "./errors.ts";
import { Frame, type Picture } from "./frame.ts";
import { Library } from "./wasm.ts";
import { cube } from "./lut.ts";
import type { Plan } from "./plan.ts";
import { configureRuntime, Predictor, type RuntimeOptions } from "./predictor.ts";

export interface HarmonizerOptions extends RuntimeOptions {
  /** The bytes of harmonizer.wasm. */
  readonly wasm: BufferSource;
  /** The bytes of a predictor's ONNX file; without one, arguments are given. */
  readonly model?: Uint8Array;
  /**
   * Starts a worker that runs helper.js, in a worker of a page that is cross-origin isolated:
   * `wasm` is then harmonizer-threads.wasm, and `threads` draw.
   */
  readonly helper?: () => Worker;
}

export class Harmonizer {
  private constructor(readonly library: Library, readonly predictor: Predictor | null) {}

  static async load(options: HarmonizerOptions): Promise<Harmonizer> {
    const { helper, threads = 1 } = options;
    const library = await Library.load(options.wasm, helper && { count: threads, helper });
    if (!options.model) return new Harmonizer(library, null);
    configureRuntime(options);
    return new Harmonizer(library, await Predictor.load(options.model));
  }

  /** Copy a picture and its mask to the renderer; close the frame when it is done with. */
  open(image: Picture, mask: Picture | null): Frame {
    return new Frame(this.library, image, mask);
  }

  async predict(frame: Frame, label?: string): Promise<Arguments> {
    if (!this.predictor) {
      throw new InvalidError("a model must be loaded to predict; none is. Pass `model` to load().");
    }
    return frame.predict(this.predictor, label);
  }

  /** The .cube text of a plan. */
  cube(plan: Plan, title: string, size: 33 | 65 = 33): string {
    return cube(this.library, plan, title, size);
  }

  async close(): Promise<void> {
    this.library.close();
    await this.predictor?.close();
  }
}
