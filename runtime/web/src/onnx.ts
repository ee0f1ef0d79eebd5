/** What an ONNX file says of itself, read before anything runs it; as onnx_files.py does. */

import { MAX_METADATA_BYTES, MAX_NODES, OPERATORS } from "./registry.ts";

export interface OnnxFile {
  readonly metadata: ReadonlyMap<string, string>;
  /** What breaks the contract of a predictor, a phrase each. */
  readonly complaints: readonly string[];
}

interface Field {
  readonly number: number;
  readonly value: number;
  readonly part: Uint8Array | null;
}

const GRAPH = 7, FUNCTIONS = 25, METADATA = 14, TRAINING = 20;
const NODE = 1, INITIALIZER = 5, SPARSE = 15;

/** Read a model's structure. Throws RangeError with the reason if it is no ONNX model. */
export function readOnnx(data: Uint8Array): OnnxFile {
  const metadata = new Map<string, string>();
  const complaints = new Set<string>();
  const operators = new Set<string>();
  let graphs = 0, nodes = 0, described = 0;
  for (const { number, part } of fields(data)) {
    if (number === GRAPH && part) {
      ++graphs;
      nodes += readGraph(part, operators, complaints);
    } else if (number === METADATA && part) {
      described += part.length;
      if (described > MAX_METADATA_BYTES) throw new RangeError("its metadata is too long");
      const texts = new Map([...fields(part)].map((entry) => [entry.number, text(entry.part)]));
      metadata.set(texts.get(1) ?? "", texts.get(2) ?? "");
    } else if (number === FUNCTIONS || number === TRAINING) {
      complaints.add("it defines functions of its own, or how to train");
    }
  }
  if (graphs !== 1) throw new RangeError(`it has ${graphs} graphs, where a model has one`);
  const strange = [...operators].filter((name) => !OPERATORS.includes(name)).sort();
  if (strange.length) {
    complaints.add(`its operators are not all known: ${strange.slice(0, 5).join(", ")}`);
  }
  if (nodes > MAX_NODES) complaints.add(`it has ${nodes} nodes, where ${MAX_NODES} are allowed`);
  return { metadata, complaints: [...complaints] };
}

function readGraph(graph: Uint8Array, operators: Set<string>, complaints: Set<string>): number {
  let nodes = 0;
  for (const { number, part } of fields(graph)) {
    if (number === NODE && part) {
      ++nodes;
      operators.add(readNode(part, complaints));
    } else if (number === INITIALIZER && part) {
      readTensor(part, complaints);
    } else if (number === SPARSE) {
      complaints.add("it has sparse weights");
    }
  }
  return nodes;
}

function readNode(node: Uint8Array, complaints: Set<string>): string {
  let name = "", domain = "";
  for (const { number, part } of fields(node)) {
    if (number === 4) name = text(part);
    else if (number === 7) domain = text(part);
    else if (number === 5 && part) {
      for (const inner of fields(part)) {
        if ((inner.number === 5 || inner.number === 10) && inner.part) {
          readTensor(inner.part, complaints);
        }
        if (inner.number === 6 || inner.number === 11 || inner.number === 22 || inner.number === 23) {
          complaints.add("an operator of it has a graph inside");
        }
      }
    }
  }
  return domain === "" || domain === "ai.onnx" ? name : `${domain}.${name}`;
}

/** Note weights in another file, and such that are not finite. */
function readTensor(tensor: Uint8Array, complaints: Set<string>): void {
  let kind = 0, name = "";
  const raw: Uint8Array[] = [];
  let halves: number[] = [];
  for (const { number, value, part } of fields(tensor)) {
    if (number === 2) kind = value;
    else if (number === 8) name = text(part).slice(0, 60);
    else if (number === 13 || (number === 14 && value)) complaints.add("its weights are in another file");
    else if ((number === 4 || number === 9 || number === 10) && part) raw.push(part);
    else if (number === 5) halves = halves.concat(part ? varints(part) : value); // may be halves
  }
  if (!raw.length && halves.length) raw.push(new Uint8Array(Uint16Array.from(halves).buffer));
  if (!weightsAreFinite(kind, raw)) complaints.add(`its weights \`${name}\` are not finite`);
}

/** Of a type's floats the words, and the bits in a word that are all set in what is not finite. */
const FLOATS: Record<number, { size: 2 | 4 | 8; exponent: number; fraction: number }> = {
  1: { size: 4, exponent: 0x7f800000, fraction: 0x007fffff },
  10: { size: 2, exponent: 0x7c00, fraction: 0x03ff },
  11: { size: 8, exponent: 0x7ff00000, fraction: 0x000fffff },
  16: { size: 2, exponent: 0x7f80, fraction: 0x007f },
};

/** One number alone may be a bound, which may be infinite, but not NaN. */
function weightsAreFinite(kind: number, raw: readonly Uint8Array[]): boolean {
  const float = FLOATS[kind];
  if (!float) return true;
  const total = raw.reduce((sum, part) => sum + Math.floor(part.length / float.size), 0);
  for (const part of raw) {
    const count = Math.floor(part.length / float.size);
    const words = highWords(part, float.size, count);
    for (let i = 0; i < count; ++i) {
      if ((words[i] & float.exponent) !== float.exponent) continue;
      const low = float.size === 8 ? part.subarray(i * 8, i * 8 + 4).some((byte) => byte !== 0) : false;
      if (total !== 1 || (words[i] & float.fraction) !== 0 || low) return false;
    }
  }
  return true;
}

/** The words with the exponents, of little-endian floats that need not be aligned. */
function highWords(part: Uint8Array, size: 2 | 4 | 8, count: number): Uint16Array | Uint32Array {
  const { buffer } = part.slice(0, count * size);
  if (size === 2) return new Uint16Array(buffer);
  const words = new Uint32Array(buffer);
  return size === 4 ? words : words.filter((_, i) => i % 2 === 1);
}

function text(part: Uint8Array | null): string {
  return part ? new TextDecoder("utf-8", { fatal: true }).decode(part) : "";
}

/** The fields of a protobuf message. */
function* fields(data: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): number => {
    const [value, next] = readVarint(data, at);
    at = next;
    return value;
  };
  while (at < data.length) {
    const key = varint();
    const number = Math.floor(key / 8), wire = key % 8;
    if (number === 0) throw new RangeError("it has a field without a number");
    if (wire === 0) {
      yield { number, value: varint(), part: null };
      continue;
    }
    if (wire !== 1 && wire !== 2 && wire !== 5) throw new RangeError("it has a field of no kind");
    const length = wire === 2 ? varint() : wire === 1 ? 8 : 4;
    if (length > data.length - at) throw new RangeError("it is cut off");
    yield { number, value: 0, part: data.subarray(at, (at += length)) };
  }
}

/** A number, and where the next thing begins. */
function readVarint(data: Uint8Array, at: number): [number, number] {
  let value = 0, factor = 1;
  for (let i = 0; i < 10; ++i) {
    if (at >= data.length) throw new RangeError("it is cut off");
    const byte = data[at++];
    value += (byte & 127) * factor;
    if (byte < 128) return [value, at];
    factor *= 128;
  }
  throw new RangeError("it has a number that does not end");
}

function varints(data: Uint8Array): number[] {
  const values: number[] = [];
  for (let at = 0, value; at < data.length;) {
    [value, at] = readVarint(data, at);
    values.push(value);
  }
  return values;
}
