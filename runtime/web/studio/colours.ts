/**
 * The two colour spaces of the page: Display P3, which phones shoot, and sRGB, for which the
 * filters are meant. As runtime/harmonizer/images/colour.py has it: a colour beyond sRGB is drawn
 * as the nearest that sRGB has, and what it had beyond that is added again afterwards.
 */

import type { Region } from "../src/wasm.ts";

type Matrix = readonly (readonly [number, number, number])[];

/** Linear light of one to that of the other (CSS Color 4; D65 both). */
const TO_SRGB: Matrix = [
  [1.2249401763, -0.2249401763, 0],
  [-0.0420569547, 1.0420569547, 0],
  [-0.0196375546, -0.0786360456, 1.0982736001],
];
const TO_P3: Matrix = [
  [0.8224619687, 0.1775380313, 0],
  [0.0331941989, 0.9668058011, 0],
  [0.0170826307, 0.0723974407, 0.9105199286],
];

const FULL = 65535;
/** Of the table of encoded values: interpolated, it is off by less than a hundredth of 1 / FULL. */
const STEPS = 65536;
/** Of encoded values: more than decoding rounds to. */
const BEYOND = 1.5 / 255;

/** Light of an encoded value; both spaces have sRGB's curve. Signed, as values beyond it are. */
function lightOf(value: number): number {
  const size = Math.abs(value);
  return Math.sign(value) * (size <= 0.04045 ? size / 12.92 : ((size + 0.055) / 1.055) ** 2.4);
}

function encodedOf(light: number): number {
  return light <= 0.0031308 ? light * 12.92 : 1.055 * light ** (1 / 2.4) - 0.055;
}

interface Tables {
  /** Light of 8 and of 16 bits. */
  readonly light8: Float64Array;
  readonly light16: Float64Array;
  /** Of light from 0 to 1 in STEPS, in 16 bits; one more for the end's neighbour. */
  readonly encoded: Float32Array;
}

let made: Tables | null = null;

/** Made when the first picture asks for them. */
function tables(): Tables {
  return (made ??= {
    light8: Float64Array.from({ length: 256 }, (_, i) => lightOf(i / 255)),
    light16: Float64Array.from({ length: FULL + 1 }, (_, i) => lightOf(i / FULL)),
    encoded: Float32Array.from({ length: STEPS + 2 }, (_, i) =>
      FULL * encodedOf(Math.min(1, i / STEPS)),
    ),
  });
}

function encode(light: number, encoded: Float32Array): number {
  const at = (light <= 0 ? 0 : light >= 1 ? 1 : light) * STEPS, low = at | 0;
  return (encoded[low] + (encoded[low + 1] - encoded[low]) * (at - low) + 0.5) | 0;
}

/** Of what a browser gives; older ones say no space, and have sRGB's alone. */
export function isWide(pixels: ImageData): boolean {
  return (pixels.colorSpace as PredefinedColorSpace | undefined) === "display-p3";
}

/** What the renderer has of a picture in Display P3: R, G, B in sRGB, in 16 bits, or 8 to be quick. */
export type Srgb = Uint16Array | Uint8Array;

/** From R, G, B, A in Display P3; clipped to sRGB. */
export function toSrgb(data: ArrayLike<number>, bits: 8 | 16): Srgb {
  const srgb = new (bits === 16 ? Uint16Array : Uint8Array)((data.length / 4) * 3);
  const { light8, encoded } = tables(), unit = bits === 16 ? 1 : 257, half = unit >> 1;
  const [[rr, rg], [gr, gg], [br, bg, bb]] = TO_SRGB;
  for (let i = 0, k = 0; i < data.length; i += 4, k += 3) {
    const r = light8[data[i]], g = light8[data[i + 1]], b = light8[data[i + 2]];
    srgb[k] = (encode(rr * r + rg * g, encoded) + half) / unit;
    srgb[k + 1] = (encode(gr * r + gg * g, encoded) + half) / unit;
    srgb[k + 2] = (encode(br * r + bg * g + bb * b, encoded) + half) / unit;
  }
  return srgb;
}

/** What was drawn on a picture in Display P3, or on a part of it. */
export interface Drawn {
  readonly own: ImageData;
  /** What `toSrgb` gave. */
  readonly srgb: Srgb;
  /** What that became in the part. */
  readonly drawn: Srgb;
  readonly part: Region;
  /** Of the whole picture; where it is 0 nothing was drawn. */
  readonly mask: Uint8Array | null;
}

/** The part in the picture's own colours, R, G, B, A, 8 bits; where nothing was drawn, the picture. */
export function inOwnColours8(given: Drawn): Uint8Array {
  const { part: { x, y, width, height }, own } = given, { data } = own;
  const result = new Uint8Array(width * height * 4);
  for (let row = 0; row < height; ++row) {
    const first = 4 * ((y + row) * own.width + x);
    result.set(data.subarray(first, first + 4 * width), 4 * row * width);
  }
  eachChange(given, (at, from, red, green, blue) => {
    result[4 * at] = to8(data[4 * from] * 257 + red);
    result[4 * at + 1] = to8(data[4 * from + 1] * 257 + green);
    result[4 * at + 2] = to8(data[4 * from + 2] * 257 + blue);
  });
  return result;
}

/** The same as R, G, B, 16 bits. */
export function inOwnColours16(given: Drawn): Uint16Array {
  const { part: { x, y, width, height }, own } = given, { data } = own;
  const result = new Uint16Array(width * height * 3);
  for (let row = 0, at = 0; row < height; ++row) {
    let from = 4 * ((y + row) * own.width + x);
    for (let column = 0; column < width; ++column, at += 3, from += 4) {
      result[at] = data[from] * 257;
      result[at + 1] = data[from + 1] * 257;
      result[at + 2] = data[from + 2] * 257;
    }
  }
  eachChange(given, (at, from, red, green, blue) => {
    result[3 * at] = within(data[4 * from] * 257 + red);
    result[3 * at + 1] = within(data[4 * from + 1] * 257 + green);
    result[3 * at + 2] = within(data[4 * from + 2] * 257 + blue);
  });
  return result;
}

function within(value: number): number {
  return value < 0 ? 0 : value > FULL ? FULL : value;
}

/** 16 bits as 8, rounded. */
function to8(value: number): number {
  return ((within(value) + 128) / 257) | 0;
}

/** What drawing moves in Display P3, of each pixel where it does: its number in part and picture. */
function eachChange(
  { own, srgb, drawn, part: { x, y, width, height }, mask }: Drawn,
  take: (at: number, from: number, red: number, green: number, blue: number) => void,
): void {
  const { light8, light16, encoded } = tables(), [[rr, rg], [gr, gg], [br, bg, bb]] = TO_P3;
  const light = srgb.BYTES_PER_ELEMENT === 1 ? light8 : light16;
  for (let row = 0, at = 0; row < height; ++row) {
    let from = (y + row) * own.width + x;
    for (let column = 0; column < width; ++column, ++at, ++from) {
      if (mask !== null && mask[from] === 0) continue;
      const r0 = srgb[3 * from], g0 = srgb[3 * from + 1], b0 = srgb[3 * from + 2];
      const r1 = drawn[3 * at], g1 = drawn[3 * at + 1], b1 = drawn[3 * at + 2];
      if (r0 === r1 && g0 === g1 && b0 === b1) continue;
      const lr0 = light[r0], lg0 = light[g0], lr1 = light[r1], lg1 = light[g1];
      const blue = br * lr1 + bg * lg1 + bb * light[b1], before = br * lr0 + bg * lg0 + bb * light[b0];
      take(
        at, from,
        encode(rr * lr1 + rg * lg1, encoded) - encode(rr * lr0 + rg * lg0, encoded),
        encode(gr * lr1 + gg * lg1, encoded) - encode(gr * lr0 + gg * lg0, encoded),
        encode(blue, encoded) - encode(before, encoded),
      );
    }
  }
}

/** How many pixels of RGBA in Display P3 lie beyond sRGB. */
export function countBeyond(data: ArrayLike<number>): number {
  const { light8 } = tables();
  const least = lightOf(-BEYOND), most = lightOf(1 + BEYOND);
  const [[rr, rg], [gr, gg], [br, bg, bb]] = TO_SRGB;
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    const r = light8[data[i]], g = light8[data[i + 1]], b = light8[data[i + 2]];
    const red = rr * r + rg * g, green = gr * r + gg * g, blue = br * r + bg * g + bb * b;
    if (
      red < least || red > most || green < least || green > most || blue < least || blue > most
    ) ++count;
  }
  return count;
}

/** The share of such pixels in words; empty where there are none. */
export function shareBeyond(pixels: ImageData): string {
  const share = (100 * countBeyond(pixels.data)) / (pixels.width * pixels.height);
  return share === 0 ? "" : share < 0.1 ? "less than 0.1 %" : `${share.toFixed(1)} %`;
}
