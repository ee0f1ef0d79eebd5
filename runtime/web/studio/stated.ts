/** Which colours a picture's file states: an ICC profile (ICC.1), code points (H.273), PNG's cHRM. */

export type Stated = PredefinedColorSpace | "other";

const HEAD_BYTES = 2 ** 20;

/** X, Y, Z of red, green and blue as profiles have them, adapted to D50. */
const COLUMNS: Record<PredefinedColorSpace, readonly number[]> = {
  srgb: [0.436, 0.2225, 0.0139, 0.3851, 0.7169, 0.0971, 0.1431, 0.0606, 0.7141],
  "display-p3": [0.5151, 0.2412, -0.0011, 0.292, 0.6922, 0.0419, 0.1571, 0.0666, 0.7841],
};
const COLUMN_SLACK = 0.005;

/** x and y of red, green and blue. */
const PLACES: Record<PredefinedColorSpace, readonly number[]> = {
  srgb: [0.64, 0.33, 0.3, 0.6, 0.15, 0.06],
  "display-p3": [0.68, 0.32, 0.265, 0.69, 0.15, 0.06],
};
const PLACE_SLACK = 0.01;

/** Primaries of H.273 that sRGB holds, or nearly: BT.709, not said, BT.601 twice. */
const LIKE_SRGB = [1, 2, 5, 6];
const DISPLAY_P3 = 12;

/** After its first byte. */
const PNG_HEAD = "PNG\r\n\x1a\n";

/** What a file says of its colours; sRGB where it says nothing that a browser reads. */
export async function statedColours(file: Blob): Promise<Stated> {
  const bytes = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  const text = new TextDecoder("latin1").decode(bytes);
  if (text.startsWith(PNG_HEAD, 1)) return ofPng(bytes);
  const mark = text.indexOf("acsp"); // of every profile, at its byte 36
  if (mark >= 36) return ofProfile(bytes.subarray(mark - 36));
  const points = text.indexOf("colrnclx"); // of AVIF and HEIC
  return points < 0 ? "srgb" : ofCode(bytes[points + 8] * 256 + bytes[points + 9]);
}

/** By precedence: cICP, iCCP, sRGB, cHRM. */
async function ofPng(bytes: Uint8Array<ArrayBuffer>): Promise<Stated> {
  const found = pngChunks(bytes);
  const code = found.get("cICP"), profile = found.get("iCCP"), places = found.get("cHRM");
  if (code?.length === 4) return ofCode(code[0]);
  if (profile) {
    const packed = profile.subarray(profile.indexOf(0) + 2);
    const whole = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    try {
      return ofProfile(new Uint8Array(await new Response(whole).arrayBuffer()));
    } catch {
      return "srgb"; // damaged: browsers pass over it
    }
  }
  if (!places || places.length !== 32 || found.has("sRGB")) return "srgb";
  const view = new DataView(places.buffer, places.byteOffset);
  return nearest(Array.from({ length: 6 }, (_, i) => view.getUint32(8 + 4 * i) / 1e5), PLACES, PLACE_SLACK);
}

/** The chunks before a PNG's pixels, by their names. */
export function pngChunks(bytes: Uint8Array<ArrayBuffer>): Map<string, Uint8Array<ArrayBuffer>> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found = new Map<string, Uint8Array<ArrayBuffer>>();
  for (let at = 1 + PNG_HEAD.length; at + 8 <= bytes.length; ) {
    const size = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IDAT") break;
    if (!found.has(kind)) found.set(kind, bytes.slice(at + 8, at + 8 + size));
    at += 12 + size;
  }
  return found;
}

function ofCode(primaries: number): Stated {
  return LIKE_SRGB.includes(primaries) ? "srgb" : primaries === DISPLAY_P3 ? "display-p3" : "other";
}

/** Of a profile for RGB; others (grey, CMYK) a browser converts to sRGB. */
function ofProfile(bytes: Uint8Array): Stated {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, 2 ** 16));
  if (text.slice(16, 20) !== "RGB ") return "srgb";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const numbers: number[] = [];
  for (const name of ["rXYZ", "gXYZ", "bXYZ"]) {
    const entry = text.indexOf(name, 128);
    if (entry < 0 || entry + 8 > bytes.length) break;
    const at = view.getUint32(entry + 4) + 8;
    if (at + 12 > bytes.length) break;
    for (let i = 0; i < 3; ++i) numbers.push(view.getInt32(at + 4 * i) / 65536);
  }
  if (numbers.length === 9) return nearest(numbers, COLUMNS, COLUMN_SLACK);
  return /s\0?R\0?G\0?B/i.test(text) ? "srgb" : "other"; // of tables alone: told by its name
}

function nearest(
  numbers: readonly number[], known: Record<PredefinedColorSpace, readonly number[]>, slack: number,
): Stated {
  for (const space of ["srgb", "display-p3"] as const) {
    if (numbers.every((number, i) => Math.abs(number - known[space][i]) <= slack)) return space;
  }
  return "other";
}
