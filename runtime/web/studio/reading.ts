/** Read picture files with the browser's own decoders, upright, 8 bits a channel. */

import { InvalidError, MemoryError } from "../src/errors.ts";
import type { Inspected } from "./protocol.ts";
import { statedColours } from "./stated.ts";

/** What fits into a tab beside its copies; a photograph of 24 megapixels does. */
export const MOST_PIXELS = 100e6;
/** In Display P3: beside the picture lies what it is in sRGB, in 16 bits. */
const MOST_WIDE_PIXELS = 50e6;
const MOST_BYTES = 512 * 2 ** 20;

export type Context = OffscreenCanvasRenderingContext2D;

/** Decode a file. The bitmap must be closed. */
export async function decode(file: Blob, name: string): Promise<ImageBitmap> {
  if (file.size > MOST_BYTES) {
    throw new InvalidError(
      `${name} must have at most ${MOST_BYTES / 2 ** 20} MiB; it has ` +
        `${Math.ceil(file.size / 2 ** 20)}. Save it smaller, or use the command line.`,
    );
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new InvalidError(
      `${name} must be a picture that this browser reads, such as JPEG, PNG, WebP or AVIF; it is ` +
        "not, or it is damaged. Save it as one of these.",
    );
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) {
    bitmap.close();
    throw new MemoryError(
      `${name} must have at most ${MOST_PIXELS / 1e6} megapixels to fit into a tab; it has ` +
        `${Math.ceil((width * height) / 1e6)} (${width}x${height}). Make it smaller, or use the ` +
        "command line.",
    );
  }
  return bitmap;
}

/** In which space a picture is opened, and what is to be said of it. */
export interface Opening {
  readonly space: PredefinedColorSpace;
  readonly notes: readonly string[];
}

/** That of its colours, as far as this browser's canvases have it. */
export async function openingOf(file: Blob, bitmap: ImageBitmap, name: string): Promise<Opening> {
  const stated = await statedColours(file);
  if (stated === "srgb") return { space: "srgb", notes: [] };
  if (!hasWideCanvases()) {
    return { space: "srgb", notes: [
      `${name} holds a colour profile, and this browser converted it to sRGB: colours beyond it, if ` +
        "there are any, became the nearest that it has. The command line keeps them.",
    ] };
  }
  if (bitmap.width * bitmap.height > MOST_WIDE_PIXELS) {
    return { space: "srgb", notes: [
      `${name} has more than ${MOST_WIDE_PIXELS / 1e6} megapixels, the most that fit into a tab with ` +
        "colours beyond sRGB: it is converted to sRGB, and such colours became the nearest that it " +
        "has. The command line keeps them.",
    ] };
  }
  if (stated === "display-p3") return { space: stated, notes: [] };
  return { space: "display-p3", notes: [
    `${name} is in other colours than sRGB's and Display P3's: it is converted to Display P3, the ` +
      "most that a page has, and colours beyond that became the nearest that it has. The command " +
      "line keeps them.",
  ] };
}

let wideCanvases: boolean | null = null;

/** Whether canvases have Display P3; older browsers pass over what they are asked for. */
function hasWideCanvases(): boolean {
  return (wideCanvases ??= spaceOf(makeCanvas(1, 1, "display-p3")) === "display-p3");
}

/** Of this context TypeScript does not know it. */
function spaceOf(context: object): PredefinedColorSpace | undefined {
  return (context as Partial<CanvasRenderingContext2D>).getContextAttributes?.().colorSpace;
}

/** A canvas of that size to draw on. */
export function makeCanvas(
  width: number, height: number, colorSpace: PredefinedColorSpace = "srgb",
): Context {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace });
  if (!context || !isWhole(context)) {
    throw new MemoryError(
      `The browser must have canvases of ${width}x${height} pixels; it does not, or its memory does ` +
        "not suffice. Close other tabs, make the picture smaller, or use the command line.",
    );
  }
  context.imageSmoothingQuality = "high";
  return context;
}

const SMALL_SIDE = 4096;

/** Whether a canvas holds what is drawn on it: beyond their limits browsers drop it without a word. */
function isWhole(context: Context): boolean {
  const { width, height } = context.canvas, corner = [width - 1, height - 1, 1, 1] as const;
  if (width <= SMALL_SIDE && height <= SMALL_SIDE) return true;
  context.fillRect(...corner);
  try {
    return context.getImageData(...corner).data[3] === 255;
  } catch {
    return false;
  } finally {
    context.clearRect(...corner);
  }
}

/** The RGBA values of a bitmap, which is closed. */
export function pixelsOf(bitmap: ImageBitmap, space: PredefinedColorSpace = "srgb"): ImageData {
  const { width, height } = bitmap;
  const context = makeCanvas(width, height, space);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return readPixels(context);
}

export function readPixels(context: Context): ImageData {
  const { width, height } = context.canvas;
  try {
    return context.getImageData(0, 0, width, height);
  } catch {
    throw new MemoryError(
      `The tab must have memory for a picture of ${width}x${height} pixels; it does not. Close ` +
        "other tabs, or use a smaller picture.",
    );
  }
}

/** How far greys lie apart that are taken for one. */
const ONE_GREY = 16;

export function inspect({ data, width, height }: ImageData): Inspected {
  let grey = true, transparent = false, least = 255, most = 0;
  for (let i = 0; i < data.length && (grey || !transparent); i += 4) {
    grey &&= data[i] === data[i + 1] && data[i] === data[i + 2];
    if (data[i + 3] < 255) {
      transparent = true;
    } else {
      least = Math.min(least, data[i]);
      most = Math.max(most, data[i]);
    }
  }
  const cutout = transparent && (!grey || most - least > ONE_GREY);
  return { width, height, grey, transparent, cutout };
}

/** The values of a mask's picture: its greys, or what its alpha leaves of them. */
export function maskValues(pixels: ImageData, name: string): Uint8Array {
  const { grey, transparent } = inspect(pixels);
  if (!grey && !transparent) {
    throw new InvalidError(
      `${name} must be a mask in greys, white in the foreground and black elsewhere; it has ` +
        "colours. Choose the mask's file.",
    );
  }
  const { data } = pixels;
  const channel = grey && !transparent ? 0 : 3;
  const values = new Uint8Array(data.length / 4);
  for (let i = 0; i < values.length; ++i) values[i] = data[4 * i + channel];
  return values;
}

/** White where the mask is, as transparent as it leaves the picture. */
export function maskBitmap(values: Uint8Array, width: number, height: number): ImageBitmap {
  const context = makeCanvas(width, height);
  const image = new ImageData(width, height);
  image.data.fill(255);
  for (let i = 0; i < values.length; ++i) image.data[4 * i + 3] = values[i];
  context.putImageData(image, 0, 0);
  return context.canvas.transferToImageBitmap();
}
