/** Write PNG files of 8 and 16 bits, which a canvas does not. */

import { UnsupportedError } from "../src/errors.ts";
import { makeCanvas } from "./reading.ts";
import { pngChunks } from "./stated.ts";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const UP = 2;

/** A PNG file of RGB samples, interleaved. */
export async function encodePng(
  samples: Uint8Array | Uint16Array, width: number, height: number, space: PredefinedColorSpace,
): Promise<Blob> {
  const depth = samples.BYTES_PER_ELEMENT * 8;
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, depth);
  header.setUint8(9, 2); // RGB
  const compressor = new CompressionStream("deflate");
  const body = new Response(compressor.readable).arrayBuffer();
  const writer = compressor.writable.getWriter();
  const rows = filteredRows(samples, width, height);
  for (const part of rows) await writer.write(part as BufferSource);
  await writer.close();
  return new Blob([
    new Uint8Array(SIGNATURE),
    chunk("IHDR", new Uint8Array(header.buffer)),
    space === "srgb" ? chunk("sRGB", new Uint8Array([0])) : await profileChunk(space),
    chunk("IDAT", new Uint8Array(await body)),
    chunk("IEND", new Uint8Array(0)),
  ] as BlobPart[], { type: "image/png" });
}

/** The browser's own profile of a space, as it puts it into PNG files. */
async function profileChunk(space: PredefinedColorSpace): Promise<Uint8Array> {
  const { canvas } = makeCanvas(1, 1, space);
  const blob = await canvas.convertToBlob({ type: "image/png" });
  const profile = pngChunks(new Uint8Array(await blob.arrayBuffer())).get("iCCP");
  if (!profile) {
    throw new UnsupportedError(
      `This browser must put the profile of ${space} into PNG files; it does not. Save a JPEG, or ` +
        "use the command line.",
    );
  }
  return chunk("iCCP", profile);
}

/** Rows less the row above, in parts of some rows. */
function* filteredRows(
  samples: Uint8Array | Uint16Array, width: number, height: number,
): Generator<Uint8Array> {
  const row = width * 3 * samples.BYTES_PER_ELEMENT;
  let before = new Uint8Array(row);
  for (let first = 0; first < height; first += 64) {
    const count = Math.min(64, height - first);
    const part = new Uint8Array(count * (row + 1));
    for (let y = 0; y < count; ++y) {
      const bytes = bigEndian(samples, (first + y) * width * 3, width * 3);
      const at = y * (row + 1);
      part[at] = UP;
      for (let i = 0; i < row; ++i) part[at + 1 + i] = bytes[i] - before[i];
      before = bytes;
    }
    yield part;
  }
}

function bigEndian(samples: Uint8Array | Uint16Array, at: number, count: number): Uint8Array<ArrayBuffer> {
  if (samples instanceof Uint8Array) return samples.slice(at, at + count);
  const bytes = new Uint8Array(count * 2);
  for (let i = 0; i < count; ++i) {
    bytes[2 * i] = samples[at + i] >> 8;
    bytes[2 * i + 1] = samples[at + i] & 255;
  }
  return bytes;
}

function chunk(kind: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set([...kind].map((letter) => letter.charCodeAt(0)), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; ++k) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
