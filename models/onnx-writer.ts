/**
 * Writes ONNX files: the few messages and fields of onnx.proto3 that small graphs need.
 *
 * A protobuf message is its fields one after another, each
 *   varint  field number × 8 + wire type (0: varint follows, 2: length and bytes follow)
 *   varint  the value, or the length of
 *   bytes   a text, raw numbers, or a message inside
 */

/** ONNX's codes of element types. */
export const FLOAT = 1;
export const INT8 = 3;
export const INT64 = 7;
export const FLOAT16 = 10;

export type ElementType = typeof FLOAT | typeof INT8 | typeof INT64 | typeof FLOAT16;

/**
 * A tensor whose numbers are part of the file, raw little-endian bytes, or lie in a file beside it
 * from a byte on.
 */
export type Constant = {
  name: string;
  type: ElementType;
  dims: readonly number[];
} & ({ bytes: Uint8Array } | { file: string; offset: number; length: number });

/** A tensor that the graph takes or gives; a dimension that varies is a name. */
export interface Port {
  name: string;
  type: ElementType;
  dims: readonly (number | string)[];
}

/** One operator of the standard set; its attributes are integers. */
export interface Node {
  op: string;
  inputs: readonly string[];
  output: string;
  attributes?: Record<string, number>;
}

export interface Graph {
  name: string;
  inputs: readonly Port[];
  outputs: readonly Port[];
  constants: readonly Constant[];
  nodes: readonly Node[];
}

// IR version 8 and operator set 17: read by every ONNX Runtime since 1.12.
const IR_VERSION = 8;
const OPERATOR_SET = 17;

/** The bytes of an ONNX file; equal graphs give equal bytes. */
export function encodeModel(graph: Graph): Buffer {
  return Buffer.concat([
    number(1, IR_VERSION),
    text(2, 'tidemark'),
    bytes(7, encodeGraph(graph)),
    bytes(8, number(2, OPERATOR_SET)),
  ]);
}

function encodeGraph(graph: Graph): Buffer {
  return Buffer.concat([
    ...graph.nodes.map((node) => bytes(1, encodeNode(node))),
    text(2, graph.name),
    ...graph.constants.map((constant) => bytes(5, encodeConstant(constant))),
    ...graph.inputs.map((port) => bytes(11, encodePort(port))),
    ...graph.outputs.map((port) => bytes(12, encodePort(port))),
  ]);
}

function encodeNode({ op, inputs, output, attributes = {} }: Node): Buffer {
  return Buffer.concat([
    ...inputs.map((name) => text(1, name)),
    text(2, output),
    text(4, op),
    ...Object.entries(attributes).map(([name, value]) =>
      // Type 2 is INT, its value is field 3.
      bytes(5, Buffer.concat([text(1, name), number(3, value), number(20, 2)])),
    ),
  ]);
}

function encodeConstant(constant: Constant): Buffer {
  const { name, type, dims } = constant;
  return Buffer.concat([
    ...dims.map((dim) => number(1, dim)),
    number(2, type),
    text(8, name),
    'bytes' in constant ? bytes(9, constant.bytes) : encodePlace(constant),
  ]);
}

/** Where external numbers lie: entries of texts, and that they are external. */
function encodePlace(place: { file: string; offset: number; length: number }): Buffer {
  const { file: location, offset, length } = place;
  const entries = Object.entries({ location, offset, length }).map(([key, value]) =>
    bytes(13, Buffer.concat([text(1, key), text(2, String(value))])),
  );
  return Buffer.concat([...entries, number(14, 1)]);
}

function encodePort({ name, type, dims }: Port): Buffer {
  const shape = dims.map((dim) =>
    bytes(1, typeof dim === 'number' ? number(1, dim) : text(2, dim)),
  );
  const tensor = Buffer.concat([number(1, type), bytes(2, Buffer.concat(shape))]);
  return Buffer.concat([text(1, name), bytes(2, bytes(1, tensor))]);
}

function number(field: number, value: number): Buffer {
  return Buffer.concat([varint(field << 3), varint(value)]);
}

function text(field: number, value: string): Buffer {
  return bytes(field, Buffer.from(value));
}

function bytes(field: number, value: Uint8Array): Buffer {
  return Buffer.concat([varint((field << 3) | 2), varint(value.length), value]);
}

/** Seven bits a byte, the lowest first; a negative number is its 64-bit two's complement. */
function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return Buffer.from(out);
}
