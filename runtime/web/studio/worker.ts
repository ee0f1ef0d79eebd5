/** The page's worker: files, networks and pixels, so that the page never waits. */

import { InvalidError, MemoryError, ModelError } from "../src/errors.ts";
import { Frame } from "../src/frame.ts";
import { Library, MOST_THREADS, type Samples } from "../src/library.ts";
import { cube, greys } from "../src/lut.ts";
import { configureRuntime, Predictor } from "../src/predictor.ts";
import { colourNotes } from "./gamut.ts";
import { encodePng } from "./png.ts";
import type { Answer, Operation, Opened, Placement, Request, Requests } from "./protocol.ts";
import {
  decode, inspect, makeCanvas, maskBitmap, maskValues, pixelsOf, readPixels,
} from "./reading.ts";

/** A prediction is short; more wait for each other. */
const MOST_NETWORK_THREADS = 4;

/** Longest side of what sliders draw. */
const PREVIEW = 1280;

type Handler<K extends Operation> = (given: Requests[K][0]) => Promise<Requests[K][1]>;

let library: Library;
let base = "./";
const predictors = new Map<string, Promise<Predictor>>();
let full: Frame | null = null;
let preview: Frame | null = null;
let maskSamples: Uint8Array | null = null;
let cutout: { bitmap: ImageBitmap; notes: string[] } | null = null;

async function fetchBytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(new URL(path, base)).catch(() => null);
  if (!response?.ok) {
    throw new InvalidError(
      `${path} must be beside this page; it cannot be fetched ` +
        `(${response ? response.status : "no connection"}). Load the page again.`,
    );
  }
  return new Uint8Array(await response.arrayBuffer());
}

/** The renderer, with threads where the browser lets this page have them. */
async function loadLibrary(count: number, notes: string[]): Promise<Library> {
  if (globalThis.crossOriginIsolated && count > 1) {
    const helper = () => new Worker(new URL("helper.js", base), { type: "module" });
    try {
      return await Library.load(await fetchBytes("harmonizer-threads.wasm"), { count, helper });
    } catch (error) {
      notes.push(`One thread draws: ${(error as Error).message}`);
    }
  }
  return Library.load(await fetchBytes("harmonizer.wasm"));
}

/** A network of this page, held to its hash where the browser has one: on https, on this machine. */
async function fetchNetwork(name: string): Promise<Uint8Array> {
  const data = await fetchBytes(`models/${name}.onnx`);
  const { subtle } = globalThis.crypto as Partial<Crypto>;
  if (!subtle) return data;
  const listed = new TextDecoder().decode(await fetchBytes("models/hashes.json"));
  const known = (JSON.parse(listed) as Record<string, string>)[`${name}.onnx`];
  const digest = new Uint8Array(await subtle.digest("SHA-256", data));
  const found = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== known) {
    throw new ModelError(
      `${name}.onnx must be the network that was shipped, with SHA-256 ${String(known).slice(0, 16)}...; ` +
        `it has ${found.slice(0, 16)}.... Load the page again; if it stays so, export the page anew.`,
    );
  }
  return data;
}

function predictor(name: string): Promise<Predictor> {
  let found = predictors.get(name);
  if (!found) {
    found = fetchNetwork(name).then((data) => Predictor.load(data, `${name}.onnx`));
    predictors.set(name, found);
    found.catch(() => predictors.delete(name));
  }
  return found;
}

function frame(): Frame {
  if (!full) throw new InvalidError("A picture must be open; none is. Open one, or the example.");
  return full;
}

function previewFrame(): Frame {
  return preview ?? frame();
}

/** Take a composite to work; what was open before is let go of when the new one is whole. */
function takeComposite(pixels: ImageData, mask: Uint8Array | null, notes: string[]): Opened {
  const { width, height } = pixels;
  let opened: Frame | null = null, small: Frame | null = null;
  const context = makeCanvas(width, height);
  context.putImageData(pixels, 0, 0);
  const scale = Math.min(1, PREVIEW / Math.max(width, height));
  try {
    const picture = (data: Samples, w: number, h: number) => ({ data, width: w, height: h });
    opened = new Frame(library, picture(pixels.data, width, height), mask && picture(mask, width, height));
    let shown: ImageBitmap;
    if (scale < 1) {
      const w = Math.round(width * scale), h = Math.round(height * scale);
      const canvas = makeCanvas(w, h);
      canvas.drawImage(context.canvas, 0, 0, w, h);
      small = new Frame(library, readPixels(canvas), mask && smallMask(mask, width, height, w, h));
      shown = canvas.canvas.transferToImageBitmap();
    } else {
      shown = context.canvas.transferToImageBitmap();
    }
    full?.close();
    preview?.close();
    [full, preview, maskSamples] = [opened, small, mask];
    return { width, height, preview: shown, notes };
  } catch (error) {
    opened?.close();
    small?.close();
    throw error;
  }
}

function smallMask(mask: Uint8Array, width: number, height: number, w: number, h: number) {
  const bitmap = maskBitmap(mask, width, height);
  const canvas = makeCanvas(w, h);
  canvas.drawImage(bitmap, 0, 0, w, h);
  bitmap.close();
  const { data } = readPixels(canvas);
  return { data: Uint8Array.from({ length: w * h }, (_, i) => data[4 * i + 3]), width: w, height: h };
}

function setMask(mask: Uint8Array): void {
  const { width, height } = frame().image;
  if (preview) {
    const { width: w, height: h } = preview.image;
    const small = smallMask(mask, width, height, w, h);
    preview.setMask(small);
    previewMask = { of: mask, values: small.data };
  }
  frame().setMask({ data: mask, width, height });
  maskSamples = mask;
}

/** Draw a cut-out where it stands; nothing of it that lies outside. */
function drawPlaced(
  context: OffscreenCanvasRenderingContext2D, bitmap: ImageBitmap, placement: Placement,
): void {
  context.save();
  context.translate(placement.x, placement.y);
  context.rotate((placement.angle * Math.PI) / 180);
  context.scale(placement.scale, placement.scale);
  context.drawImage(bitmap, -bitmap.width / 2, -bitmap.height / 2);
  context.restore();
}

function bitmapOf(drawn: Samples, width: number, height: number): ImageBitmap {
  const context = makeCanvas(width, height);
  // Shared memory is copied: ImageData does not take it.
  const data = drawn.buffer instanceof ArrayBuffer
    ? new Uint8ClampedArray(drawn.buffer, drawn.byteOffset, drawn.length)
    : new Uint8ClampedArray(drawn);
  context.putImageData(new ImageData(data, width, height), 0, 0);
  return context.canvas.transferToImageBitmap();
}

function withoutAlpha<T extends Uint8Array | Uint16Array>(from: ArrayLike<number>, to: T, factor = 1): T {
  for (let i = 0, k = 0; k < to.length; i += 4) {
    to[k++] = from[i] * factor;
    to[k++] = from[i + 1] * factor;
    to[k++] = from[i + 2] * factor;
  }
  return to;
}

/** Draw the 8-bit picture in 16 bits, where a filter's steps are finer. */
function drawDeep(given: Requests["export"][0]["arguments"]): Uint16Array {
  const { data, width, height } = frame().image;
  const deep = withoutAlpha(data, new Uint16Array(width * height * 3), 257);
  const mask = maskSamples && { data: maskSamples, width, height };
  const opened = new Frame(library, { data: deep, width, height }, mask);
  try {
    return opened.harmonize(given) as Uint16Array;
  } finally {
    opened.close();
  }
}

function histograms(data: Samples, mask: Uint8Array | null) {
  const foreground = new Uint32Array(768), background = new Uint32Array(768);
  const step = Math.max(1, Math.floor(data.length / 4 / 500_000));
  for (let i = 0; i < data.length / 4; i += step) {
    const counts = mask && mask[i] < 128 ? background : foreground;
    ++counts[data[4 * i]];
    ++counts[256 + data[4 * i + 1]];
    ++counts[512 + data[4 * i + 2]];
  }
  return { foreground, background };
}

let previewMask: { of: Uint8Array | null; values: Uint8Array | null } = { of: null, values: null };

function maskOfPreview(): Uint8Array | null {
  if (!preview || !maskSamples) return maskSamples;
  if (previewMask.of !== maskSamples) {
    const { width, height } = frame().image;
    const small = smallMask(maskSamples, width, height, preview.image.width, preview.image.height);
    previewMask = { of: maskSamples, values: small.data };
  }
  return previewMask.values;
}

function middleOfMask(): number {
  const values = maskOfPreview(), { width } = previewFrame().image;
  let sum = 0, count = 0;
  values?.forEach((value, i) => {
    if (value < 128) return;
    sum += i % width;
    ++count;
  });
  return count ? (sum / count + 0.5) / width : 0.5;
}

interface Decoded {
  readonly pixels: ImageData;
  /** What is to be said of its colours. */
  readonly notes: string[];
}

/** What was decoded to tell what it is, until it is opened: files are decoded once. */
const decoded = new Map<string, Decoded>();

const keyOf = (file: Blob, name: string) => `${name} ${file.size} ${file.type}`;

async function decodePixels(file: Blob, name: string): Promise<Decoded> {
  const bitmap = await decode(file, name);
  const notes = await colourNotes(file, bitmap, name);
  return { pixels: pixelsOf(bitmap), notes };
}

async function takePixels(file: Blob, name: string): Promise<Decoded> {
  const kept = decoded.get(keyOf(file, name));
  decoded.delete(keyOf(file, name));
  return kept ?? decodePixels(file, name);
}

const handlers: { [K in Operation]: Handler<K> } = {
  async load(given) {
    base = given.base;
    const notes: string[] = [];
    library = await loadLibrary(Math.min(given.processors, MOST_THREADS), notes);
    const file = (kind: string) => new URL(`ort-wasm-simd-threaded.${kind}`, base).href;
    // Its threads load the .mjs; without them the same is in this script.
    const wasmPaths = library.threads > 1 ? { wasm: file("wasm"), mjs: file("mjs") } : { wasm: file("wasm") };
    configureRuntime({ wasmPaths, threads: Math.min(library.threads, MOST_NETWORK_THREADS) });
    predictor("harmonizer").catch(() => undefined); // said when somebody asks for it
    return { version: library.version, threads: library.threads, notes };
  },
  async inspect({ file, name }) {
    const found = await decodePixels(file, name);
    if (decoded.size > 1) decoded.clear();
    decoded.set(keyOf(file, name), found);
    return inspect(found.pixels);
  },
  async open({ file, name }) {
    const { pixels, notes } = await takePixels(file, name);
    if (inspect(pixels).transparent) {
      notes.push(`${name} is transparent in places; it is drawn as it is, and its alpha is left out.`);
    }
    for (let i = 3; i < pixels.data.length; i += 4) pixels.data[i] = 255;
    return takeComposite(pixels, null, notes);
  },
  async maskFile({ file, name }) {
    const { width, height } = frame().image;
    const { pixels } = await takePixels(file, name);
    if (pixels.width !== width || pixels.height !== height) {
      throw new InvalidError(
        `${name} must have the composite's width and height, ${width}x${height}; it has ` +
          `${pixels.width}x${pixels.height}. Resize it, or paint the mask here.`,
      );
    }
    const values = maskValues(pixels, name);
    setMask(values);
    return { mask: maskBitmap(values, width, height) };
  },
  async mask({ data }) {
    setMask(data);
    return null;
  },
  async cutout({ file, name }) {
    const bitmap = await decode(file, name);
    const shown = await createImageBitmap(bitmap);
    if (!inspect(pixelsOf(await createImageBitmap(bitmap))).transparent) {
      bitmap.close();
      throw new InvalidError(
        `${name} must be transparent around the cut-out; it is opaque. Save it as PNG or WebP ` +
          "with transparency, or open it as a composite.",
      );
    }
    cutout?.bitmap.close();
    cutout = { bitmap, notes: await colourNotes(file, bitmap, name) };
    return { bitmap: shown };
  },
  async compose({ background, name, placement }) {
    if (!cutout) throw new InvalidError("A cut-out must be open to place; none is. Open one.");
    const bitmap = await decode(background, name);
    const { width, height } = bitmap;
    const notes = [...(await colourNotes(background, bitmap, name)), ...cutout.notes];
    const alone = makeCanvas(width, height);
    drawPlaced(alone, cutout.bitmap, placement);
    const cover = readPixels(alone).data;
    const mask = Uint8Array.from({ length: width * height }, (_, i) => cover[4 * i + 3]);
    const context = makeCanvas(width, height);
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    drawPlaced(context, cutout.bitmap, placement);
    return takeComposite(readPixels(context), mask, notes);
  },
  async predict({ model, label }) {
    const begun = performance.now();
    const network = await predictor(model);
    const given = await frame().predict(network, label);
    const milliseconds = performance.now() - begun;
    return { arguments: given, concerns: frame().concerns, milliseconds, middle: middleOfMask() };
  },
  async model({ data, name }) {
    const loaded = await Predictor.load(new Uint8Array(data), name);
    predictors.set(name, Promise.resolve(loaded));
    return { model: name };
  },
  async preview({ arguments: given }) {
    const begun = performance.now();
    const shown = previewFrame();
    const { width, height } = shown.image;
    const bitmap = bitmapOf(shown.drawShared(shown.measure(given)), width, height);
    return { bitmap, milliseconds: performance.now() - begun };
  },
  async charts({ arguments: given }) {
    const shown = previewFrame();
    const plan = given ? shown.measure(given) : { steps: [] };
    const mask = maskOfPreview();
    const counts = histograms(shown.drawShared(plan), mask);
    return { ...counts, curves: greys(library, plan) };
  },
  async loupe({ arguments: given, region }) {
    const { width, height } = region;
    const before = bitmapOf(frame().draw({ steps: [] }, region), width, height);
    return { before, after: bitmapOf(frame().draw(planOf(given), region), width, height) };
  },
  async export({ kind, arguments: given, title }) {
    const { width, height } = frame().image;
    if (kind === "cube") {
      return { blob: new Blob([cube(library, frame().measure(given), title)], { type: "text/plain" }) };
    }
    if (kind === "png16") return { blob: await encodePng(drawDeep(given), width, height) };
    const drawn = frame().harmonize(given);
    if (kind === "png") {
      const samples = withoutAlpha(drawn, new Uint8Array(width * height * 3));
      return { blob: await encodePng(samples, width, height) };
    }
    const context = makeCanvas(width, height);
    const data = new Uint8ClampedArray(drawn.buffer as ArrayBuffer);
    context.putImageData(new ImageData(data, width, height), 0, 0);
    return { blob: await context.canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 }) };
  },
  async measure({ arguments: given }) {
    const begun = performance.now();
    const plan = frame().measure(given);
    const measured = performance.now();
    frame().drawShared(plan);
    const ended = performance.now();
    return { measure: measured - begun, draw: ended - measured, memory: library.memoryBytes };
  },
};

let lastPlan: { of: Frame; text: string; plan: ReturnType<Frame["measure"]> } | null = null;

/** The plan of the whole picture, kept while a loupe moves over it. */
function planOf(given: Requests["loupe"][0]["arguments"]) {
  const text = JSON.stringify(given);
  if (lastPlan?.of !== frame() || lastPlan.text !== text) {
    lastPlan = { of: frame(), text, plan: frame().measure(given) };
  }
  return lastPlan.plan;
}

function transferred(result: unknown): Transferable[] {
  const values = result && typeof result === "object" ? Object.values(result) : [];
  return values.filter((value) => value instanceof ImageBitmap);
}

let last: Promise<unknown> = Promise.resolve();

onmessage = ({ data }: MessageEvent<Request>) => {
  const { id, operation, given } = data;
  last = last.then(async () => {
    let answer: Answer;
    try {
      const result = await (handlers[operation] as Handler<Operation>)(given as never);
      answer = { id, result };
    } catch (error) {
      answer = { id, error: sentence(error) };
    }
    const transfer = "result" in answer ? transferred(answer.result) : [];
    (postMessage as (message: Answer, transfer: Transferable[]) => void)(answer, transfer);
  });
};

function sentence(error: unknown): string {
  if (error instanceof RangeError || error instanceof WebAssembly.RuntimeError) {
    return new MemoryError(
      "The tab must have memory for this picture and its copies; it does not. Close other tabs, or " +
        "use a smaller picture.",
    ).message;
  }
  return error instanceof Error ? error.message : String(error);
}
