/** The C interface of the renderer, compiled to WebAssembly: runtime/cpp/include/harmonizer.h. */

import { InvalidError, MemoryError, UnsupportedError } from "./errors.ts";
import { type Helpers, startHelpers, SYSTEM } from "./helpers.ts";
import type { Plan } from "./plan.ts";
import { CURVE_KNOTS, OPERATIONS, THUMBNAIL_SIZE } from "./registry.ts";

export type Samples = Uint8Array | Uint8ClampedArray | Uint16Array | Float32Array;

/** Where one picture or mask lies in the module's memory, packed. */
export interface Placed {
  readonly at: number;
  readonly width: number;
  readonly height: number;
  /** Values of a pixel: 1 of a mask, 3 or 4 of a picture. */
  readonly channels: number;
  readonly bytes: 1 | 2 | 4;
}

/** A part of a picture, in pixels. */
export interface Region {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** The order of `places` in runtime/web/wasm/layout.cpp. */
const FIELDS = [
  "image", "imageData", "imageWidth", "imageHeight", "imageRow", "imagePixel", "imageChannel",
  "imageType", "mask", "maskData", "maskWidth", "maskHeight", "maskRow", "maskPixel", "maskType",
  "program", "count", "steps", "step", "operation", "argument", "statistics", "stages", "slopes",
  "u8", "u16", "f32", "outOfMemory",
] as const;

type Layout = Record<(typeof FIELDS)[number], number>;

interface Exports {
  _initialize(): void;
  malloc(bytes: number): number;
  free(at: number): void;
  hz_measure(image: number, program: number, threads: number): number;
  hz_render(image: number, mask: number, program: number, out: number, threads: number): number;
  hz_thumbnail(image: number, mask: number, size: number, c: number, m: number): number;
  hz_region_thumbnails(image: number, mask: number, f: number, b: number, threads: number): number;
  hz_last_error(): number;
  hz_version(): number;
  hz_web_layout(): number;
}

/** More gain nothing: memory is then what drawing waits for. */
export const MOST_THREADS = 16;

/** What build_studio.py gives the module with threads, in pages of 64 KiB. */
const SHARED_MEMORY = { initial: 512, maximum: 65535, shared: true };

function reserveShared(): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory(SHARED_MEMORY);
  } catch {
    throw new MemoryError(
      "The tab must have 4 GiB of addresses for threads; it does not. Load harmonizer.wasm " +
        "without `threads`.",
    );
  }
}

/** Bytes of a module with one SIMD instruction: i32.const 0, i8x16.splat, drop. */
const SIMD_PROBE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 9, 1, 7, 0, 65, 0, 253, 15, 26, 11,
];

export interface Threads {
  /** How many draw, this one among them. */
  readonly count: number;
  /** Starts a worker that runs helper.js. */
  readonly helper: () => Worker;
}

/** The renderer's module; its methods are called by one thread. */
export class Library {
  readonly #exports: Exports;
  readonly #memory: WebAssembly.Memory;
  #helpers: Helpers | null = null;
  readonly #layout: Layout;
  readonly #image: number;
  readonly #out: number;
  readonly #mask: number;
  readonly #program: number;

  private constructor(exports: Exports, memory: WebAssembly.Memory) {
    this.#exports = exports;
    this.#memory = memory;
    exports._initialize();
    const places = new Int32Array(memory.buffer, exports.hz_web_layout(), FIELDS.length);
    this.#layout = Object.fromEntries(FIELDS.map((name, i) => [name, places[i]])) as Layout;
    this.#image = this.#allocate(this.#layout.image, "an image's description");
    this.#out = this.#allocate(this.#layout.image, "an image's description");
    this.#mask = this.#allocate(this.#layout.mask, "a mask's description");
    this.#program = this.#allocate(this.#layout.program, "a program");
  }

  /**
   * Compile the module from its bytes: harmonizer.wasm, or with `threads`, which a worker of a
   * page that is cross-origin isolated may have, harmonizer-threads.wasm.
   */
  static async load(wasm: BufferSource, threads?: Threads): Promise<Library> {
    if (typeof WebAssembly === "undefined" || !WebAssembly.validate(new Uint8Array(SIMD_PROBE))) {
      throw new UnsupportedError(
        "This browser must run WebAssembly with SIMD; it does not. Update it: Chrome 95, " +
          "Firefox 100, Safari 16.4 or newer do.",
      );
    }
    const system = { wasi_snapshot_preview1: SYSTEM };
    if (!threads) {
      const { instance } = await WebAssembly.instantiate(wasm, system);
      const exports = instance.exports as unknown as Exports & { memory: WebAssembly.Memory };
      return new Library(exports, exports.memory);
    }
    const { count, helper } = threads;
    if (!Number.isInteger(count) || count < 1 || count > MOST_THREADS) {
      throw new InvalidError(
        `\`threads.count\` must be a whole number from 1 to ${MOST_THREADS}; got ${count}. Correct it.`,
      );
    }
    if (typeof document !== "undefined" || !globalThis.crossOriginIsolated) {
      throw new UnsupportedError(
        "Threads must be asked for by a worker of a page that is cross-origin isolated; this is " +
          `${typeof document !== "undefined" ? "the page itself" : "one that is not"}. Load ` +
          "harmonizer.wasm without `threads`, or serve the page with COOP and COEP headers.",
      );
    }
    const memory = reserveShared();
    const module = await WebAssembly.compile(wasm);
    const instance = await WebAssembly.instantiate(module, { ...system, env: { memory } });
    const library = new Library(instance.exports as unknown as Exports, memory);
    library.#helpers = await startHelpers(count - 1, helper, module, memory, (bytes) =>
      library.#allocate(bytes, "a thread"),
    );
    return library;
  }

  /** How many threads measure and draw. */
  get threads(): number {
    return 1 + (this.#helpers?.count ?? 0);
  }

  /** End the helpers; the library draws alone afterwards. */
  close(): void {
    this.#helpers?.end();
    this.#helpers = null;
  }

  get version(): string {
    return this.#text(this.#exports.hz_version());
  }

  /** Bytes of the module's memory, which grows and never shrinks. */
  get memoryBytes(): number {
    return this.#memory.buffer.byteLength;
  }

  /** Copy samples into the module's memory; `release` gives it back. */
  place(data: Samples, width: number, height: number, channels: number): Placed {
    const bytes = data.BYTES_PER_ELEMENT as Placed["bytes"];
    const placed = this.reserve(width, height, channels, bytes);
    this.#bytes(placed).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return placed;
  }

  /** Memory for a picture, not cleared. */
  reserve(width: number, height: number, channels: number, bytes: Placed["bytes"]): Placed {
    const size = width * height * channels * bytes;
    const at = this.#allocate(size, `a picture of ${width}x${height} pixels`);
    return { at, width, height, channels, bytes };
  }

  release(placed: Placed): void {
    this.#exports.free(placed.at);
  }

  /** The samples of a picture as they lie there; valid until the next call that allocates. */
  view(placed: Placed): Samples {
    const { buffer } = this.#memory;
    const count = placed.width * placed.height * placed.channels;
    if (placed.bytes === 1) return new Uint8Array(buffer, placed.at, count);
    if (placed.bytes === 2) return new Uint16Array(buffer, placed.at, count);
    return new Float32Array(buffer, placed.at, count);
  }

  /** The plan with the statistics that its operations read of the picture. */
  measure(image: Placed, plan: Plan): Plan {
    this.#describe(this.#image, image);
    this.#write(plan);
    this.#check(this.#exports.hz_measure(this.#image, this.#program, this.threads));
    return this.#read(plan);
  }

  /**
   * Draw a part of a picture into `out`, which has that part's size. Of 4 channels the last is
   * left as it is in `out`.
   */
  draw(image: Placed, mask: Placed | null, plan: Plan, out: Placed, region?: Region): void {
    const part = region ?? { x: 0, y: 0, width: image.width, height: image.height };
    this.#describe(this.#image, image, part);
    this.#describe(this.#out, out);
    if (mask) this.#describeMask(mask, part);
    this.#write(plan);
    const at = mask ? this.#mask : 0;
    const { threads } = this;
    this.#check(this.#exports.hz_render(this.#image, at, this.#program, this.#out, threads));
  }

  /** Composite (3, 256, 256) and mask (256, 256) in [0, 1], as a predictor reads them. */
  thumbnails(image: Placed, mask: Placed | null): [Float32Array, Float32Array] {
    this.#describe(this.#image, image);
    if (mask) this.#describeMask(mask);
    return this.#small(3, 1, (first, second) =>
      this.#exports.hz_thumbnail(
        this.#image, mask ? this.#mask : 0, THUMBNAIL_SIZE, first, second,
      ),
    );
  }

  /** Foreground and background, (3, 256, 256) each, for a predictor that sees them apart. */
  regionThumbnails(image: Placed, mask: Placed): [Float32Array, Float32Array] {
    this.#describe(this.#image, image);
    this.#describeMask(mask);
    // One thread: its bands allocate, which those of helpers must not (wasm/helpers.cpp).
    return this.#small(3, 3, (first, second) =>
      this.#exports.hz_region_thumbnails(this.#image, this.#mask, first, second, 1),
    );
  }

  #small(
    first: number, second: number, call: (first: number, second: number) => number,
  ): [Float32Array, Float32Array] {
    const plane = THUMBNAIL_SIZE * THUMBNAIL_SIZE;
    const at = this.#allocate((first + second) * plane * 4, "thumbnails");
    try {
      this.#check(call(at, at + first * plane * 4));
      const found = new Float32Array(this.#memory.buffer, at, (first + second) * plane);
      return [found.slice(0, first * plane), found.slice(first * plane)];
    } finally {
      this.#exports.free(at);
    }
  }

  #allocate(bytes: number, what: string): number {
    const at = bytes < 2 ** 32 ? this.#exports.malloc(Math.max(bytes, 1)) : 0;
    if (!at) {
      throw new MemoryError(
        `The tab must have memory for ${what}, ${Math.ceil(bytes / 2 ** 20)} MiB; it does not. ` +
          "Close other pictures and tabs, or use a smaller picture.",
      );
    }
    return at >>> 0;
  }

  #bytes(placed: Placed): Uint8Array {
    const size = placed.width * placed.height * placed.channels * placed.bytes;
    return new Uint8Array(this.#memory.buffer, placed.at, size);
  }

  #data(): DataView {
    return new DataView(this.#memory.buffer);
  }

  #type(placed: Placed): number {
    const { u8, u16, f32 } = this.#layout;
    return placed.bytes === 1 ? u8 : placed.bytes === 2 ? u16 : f32;
  }

  #describe(at: number, image: Placed, part?: Region): void {
    const data = this.#data(), layout = this.#layout;
    const pixel = image.channels * image.bytes;
    const row = image.width * pixel;
    const start = image.at + (part ? part.y * row + part.x * pixel : 0);
    data.setUint32(at + layout.imageData, start, true);
    data.setBigInt64(at + layout.imageWidth, BigInt(part?.width ?? image.width), true);
    data.setBigInt64(at + layout.imageHeight, BigInt(part?.height ?? image.height), true);
    data.setBigInt64(at + layout.imageRow, BigInt(row), true);
    data.setBigInt64(at + layout.imagePixel, BigInt(pixel), true);
    data.setBigInt64(at + layout.imageChannel, BigInt(image.bytes), true);
    data.setInt32(at + layout.imageType, this.#type(image), true);
  }

  #describeMask(mask: Placed, part?: Region): void {
    const data = this.#data(), layout = this.#layout, at = this.#mask;
    const row = mask.width * mask.bytes;
    const start = mask.at + (part ? part.y * row + part.x * mask.bytes : 0);
    data.setUint32(at + layout.maskData, start, true);
    data.setBigInt64(at + layout.maskWidth, BigInt(part?.width ?? mask.width), true);
    data.setBigInt64(at + layout.maskHeight, BigInt(part?.height ?? mask.height), true);
    data.setBigInt64(at + layout.maskRow, BigInt(row), true);
    data.setBigInt64(at + layout.maskPixel, BigInt(mask.bytes), true);
    data.setInt32(at + layout.maskType, this.#type(mask), true);
  }

  #write(plan: Plan): void {
    const data = this.#data(), layout = this.#layout, at = this.#program;
    data.setInt32(at + layout.count, plan.steps.length, true);
    plan.steps.forEach((step, i) => {
      const place = at + layout.steps + i * layout.step;
      const { argument } = step;
      data.setInt32(place + layout.operation, OPERATIONS[step.operation].code, true);
      data.setFloat64(place + layout.argument, typeof argument === "number" ? argument : 0, true);
      for (let k = 0; k < 3; ++k) {
        data.setFloat64(place + layout.statistics + k * 8, step.statistics[k] ?? 0, true);
      }
      if (typeof argument === "number") return;
      data.setInt32(at + layout.stages, argument.length / (3 * CURVE_KNOTS), true);
      argument.forEach((slope, k) => data.setFloat32(at + layout.slopes + k * 4, slope, true));
    });
  }

  #read(plan: Plan): Plan {
    const data = this.#data(), layout = this.#layout;
    const steps = plan.steps.map((step, i) => {
      const place = this.#program + layout.steps + i * layout.step + layout.statistics;
      const count = OPERATIONS[step.operation].statistics;
      const statistics = Array.from({ length: count }, (_, k) =>
        data.getFloat64(place + k * 8, true),
      );
      return { ...step, statistics };
    });
    return { steps };
  }

  #text(at: number): string {
    const bytes = new Uint8Array(this.#memory.buffer, at);
    return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
  }

  #check(status: number): void {
    if (status === 0) return;
    const message = this.#text(this.#exports.hz_last_error());
    throw status === this.#layout.outOfMemory
      ? new MemoryError(message)
      : new InvalidError(message);
  }
}
