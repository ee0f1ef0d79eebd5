/** What the page asks of its worker, and what comes back. */

import type { Arguments } from "../src/arguments.ts";
import type { Region } from "../src/wasm.ts";

/** Where a cut-out stands on its background: its middle in background pixels, clockwise degrees. */
export interface Placement {
  readonly x: number;
  readonly y: number;
  readonly scale: number;
  readonly angle: number;
}

/** What a file holds, as far as it tells what the file is for. */
export interface Inspected {
  readonly width: number;
  readonly height: number;
  /** Whether red, green and blue are equal everywhere. */
  readonly grey: boolean;
  /** Whether it is transparent somewhere. */
  readonly transparent: boolean;
  /** Whether it is so, and has more than one colour where it is opaque: masks with alpha have one. */
  readonly cutout: boolean;
}

/** A composite at work: its size, and the preview that is shown of it. */
export interface Opened {
  readonly width: number;
  readonly height: number;
  /** In which it is shown and saved. */
  readonly space: PredefinedColorSpace;
  readonly preview: ImageBitmap;
  readonly notes: readonly string[];
}

export interface Predicted {
  readonly arguments: Arguments;
  readonly concerns: readonly string[];
  readonly milliseconds: number;
  /** Where the middle of the foreground lies, from 0 at the left to 1. */
  readonly middle: number;
}

export interface Previewed {
  readonly bitmap: ImageBitmap;
  readonly milliseconds: number;
}

/** Counts of 256 values of R, G and B, one after the other. */
export interface Charts {
  readonly foreground: Uint32Array;
  readonly background: Uint32Array;
  /** What greys become, (256, 3). */
  readonly curves: Float32Array;
}

export type ExportKind = "png" | "png16" | "jpeg" | "cube";

export interface Requests {
  load: [{ base: string; processors: number }, { version: string; threads: number; notes: readonly string[] }];
  inspect: [{ file: Blob; name: string }, Inspected];
  open: [{ file: Blob; name: string }, Opened];
  maskFile: [{ file: Blob; name: string }, { mask: ImageBitmap }];
  mask: [{ data: Uint8Array }, null];
  cutout: [{ file: Blob; name: string }, { bitmap: ImageBitmap }];
  compose: [
    { background: Blob; name: string; placement: Placement }, Opened & { readonly mask: ImageBitmap },
  ];
  predict: [{ model: string; label?: string }, Predicted];
  model: [{ data: ArrayBuffer; name: string }, { model: string }];
  preview: [{ arguments: Arguments }, Previewed];
  charts: [{ arguments: Arguments | null }, Charts];
  loupe: [{ arguments: Arguments; region: Region }, { before: ImageBitmap; after: ImageBitmap }];
  export: [{ kind: ExportKind; arguments: Arguments; title: string }, { blob: Blob }];
  measure: [{ arguments: Arguments }, { draw: number; measure: number; memory: number }];
}

export type Operation = keyof Requests;

export interface Request {
  readonly id: number;
  readonly operation: Operation;
  readonly given: unknown;
}

export type Answer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string };
