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
      for (const field of fields(part)) {
        if (field.number === 13 || (field.number === 14 && field.value)) {
          complaints.add("its weights are in another file");
        }
      }
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
        if (inner.number === 6 || inner.number === 11 || inner.number === 22 || inner.number === 23) {
          complaints.add("an operator of it has a graph inside");
        }
      }
    }
  }
  return domain === "" || domain === "ai.onnx" ? name : `${domain}.${name}`;
}

function text(part: Uint8Array | null): string {
  return part ? new TextDecoder("utf-8", { fatal: true }).decode(part) : "";
}

/** The fields of a protobuf message. */
function* fields(data: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): number => {
    let value = 0, factor = 1;
    for (let i = 0; i < 10; ++i) {
      if (at >= data.length) throw new RangeError("it is cut off");
      const byte = data[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
    throw new RangeError("it has a number that does not end");
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
