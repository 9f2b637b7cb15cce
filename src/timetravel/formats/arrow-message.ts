import { Data, DataType, makeData, RecordBatch, type Schema, Struct, Vector } from 'apache-arrow';
import {
  BufferRegion,
  DictionaryBatch,
  FieldNode,
  Message,
  RecordBatch as BatchHeader,
} from 'apache-arrow/ipc/metadata/message';
import { VectorAssembler } from 'apache-arrow/visitor/vectorassembler';

/**
 * One message of an Arrow stream:
 *
 * bytes     field
 * 0  i32    −1: a message follows
 * 4  i32    length of the header
 * 8         the header, a flatbuffer, and zeros up to a multiple of 64
 *           the body: buffers, each from a multiple of 64 on
 *
 * So in a stream of such messages every buffer starts on a multiple of 64, as Arrow advises.
 */
const PREFIX_BYTES = 8;
const ALIGNMENT = 64;

/** What ends a stream. */
export const END_OF_STREAM = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/** A message laid out: its bytes are written when the whole stream's are known. */
export interface PlannedMessage {
  bytes: number;
  header: Uint8Array;
  /** Where the body begins. */
  bodyAt: number;
  copies: readonly (readonly [at: number, bytes: Uint8Array])[];
}

/** The body of a message, laid out buffer by buffer. */
export class MessageBody {
  readonly nodes: FieldNode[] = [];
  readonly regions: BufferRegion[] = [];
  readonly variadic: number[] = [];
  readonly copies: (readonly [at: number, bytes: Uint8Array])[] = [];
  bytes = 0;

  addColumn(data: Data): void {
    const { nodes, buffers, variadicBufferCounts } = VectorAssembler.assemble(new Vector([data]));
    this.nodes.push(...nodes);
    this.variadic.push(...variadicBufferCounts);
    for (const { buffer, byteOffset, byteLength } of buffers) {
      this.copies.push([this.reserve(byteLength), new Uint8Array(buffer, byteOffset, byteLength)]);
    }
  }

  /** A fixed_size_list of as many numbers as `dim`; returns where the vectors go in the body. */
  addVectors(valid: Uint8Array, dim: number, vectorBytes: number): number {
    const rows = valid.length;
    const { bits, nulls } = packValid(valid);
    this.nodes.push(new FieldNode(rows, nulls), new FieldNode(rows * dim, 0));
    this.copies.push([this.reserve(bits.byteLength), bits]);
    this.reserve(0);
    return this.reserve(rows * vectorBytes);
  }

  /** Makes room for a buffer; returns where. */
  private reserve(bytes: number): number {
    const at = this.bytes;
    this.regions.push(new BufferRegion(at, bytes));
    this.bytes = padded(at + bytes);
    return at;
  }
}

export function schemaMessage(schema: Schema): PlannedMessage {
  return planned(Message.encode(Message.from(schema)), new MessageBody());
}

/** A message of `rows` rows; `told` is what it says beside them. */
export function batchMessage(
  rows: number,
  body: MessageBody,
  told?: Map<string, string>,
): PlannedMessage {
  const header = batchHeader(rows, body, told);
  return planned(Message.encode(Message.from(header, body.bytes)), body);
}

/** The values of a dictionary, in place of those before. */
export function dictionaryMessage(id: number, values: Data): PlannedMessage {
  const body = new MessageBody();
  body.addColumn(values);
  const header = new DictionaryBatch(batchHeader(values.length, body), id);
  return planned(Message.encode(Message.from(header, body.bytes)), body);
}

/** Writes all of a message but what is only reserved. */
export function writeMessage(
  { header, bodyAt, copies }: PlannedMessage,
  out: Uint8Array,
  at: number,
): void {
  const view = new DataView(out.buffer, out.byteOffset + at);
  view.setInt32(0, -1, true);
  view.setInt32(4, bodyAt - PREFIX_BYTES, true);
  out.set(header, at + PREFIX_BYTES);
  for (const [place, bytes] of copies) out.set(bytes, at + bodyAt + place);
}

/** A batch of this schema without rows. */
export function emptyBatch(schema: Schema): RecordBatch {
  const { fields } = schema;
  const children = fields.map(({ type }) => emptyData(type));
  const type = new Struct(fields);
  return new RecordBatch(schema, makeData({ type, length: 0, nullCount: 0, children }));
}

/** apache-arrow makes no children for a nested type without rows, and cannot write it then. */
function emptyData(type: DataType): Data {
  const buffers = makeData({ type, length: 0 }) as never;
  const children = (type.children ?? []).map((child) => emptyData(child.type));
  const words = DataType.isDictionary(type) ? new Vector([emptyData(type.dictionary)]) : undefined;
  return new Data(type, 0, 0, 0, buffers, children, words);
}

function batchHeader(rows: number, body: MessageBody, told?: Map<string, string>): BatchHeader {
  return new BatchHeader(rows, body.nodes, body.regions, null, body.variadic, told);
}

function planned(header: Uint8Array, body: MessageBody): PlannedMessage {
  const bodyAt = padded(PREFIX_BYTES + header.byteLength);
  return { bytes: bodyAt + body.bytes, header, bodyAt, copies: body.copies };
}

function padded(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** Arrow's bitmap of what is there; none where all is. */
function packValid(valid: Uint8Array): { bits: Uint8Array; nulls: number } {
  if (!valid.includes(0)) return { bits: new Uint8Array(), nulls: 0 };
  const bits = new Uint8Array(Math.ceil(valid.length / 8));
  let nulls = 0;
  for (let row = 0; row < valid.length; row++) {
    if (valid[row] === 0) nulls++;
    else bits[row >> 3]! |= 1 << (row & 7);
  }
  return { bits, nulls };
}
