/** A frame: one picture at work, copied into the renderer's memory once. */

import { type Arguments, clamped, scaled } from "./arguments.ts";
import { InvalidError } from "./errors.ts";
import type { Library, Placed, Region, Samples } from "./wasm.ts";
import type { Plan } from "./plan.ts";
import type { Predictor } from "./predictor.ts";

/** Interleaved R, G, B or R, G, B, A; integers stand for [0, 1], floats lie in it. */
export interface Picture {
  readonly data: Samples;
  readonly width: number;
  readonly height: number;
}

export const EMPTY_MASK =
  "The mask is empty: there is no foreground, and nothing is changed. Select one.";
export const VANISHED_MASK =
  "The foreground is too small: it vanishes in the thumbnail that the network sees, and nothing " +
  "is changed. Crop the picture around it.";
export const FULL_MASK =
  "The mask covers the whole picture: there is no background to match, and the result is a guess.";

export class Frame {
  /** What may not be as meant, after `predict`: sentences. */
  concerns: readonly string[] = [];
  readonly channels: number;
  #image: Placed | null;
  #mask: Placed | null = null;
  /** What `drawShared` draws into. */
  #out: Placed | null = null;

  constructor(private readonly library: Library, readonly image: Picture, mask: Picture | null) {
    const { data, width, height } = image;
    this.channels = data.length / (width * height);
    if (!(width >= 1 && height >= 1) || (this.channels !== 3 && this.channels !== 4)) {
      throw new InvalidError(
        `the image must hold 3 or 4 values a pixel; got ${data.length} for ${width}x${height} ` +
          "pixels. Correct its width and height.",
      );
    }
    this.#image = library.place(data, width, height, this.channels);
    try {
      if (mask) this.setMask(mask);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get closed(): boolean {
    return this.#image === null;
  }

  /** Take another mask: 0 in the background, the most in the foreground. */
  setMask(mask: Picture): void {
    const { width, height } = this.image;
    if (mask.width !== width || mask.height !== height || mask.data.length !== width * height) {
      throw new InvalidError(
        "the mask must have the composite's height and width, one value a pixel; got " +
          `${mask.height}x${mask.width} for a ${height}x${width} composite. Resize it.`,
      );
    }
    const placed = this.library.place(mask.data, width, height, 1);
    if (this.#mask) this.library.release(this.#mask);
    this.#mask = placed;
  }

  /** Composite and mask, or with `crops` foreground and background, as predictors read them. */
  thumbnails(crops = false): [Float32Array, Float32Array] {
    const { image, mask } = this.#open();
    if (!crops) return this.library.thumbnails(image, mask);
    if (!mask) throw new InvalidError("the mask must be there to crop to; got none. Pass one.");
    return this.library.regionThumbnails(image, mask);
  }

  /** Predict the arguments; the identity where the network can see no foreground. */
  async predict(predictor: Predictor, label?: string): Promise<Arguments> {
    const { mask } = this.#open();
    if (!mask) throw new InvalidError("the mask must be there to predict with; got none. Pass one.");
    this.concerns = [];
    const values = this.library.view(mask);
    const most = values instanceof Float32Array ? 1 : 2 ** (8 * values.BYTES_PER_ELEMENT) - 1;
    if (!values.some((value) => value !== 0)) {
      this.concerns = [EMPTY_MASK];
      return predictor.identity();
    }
    if (values.every((value) => value === most)) this.concerns = [FULL_MASK];
    const small = this.thumbnails(predictor.contract.crops);
    if (!predictor.contract.crops && !small[1].some((value) => value !== 0)) {
      this.concerns = [VANISHED_MASK];
      return predictor.identity();
    }
    return predictor.predict(small, label);
  }

  /** Clamp the arguments and measure what the operations read of the whole picture. */
  measure(given: Arguments): Plan {
    const { image } = this.#open();
    const steps = Object.entries(clamped(given)).map(([operation, argument]) => ({
      operation, argument, statistics: [],
    }));
    return this.library.measure(image, { steps });
  }

  /** Draw the picture, or a part of it; a new array of the picture's kind. */
  draw(plan: Plan, region?: Region): Samples {
    const { image, mask } = this.#open();
    const part = region ?? { x: 0, y: 0, width: image.width, height: image.height };
    checkRegion(part, image);
    const out = this.library.reserve(part.width, part.height, image.channels, image.bytes);
    try {
      if (image.channels === 4) this.#copyRows(image, out, part);
      this.library.draw(image, mask, plan, out, part);
      return this.library.view(out).slice();
    } finally {
      this.library.release(out);
    }
  }

  /**
   * Draw the whole picture into memory that the next call draws into again: no copy is made, and
   * the array is valid until the library's next call that allocates.
   */
  drawShared(plan: Plan): Samples {
    const { image, mask } = this.#open();
    if (!this.#out) {
      this.#out = this.library.reserve(image.width, image.height, image.channels, image.bytes);
      this.library.view(this.#out).set(this.library.view(image));
    }
    this.library.draw(image, mask, plan, this.#out);
    return this.library.view(this.#out);
  }

  /** `measure` and `draw`, of arguments scaled by a strength from 0 to 1.5. */
  harmonize(given: Arguments, strength = 1): Samples {
    return this.draw(this.measure(scaled(given, strength)));
  }

  /** Let go of the picture; a second time does nothing. */
  close(): void {
    for (const placed of [this.#image, this.#mask, this.#out]) {
      if (placed) this.library.release(placed);
    }
    this.#image = this.#mask = this.#out = null;
  }

  /** Alpha, which drawing leaves as it is. */
  #copyRows(image: Placed, out: Placed, part: Region): void {
    const from = this.library.view(image), to = this.library.view(out);
    const row = part.width * image.channels;
    for (let y = 0; y < part.height; ++y) {
      const start = ((part.y + y) * image.width + part.x) * image.channels;
      to.set(from.subarray(start, start + row), y * row);
    }
  }

  #open(): { image: Placed; mask: Placed | null } {
    if (!this.#image) throw new InvalidError("the frame must be open; it was closed. Open another.");
    return { image: this.#image, mask: this.#mask };
  }
}

function checkRegion(part: Region, image: Placed): void {
  const whole = [part.x, part.y, part.width, part.height].every(Number.isInteger);
  if (
    !whole || part.x < 0 || part.y < 0 || part.width < 1 || part.height < 1 ||
    part.x + part.width > image.width || part.y + part.height > image.height
  ) {
    throw new InvalidError(
      `the region must lie in the picture, in whole pixels; got ${JSON.stringify(part)} of ` +
        `${image.width}x${image.height}. Correct it.`,
    );
  }
}
