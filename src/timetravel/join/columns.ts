import {
  Bool,
  type Data,
  Dictionary,
  Field,
  Float32,
  Int32,
  Int64,
  Int8,
  makeData,
  TimestampMicrosecond,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';

const WORD = 2 ** 32;
/** Of an entity id. */
const ID_BYTES_MAX = 1_024;

/** A column of an answer: how it is called, and its rows. */
export interface Column {
  field: Field;
  data: Data;
}

/** µs since the epoch, UTC; null where NaN. */
export function timestampColumn(name: string, values: Float64Array): Column {
  return int64Column(name, new TimestampMicrosecond('UTC'), values);
}

/** Whole numbers within ±2⁵³; null where NaN. */
export function integerColumn(name: string, values: Float64Array): Column {
  return int64Column(name, new Int64(), values);
}

function int64Column(
  name: string,
  type: Int64 | TimestampMicrosecond,
  values: Float64Array,
): Column {
  const { length } = values;
  const cells = new BigInt64Array(length);
  // By halves: a BigInt a row would be garbage a row.
  const words = new Int32Array(cells.buffer);
  const valid = new Validity(length);
  for (let row = 0; row < length; row++) {
    const value = values[row]!;
    if (Number.isNaN(value)) {
      valid.clear(row);
      continue;
    }
    const high = Math.floor(value / WORD);
    words[row * 2] = value - high * WORD;
    words[row * 2 + 1] = high;
  }
  const data = makeData({ type: type as Int64, length, data: cells, ...valid.parts() });
  return { field: new Field(name, type, true), data };
}

/** Entity ids. */
export function idColumn(name: string, ids: readonly string[]): Column {
  const offsets = new Int32Array(ids.length + 1);
  let bytes = Buffer.allocUnsafe(16 * ids.length + ID_BYTES_MAX);
  let at = 0;
  for (let row = 0; row < ids.length; row++) {
    if (at + ID_BYTES_MAX > bytes.byteLength) {
      const grown = Buffer.allocUnsafe(bytes.byteLength * 2);
      grown.set(bytes);
      bytes = grown;
    }
    at += bytes.write(ids[row]!, at);
    offsets[row + 1] = at;
  }
  const data = bytes.subarray(0, at);
  const type = new Utf8();
  const parts = { type, length: ids.length, nullCount: 0, valueOffsets: offsets, data };
  return { field: new Field(name, type, false), data: makeData(parts) };
}

/** True where the code is `code`. */
export function isCodeColumn(name: string, codes: Uint8Array, code: number): Column {
  const bits = new Uint8Array(Math.ceil(codes.length / 64) * 8);
  for (let row = 0; row < codes.length; row++) {
    if (codes[row] === code) bits[row >> 3]! |= 1 << (row & 7);
  }
  const type = new Bool();
  const data = makeData({ type, length: codes.length, nullCount: 0, data: bits });
  return { field: new Field(name, type, false), data };
}

/** Row numbers of a table of vectors; null where −1. */
export function rowColumn(name: string, values: Int32Array): Column {
  const valid = new Validity(values.length);
  for (let row = 0; row < values.length; row++) if (values[row]! < 0) valid.clear(row);
  const type = new Int32();
  const data = makeData({ type, length: values.length, data: values, ...valid.parts() });
  return { field: new Field(name, type, true), data };
}

/** Numbers of float32; null where NaN. */
export function floatColumn(name: string, values: Float32Array): Column {
  const { length } = values;
  const data = new Float32Array(length);
  const valid = new Validity(length);
  for (let row = 0; row < length; row++) {
    if (Number.isNaN(values[row])) valid.clear(row);
    else data[row] = values[row]!;
  }
  const type = new Float32();
  const column = makeData({ type, length, data, ...valid.parts() });
  return { field: new Field(name, type, true), data: column };
}

/** A text for each code, of `texts`; null where that is. */
export function codeColumn(
  name: string,
  codes: Uint8Array,
  texts: readonly (string | null)[],
): Column {
  const valid = new Validity(codes.length);
  const indices = new Int8Array(codes);
  for (let row = 0; row < codes.length; row++) if (texts[codes[row]!] === null) valid.clear(row);
  const dictionary = vectorFromArray(
    texts.map((text) => text ?? ''),
    new Utf8(),
  );
  const type = new Dictionary(new Utf8(), new Int8());
  const data = makeData({
    type,
    length: codes.length,
    data: indices,
    dictionary,
    ...valid.parts(),
  });
  return { field: new Field(name, type, true), data };
}

/** Which rows are not null. */
class Validity {
  private bits: Uint8Array;
  private nullCount = 0;

  constructor(rows: number) {
    this.bits = new Uint8Array(Math.ceil(rows / 64) * 8).fill(0xff);
  }

  clear(row: number): void {
    this.bits[row >> 3]! &= ~(1 << (row & 7));
    this.nullCount++;
  }

  /** What makes data nullable. */
  parts(): { nullCount: number; nullBitmap: Uint8Array | null } {
    return { nullCount: this.nullCount, nullBitmap: this.nullCount === 0 ? null : this.bits };
  }
}
