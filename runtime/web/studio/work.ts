/** A picture at work: in the renderer sRGB, outside of it in the colours that it has. */

import type { Arguments } from "../src/arguments.ts";
import { Frame, type Picture } from "../src/frame.ts";
import type { Library, Region, Samples } from "../src/wasm.ts";
import type { Plan } from "../src/plan.ts";
import { type Drawn, inOwnColours16, inOwnColours8, isWide, type Srgb, toSrgb } from "./colours.ts";
import { makeCanvas } from "./reading.ts";

/** Drawn and converted at a time, of a picture in Display P3: what that takes beside it stays small. */
const BAND_PIXELS = 2 ** 20;

export class Work {
  readonly frame: Frame;

  /** A mask has one value a pixel; `bits` are those in which a picture in Display P3 is drawn. */
  constructor(
    private readonly library: Library, readonly own: ImageData, private mask: Uint8Array | null,
    bits: 8 | 16 = 16,
  ) {
    const data = isWide(own) ? toSrgb(own.data, bits) : own.data;
    this.frame = new Frame(library, this.#picture(data), mask && this.#picture(mask));
  }

  get width(): number {
    return this.own.width;
  }

  get height(): number {
    return this.own.height;
  }

  /** The space in which it is shown and saved. */
  get space(): PredefinedColorSpace {
    return isWide(this.own) ? "display-p3" : "srgb";
  }

  setMask(mask: Uint8Array): void {
    this.frame.setMask(this.#picture(mask));
    this.mask = mask;
  }

  close(): void {
    this.frame.close();
  }

  /** Draw the picture or a part of it: R, G, B, A in its own colours, 8 bits. */
  draw(plan: Plan, part: Region = this.#whole): Samples {
    if (!isWide(this.own)) return this.frame.draw(plan, part);
    return inOwnColours8(this.#drawn(this.frame.draw(plan, part), part));
  }

  /** Draw the whole picture; valid until the library's next call that allocates. */
  drawShared(plan: Plan): Samples {
    const drawn = this.frame.drawShared(plan);
    return isWide(this.own) ? inOwnColours8(this.#drawn(drawn, this.#whole)) : drawn;
  }

  /** A picture of what was drawn. */
  bitmap(drawn: Samples, width = this.width, height = this.height): ImageBitmap {
    const context = makeCanvas(width, height, this.space);
    // Shared memory is copied: ImageData does not take it.
    const data = drawn.buffer instanceof ArrayBuffer
      ? new Uint8ClampedArray(drawn.buffer, drawn.byteOffset, drawn.length)
      : new Uint8ClampedArray(drawn);
    context.putImageData(new ImageData(data, width, height, { colorSpace: this.space }), 0, 0);
    return context.canvas.transferToImageBitmap();
  }

  /** Harmonize to R, G, B in its own colours; in 16 bits a filter's steps are finer. */
  harmonize<T extends Uint8Array | Uint16Array>(given: Arguments, to: T): T {
    const deep = to.BYTES_PER_ELEMENT === 2;
    if (isWide(this.own)) {
      const plan = this.frame.measure(given);
      for (const part of this.#bands()) {
        const drawn = this.#drawn(this.frame.draw(plan, part), part);
        const rows = to.subarray(3 * part.y * part.width, 3 * (part.y + part.height) * part.width);
        if (deep) rows.set(inOwnColours16(drawn));
        else withoutAlpha(inOwnColours8(drawn), rows);
      }
      return to;
    }
    if (!deep) return withoutAlpha(this.frame.harmonize(given), to);
    const widened = withoutAlpha(this.own.data, new Uint16Array(to.length), 257);
    const opened = new Frame(this.library, this.#picture(widened), this.mask && this.#picture(this.mask));
    try {
      to.set(opened.harmonize(given));
      return to;
    } finally {
      opened.close();
    }
  }

  /** Harmonize to a JPEG file. */
  async jpeg(given: Arguments): Promise<Blob> {
    const { width, height } = this;
    const context = makeCanvas(width, height, this.space);
    const plan = this.frame.measure(given);
    for (const part of isWide(this.own) ? this.#bands() : [this.#whole]) {
      const data = new Uint8ClampedArray(this.draw(plan, part).buffer as ArrayBuffer);
      const image = new ImageData(data, part.width, part.height, { colorSpace: this.space });
      context.putImageData(image, 0, part.y);
    }
    return context.canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
  }

  get #whole(): Region {
    return { x: 0, y: 0, width: this.width, height: this.height };
  }

  *#bands(): Generator<Region> {
    const { width, height } = this, rows = Math.max(1, Math.floor(BAND_PIXELS / width));
    for (let y = 0; y < height; y += rows) {
      yield { x: 0, y, width, height: Math.min(rows, height - y) };
    }
  }

  /** Of a picture in Display P3. */
  #drawn(drawn: Samples, part: Region): Drawn {
    const { own, mask, frame } = this;
    return { own, srgb: frame.image.data as Srgb, drawn: drawn as Srgb, part, mask };
  }

  #picture(data: Samples): Picture {
    return { data, width: this.own.width, height: this.own.height };
  }
}

function withoutAlpha<T extends Uint8Array | Uint16Array>(from: ArrayLike<number>, to: T, factor = 1): T {
  for (let i = 0, k = 0; k < to.length; i += 4) {
    to[k++] = from[i] * factor;
    to[k++] = from[i + 1] * factor;
    to[k++] = from[i + 2] * factor;
  }
  return to;
}
