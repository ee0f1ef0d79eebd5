/** Which of the files that somebody dropped is what. */

import { InvalidError } from "../src/errors.ts";
import type { Inspected } from "./protocol.ts";

export interface Intake {
  composite?: File;
  mask?: File;
  cutout?: File;
  background?: File;
  arguments?: File;
  model?: File;
}

/** What is open when files come. */
export interface Present {
  readonly width: number;
  readonly height: number;
  readonly open: boolean;
  /** A cut-out is there, and its background is not. */
  readonly waiting: boolean;
}

const SAID_MASK = /(^|[^a-z])(mask|matte|alpha)/i;

interface Size {
  readonly width: number;
  readonly height: number;
}

export function unlikeSizes(name: string, mask: Size, composite: Size): InvalidError {
  return new InvalidError(
    `${name} must have the composite's width and height, ${composite.width}x${composite.height}; it ` +
      `has ${mask.width}x${mask.height}. Resize it, or paint the mask here.`,
  );
}

/** Sort files; throws a sentence where it cannot be told. */
export async function sortFiles(
  files: readonly File[], present: Present, inspect: (file: File) => Promise<Inspected>,
): Promise<Intake> {
  const intake: Intake = {};
  const pictures: File[] = [];
  for (const file of files) {
    const kind = /\.json$/i.test(file.name) ? "arguments" : /\.onnx$/i.test(file.name) ? "model" : null;
    if (!kind) {
      pictures.push(file);
      continue;
    }
    const other = intake[kind];
    if (other) {
      throw new InvalidError(
        `Files of one kind must come one at a time; got ${other.name} and ${file.name}. Choose one.`,
      );
    }
    intake[kind] = file;
  }
  if (pictures.length > 2) {
    throw new InvalidError(
      "Pictures must come one at a time: a composite and its mask, or a cut-out and its " +
        `background; got ${pictures.length}. Choose two.`,
    );
  }
  const found = await Promise.all(pictures.map(async (file) => ({ file, ...(await inspect(file)) })));
  const [first, second] = found;
  if (!first) return intake;
  if (!second) {
    const fits = present.open && first.width === present.width && first.height === present.height;
    if (first.cutout) intake.cutout = first.file;
    else if (present.open && first.grey && (fits || SAID_MASK.test(first.file.name))) intake.mask = first.file;
    else if (present.waiting) intake.background = first.file;
    else intake.composite = first.file;
    return intake;
  }
  const cutout = found.filter((picture) => picture.cutout);
  if (cutout.length === 1) {
    intake.cutout = cutout[0].file;
    intake.background = found.find((picture) => !picture.cutout)?.file;
    return intake;
  }
  const named = found.filter(({ file }) => SAID_MASK.test(file.name));
  const greys = found.filter(({ grey }) => grey);
  const mask = greys.length === 1 ? greys[0] : named.length === 1 ? named[0] : null;
  if (!mask) {
    throw new InvalidError(
      "One of two pictures must be a mask in greys, or a cut-out with transparency; " +
        `${first.file.name} and ${second.file.name} are not. Give the mask's file "mask" in its ` +
        "name, or open the composite alone and paint.",
    );
  }
  const composite = mask === first ? second : first;
  if (mask.width !== composite.width || mask.height !== composite.height) throw unlikeSizes(mask.file.name, mask, composite);
  intake.mask = mask.file;
  intake.composite = composite.file;
  return intake;
}
