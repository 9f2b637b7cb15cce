import {
  Bool,
  type Data,
  DataType,
  Float64,
  Int64,
  makeData,
  TimestampMicrosecond,
  Utf8,
} from 'apache-arrow';

import type { Read } from './text-types.ts';
import type { TextColumn } from './window.ts';

const TWO_32 = 2 ** 32;

/** What is in a row; undefined where it is null. */
type ValueOf = (row: number) => ReturnType<Read>;
type Fill = (
  length: number,
  valueOf: ValueOf,
) => { data: ArrayBufferView; valueOffsets?: Int32Array };

const BUILDS: Readonly<Record<TextColumn['type'], { type: DataType; fill: Fill }>> = {
  int64: { type: new Int64(), fill: fillWhole },
  float64: { type: new Float64(), fill: fillFloats },
  bool: { type: new Bool(), fill: fillBools },
  string: { type: new Utf8(), fill: fillTexts },
  timestamp: { type: new TimestampMicrosecond('UTC'), fill: fillWhole },
  json: { type: new Utf8(), fill: fillTexts },
};

/** The column of Arrow that holds these values: null is null, others as `read` reads them. */
export function columnData(
  type: TextColumn['type'],
  values: readonly unknown[],
  read: Read,
  /** Is told of a value that does not fit; when it returns, the value is null. */
  misfit: (row: number) => void,
): Data {
  const { length } = values;
  const nullBitmap = new Uint8Array(bitmapBytes(length));
  let nullCount = 0;
  const filled = BUILDS[type].fill(length, (row) => {
    const value = values[row];
    const known = value === null ? undefined : read(value);
    if (known === undefined) {
      if (value !== null) misfit(row);
      nullCount++;
    } else {
      nullBitmap[row >> 3]! |= 1 << (row & 7);
    }
    return known;
  });
  return makeData({ type: BUILDS[type].type as Utf8, length, nullCount, nullBitmap, ...filled } as {
    type: Utf8;
  });
}

function fillWhole(length: number, valueOf: ValueOf): ReturnType<Fill> {
  const data = new BigInt64Array(length);
  const halves = new Int32Array(data.buffer);
  for (let row = 0; row < length; row++) {
    const value = (valueOf(row) ?? 0) as number;
    // The low 32 bits of a whole number, and the rest: no BigInt a row.
    halves[2 * row] = value | 0;
    halves[2 * row + 1] = Math.floor(value / TWO_32);
  }
  return { data };
}

function fillFloats(length: number, valueOf: ValueOf): ReturnType<Fill> {
  const data = new Float64Array(length);
  for (let row = 0; row < length; row++) data[row] = (valueOf(row) ?? 0) as number;
  return { data };
}

function fillBools(length: number, valueOf: ValueOf): ReturnType<Fill> {
  const data = new Uint8Array(bitmapBytes(length));
  for (let row = 0; row < length; row++) {
    if (valueOf(row) === true) data[row >> 3]! |= 1 << (row & 7);
  }
  return { data };
}

function fillTexts(length: number, valueOf: ValueOf): ReturnType<Fill> {
  return encoded(Array.from({ length }, (_, row) => (valueOf(row) ?? '') as string));
}

/** The texts as UTF-8, one after the other. They are well-formed. */
function encoded(texts: readonly string[]): { valueOffsets: Int32Array; data: Uint8Array } {
  const data = Buffer.from(texts.join(''));
  const valueOffsets = new Int32Array(texts.length + 1);
  let [chars, bytes] = [0, 0];
  for (const text of texts) chars += text.length;
  const isPlain = chars === data.length;
  texts.forEach((text, row) => {
    bytes += isPlain ? text.length : Buffer.byteLength(text);
    valueOffsets[row + 1] = bytes;
  });
  return { valueOffsets, data };
}

/** Of a bitmap of so many rows, in whole words, as Arrow wants it. */
export function bitmapBytes(rows: number): number {
  return Math.ceil(rows / 64) * 8;
}
