/** The page's worker: files, networks and pixels, so that the page never waits. */

import { InvalidError, MemoryError, ModelError } from "../src/errors.ts";
import { Library, MOST_THREADS, type Samples } from "../src/wasm.ts";
import { cube, greys } from "../src/lut.ts";
import type { Plan } from "../src/plan.ts";
import { configureRuntime, Predictor } from "../src/predictor.ts";
import { isWide, shareBeyond } from "./colours.ts";
import { unlikeSizes } from "./intake.ts";
import { encodePng } from "./png.ts";
import type { Answer, Operation, Opened, Placement, Request, Requests } from "./protocol.ts";
import {
  decode, inspect, makeCanvas, maskBitmap, maskValues, type Opening, openingOf, pixelsOf, readPixels,
} from "./reading.ts";
import { Work } from "./work.ts";

/** A prediction is short; more wait for each other. */
const MOST_NETWORK_THREADS = 4;

/** Longest side of what sliders draw. */
const PREVIEW = 1280;

type Handler<K extends Operation> = (given: Requests[K][0]) => Promise<Requests[K][1]>;

let library: Library;
let base = "./";
const predictors = new Map<string, Promise<Predictor>>();
let full: Work | null = null;
let preview: Work | null = null;
let maskSamples: Uint8Array | null = null;
let cutout: { bitmap: ImageBitmap; name: string; opening: Opening } | null = null;

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

function work(): Work {
  if (!full) throw new InvalidError("A picture must be open; none is. Open one, or the example.");
  return full;
}

function previewWork(): Work {
  return preview ?? work();
}

/** Take a composite to work; what was open before is let go of when the new one is whole. */
function takeComposite(pixels: ImageData, mask: Uint8Array | null, notes: readonly string[]): Opened {
  const { width, height } = pixels;
  let opened: Work | null = null, small: Work | null = null;
  try {
    opened = new Work(library, pixels, mask);
    const { space } = opened;
    const context = makeCanvas(width, height, space);
    context.putImageData(pixels, 0, 0);
    const scale = Math.min(1, PREVIEW / Math.max(width, height));
    let shown: ImageBitmap;
    // 16 bits take too long for a slider: of a picture in Display P3 the preview has 8.
    if (scale < 1 || isWide(pixels)) {
      const w = Math.max(1, Math.round(width * scale)), h = Math.max(1, Math.round(height * scale));
      const canvas = makeCanvas(w, h, space);
      canvas.drawImage(context.canvas, 0, 0, w, h);
      const covered = mask && smallMask(mask, width, height, w, h);
      small = new Work(library, readPixels(canvas), covered, 8);
      shown = canvas.canvas.transferToImageBitmap();
    } else {
      shown = context.canvas.transferToImageBitmap();
    }
    const share = isWide(pixels) ? shareBeyond(pixels) : "";
    const said = !share ? [] : [
      `It is drawn in sRGB, and shown and saved in Display P3: ${share} of the pixels lie beyond ` +
        "sRGB, and keep what they have there.",
    ];
    full?.close();
    preview?.close();
    [full, preview, maskSamples] = [opened, small, mask];
    return { width, height, space, preview: shown, notes: [...notes, ...said] };
  } catch (error) {
    opened?.close();
    small?.close();
    throw error;
  }
}

function smallMask(mask: Uint8Array, width: number, height: number, w: number, h: number): Uint8Array {
  const bitmap = maskBitmap(mask, width, height);
  const canvas = makeCanvas(w, h);
  canvas.drawImage(bitmap, 0, 0, w, h);
  bitmap.close();
  const { data } = readPixels(canvas);
  return Uint8Array.from({ length: w * h }, (_, i) => data[4 * i + 3]);
}

function setMask(mask: Uint8Array): void {
  const { width, height } = work();
  if (preview) {
    const values = smallMask(mask, width, height, preview.width, preview.height);
    preview.setMask(values);
    previewMask = { of: mask, values };
  }
  work().setMask(mask);
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
    const { width, height } = work();
    const values = smallMask(maskSamples, width, height, preview.width, preview.height);
    previewMask = { of: maskSamples, values };
  }
  return previewMask.values;
}

function middleOfMask(): number {
  const values = maskOfPreview(), { width } = previewWork();
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
  readonly notes: readonly string[];
}

/** What was decoded to tell what it is, until it is opened: files are decoded once. */
const decoded = new Map<string, Decoded>();

const keyOf = (file: Blob, name: string) => `${name} ${file.size} ${file.type}`;

async function decodePixels(file: Blob, name: string): Promise<Decoded> {
  const bitmap = await decode(file, name);
  const { space, notes } = await openingOf(file, bitmap, name);
  return { pixels: pixelsOf(bitmap, space), notes };
}

async function takePixels(file: Blob, name: string): Promise<Decoded> {
  const kept = decoded.get(keyOf(file, name));
  decoded.delete(keyOf(file, name));
  return kept ?? decodePixels(file, name);
}

/** What becomes of the colours of the cut-out on a background in that space. */
async function cutoutNotes(space: PredefinedColorSpace): Promise<string[]> {
  if (!cutout) return [];
  const { bitmap, name, opening } = cutout;
  if (space === opening.space || space === "display-p3") return [...opening.notes];
  const share = shareBeyond(pixelsOf(await createImageBitmap(bitmap), opening.space));
  return !share ? [] : [
    `${name} takes the colours of its background, sRGB's: ${share} of its pixels lie beyond them, and ` +
      "become the nearest.",
  ];
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
    const transparent = inspect(pixels).transparent;
    for (let i = 3; i < pixels.data.length; i += 4) pixels.data[i] = 255;
    return takeComposite(pixels, null, !transparent ? notes : [
      ...notes,
      `${name} is transparent in places; it is drawn as it is, and its alpha is left out.`,
    ]);
  },
  async maskFile({ file, name }) {
    const { width, height } = work();
    const { pixels } = await takePixels(file, name);
    if (pixels.width !== width || pixels.height !== height) {
      throw unlikeSizes(name, pixels, { width, height });
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
    cutout = { bitmap, name, opening: await openingOf(file, bitmap, name) };
    return { bitmap: shown };
  },
  async compose({ background, name, placement }) {
    if (!cutout) throw new InvalidError("A cut-out must be open to place; none is. Open one.");
    const bitmap = await decode(background, name);
    const { width, height } = bitmap;
    const { space, notes } = await openingOf(background, bitmap, name);
    const alone = makeCanvas(width, height);
    drawPlaced(alone, cutout.bitmap, placement);
    const cover = readPixels(alone).data;
    const mask = Uint8Array.from({ length: width * height }, (_, i) => cover[4 * i + 3]);
    const context = makeCanvas(width, height, space);
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    drawPlaced(context, cutout.bitmap, placement);
    const opened = takeComposite(readPixels(context), mask, [...notes, ...(await cutoutNotes(space))]);
    return { ...opened, mask: maskBitmap(mask, width, height) };
  },
  async predict({ model, label }) {
    const begun = performance.now();
    const network = await predictor(model);
    const { frame } = work();
    const given = await frame.predict(network, label);
    const milliseconds = performance.now() - begun;
    return { arguments: given, concerns: frame.concerns, milliseconds, middle: middleOfMask() };
  },
  async model({ data, name }) {
    const loaded = await Predictor.load(new Uint8Array(data), name);
    predictors.set(name, Promise.resolve(loaded));
    return { model: name };
  },
  async preview({ arguments: given }) {
    const begun = performance.now();
    const shown = previewWork();
    const bitmap = shown.bitmap(shown.drawShared(shown.frame.measure(given)));
    return { bitmap, milliseconds: performance.now() - begun };
  },
  async charts({ arguments: given }) {
    const shown = previewWork();
    const plan = given ? shown.frame.measure(given) : { steps: [] };
    const mask = maskOfPreview();
    const counts = histograms(shown.drawShared(plan), mask);
    return { ...counts, curves: greys(library, plan) };
  },
  async loupe({ arguments: given, region }) {
    const { width, height } = region, picture = work();
    const before = picture.bitmap(picture.draw({ steps: [] }, region), width, height);
    return { before, after: picture.bitmap(picture.draw(planOf(given), region), width, height) };
  },
  async export({ kind, arguments: given, title }) {
    const picture = work(), { width, height } = picture;
    if (kind === "cube") {
      const text = cube(library, picture.frame.measure(given), title);
      return { blob: new Blob([text], { type: "text/plain" }) };
    }
    if (kind === "jpeg") return { blob: await picture.jpeg(given) };
    const samples = new (kind === "png16" ? Uint16Array : Uint8Array)(width * height * 3);
    return { blob: await encodePng(picture.harmonize(given, samples), width, height, picture.space) };
  },
  async measure({ arguments: given }) {
    const begun = performance.now();
    const plan = work().frame.measure(given);
    const measured = performance.now();
    work().drawShared(plan);
    const ended = performance.now();
    return { measure: measured - begun, draw: ended - measured, memory: library.memoryBytes };
  },
};

let lastPlan: { of: Work; text: string; plan: Plan } | null = null;

/** The plan of the whole picture, kept while a loupe moves over it. */
function planOf(given: Requests["loupe"][0]["arguments"]) {
  const text = JSON.stringify(given);
  if (lastPlan?.of !== work() || lastPlan.text !== text) {
    lastPlan = { of: work(), text, plan: work().frame.measure(given) };
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
