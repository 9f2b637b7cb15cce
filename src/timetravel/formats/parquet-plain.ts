import { isUtf8 } from 'node:buffer';

import { type Data, DataType, DateUnit, type Field, Precision, TimeUnit } from 'apache-arrow';

import { isValid, type Texts, textsOf } from '../spine/column.ts';
import { type FixedValues, numberBounds, textBounds } from './parquet-bounds.ts';
import {
  columnChunk,
  dataPageHeader,
  PHYSICAL_TYPE,
  PLAIN,
  type PlannedPages,
  RLE,
} from './parquet-pages.ts';
import { encodeValidity } from './parquet-validity.ts';

/**
 * A column whose values are in Parquet what they are in Arrow: numbers and moments of four or eight
 * bytes, and texts, each after its length as u32. A page is a header, of a column that may be null
 * which rows are there, and the values of those, copied from where Arrow has them.
 */
const PAGE_VALUE_BYTES = 2 ** 20;
const LENGTH_BYTES = 4;
/** Shorter texts are copied four bytes at a time: a call of the engine's costs as much as so many. */
const SHORT_TEXT_BYTES = 48;
/** Texts that repeat take less as a dictionary and its codes: these rows tell whether they do. */
const SAMPLE_ROWS = 2_048;
const SAMPLE_DISTINCT_MAX = 1_792;

export interface PlainColumn {
  data: Data;
  physicalType: number;
  /** Where it is of texts. */
  texts: Texts | undefined;
}

interface Page {
  from: number;
  to: number;
  nulls: number;
  header: Uint8Array;
  levels: Uint8Array;
  valueBytes: number;
}

/**
 * Undefined where it is left to the library: it is of another type, its texts repeat, or it has to be
 * refused. Throws BAD_REQUEST.
 */
export function plainOf({ name, nullable }: Field, data: Data): PlainColumn | undefined {
  const { type, length, offset, nullCount, nullBitmap } = data;
  const physicalType = physicalTypeOf(type);
  if (physicalType === undefined) return undefined;
  if (nullCount > 0 && !(nullable && nullBitmap.length * 8 >= offset + length)) return undefined;
  if (physicalType !== PHYSICAL_TYPE.byteArray) {
    const isWhole = data.values.length >= length;
    return isWhole ? { data, physicalType, texts: undefined } : undefined;
  }
  if (length < SAMPLE_ROWS) return undefined;
  const texts = textsOf(data, name);
  return isVaried(texts) && isOfLetters(texts, length) ? { data, physicalType, texts } : undefined;
}

/** The pages of the rows from one to another. */
export function planPlain(
  { name, nullable }: Field,
  column: PlainColumn,
  from: number,
  to: number,
): PlannedPages {
  const { data, physicalType, texts } = column;
  const pages: Page[] = [];
  let bytes = 0;
  let nulls = 0;
  for (let row = from; row < to;) {
    const page = planPage(column, nullable, row, pageEnd(column, row, to));
    pages.push(page);
    bytes += page.header.byteLength + page.levels.byteLength + page.valueBytes;
    nulls += page.nulls;
    row = page.to;
  }
  const values = texts ?? presentValues(data, from, to, nulls);
  const isNumbers = ArrayBuffer.isView(values);
  const bounds = isNumbers ? numberBounds(values) : textBounds(values, data, from, to, nulls);
  const chunk = columnChunk({
    path: [name],
    physicalType,
    encodings: [PLAIN, RLE],
    places: to - from,
    bytes,
    dataPage: 0,
    statistics: { nulls, bounds },
  });
  return {
    bytes,
    chunk,
    write(out, start) {
      let at = start;
      let written = 0;
      for (const page of pages) {
        out.set(page.header, at);
        at += page.header.byteLength;
        out.set(page.levels, at);
        at += page.levels.byteLength;
        if (isNumbers) out.set(bytesOf(values, written, page.valueBytes), at);
        else writeTexts(values, data, page, out, at);
        at += page.valueBytes;
        written += page.valueBytes;
      }
    },
  };
}

function physicalTypeOf(type: DataType): number | undefined {
  if (DataType.isUtf8(type) || DataType.isLargeUtf8(type)) return PHYSICAL_TYPE.byteArray;
  if (DataType.isTimestamp(type) && type.unit !== TimeUnit.SECOND) return PHYSICAL_TYPE.int64;
  if (DataType.isDate(type) && type.unit === DateUnit.DAY) return PHYSICAL_TYPE.int32;
  if (DataType.isInt(type) && type.bitWidth === 64) return PHYSICAL_TYPE.int64;
  if (DataType.isInt(type) && type.bitWidth === 32) return PHYSICAL_TYPE.int32;
  if (DataType.isFloat(type) && type.precision === Precision.DOUBLE) return PHYSICAL_TYPE.double;
  if (DataType.isFloat(type) && type.precision === Precision.SINGLE) return PHYSICAL_TYPE.float;
  return undefined;
}

/** Whether most of a column's first texts differ from each other. */
function isVaried({ bytes, offsets }: Texts): boolean {
  const texts = new Set<string>();
  for (let row = 0; row < SAMPLE_ROWS; row++) {
    texts.add(bytes.toString('latin1', offsets[row], offsets[row + 1]));
  }
  return texts.size > SAMPLE_DISTINCT_MAX;
}

/** Whether the texts are UTF-8, each for itself. */
function isOfLetters({ bytes, offsets }: Texts, rows: number): boolean {
  for (let row = 0; row < rows; row++) {
    const at = offsets[row]!;
    // A text that begins within a letter.
    if (at < bytes.length && (bytes[at]! & 0xc0) === 0x80) return false;
  }
  return isUtf8(bytes.subarray(offsets[0], offsets[rows]));
}

function widthOf({ values }: Data): number {
  return (values as Int32Array | BigInt64Array).BYTES_PER_ELEMENT;
}

/** As many rows as a page has room for; one at least. */
function pageEnd({ data, texts }: PlainColumn, from: number, to: number): number {
  if (!texts) return Math.min(to, from + PAGE_VALUE_BYTES / widthOf(data));
  let end = from + 1;
  for (let last = to; end < last;) {
    const middle = Math.ceil((end + last) / 2);
    if (textBytes(texts, from, middle) <= PAGE_VALUE_BYTES) end = middle;
    else last = middle - 1;
  }
  return end;
}

function planPage(column: PlainColumn, nullable: boolean, from: number, to: number): Page {
  const { data } = column;
  const nulls = data.slice(from, to - from).nullCount;
  const levels = nullable ? encodeValidity(data, from, to, nulls) : new Uint8Array(0);
  const valueBytes = valueBytesOf(column, from, to, nulls);
  const header = dataPageHeader(levels.byteLength + valueBytes, to - from, PLAIN);
  return { from, to, nulls, header, levels, valueBytes };
}

function valueBytesOf(
  { data, texts }: PlainColumn,
  from: number,
  to: number,
  nulls: number,
): number {
  if (!texts) return (to - from - nulls) * widthOf(data);
  let bytes = textBytes(texts, from, to);
  if (nulls === 0) return bytes;
  for (let row = from; row < to; row++) {
    if (!isValid(data, row)) bytes -= textBytes(texts, row, row + 1);
  }
  return bytes;
}

/** With their lengths. */
function textBytes({ offsets }: Texts, from: number, to: number): number {
  return offsets[to]! - offsets[from]! + (to - from) * LENGTH_BYTES;
}

/** The values of these rows, without those of rows that are null. */
function presentValues(data: Data, from: number, to: number, nulls: number): FixedValues {
  const values = data.values as FixedValues;
  if (nulls === 0) return values.subarray(from, to);
  const { nullBitmap, offset } = data;
  const present = values.slice(from, to);
  // Each value is moved, and the next one over it where it is null: to ask before would cost more.
  const words = new Int32Array(present.buffer);
  const isLong = present.BYTES_PER_ELEMENT === 8;
  let count = 0;
  for (let row = 0; row < to - from; row++) {
    if (isLong) {
      words[2 * count] = words[2 * row]!;
      words[2 * count + 1] = words[2 * row + 1]!;
    } else {
      words[count] = words[row]!;
    }
    const bit = offset + from + row;
    count += (nullBitmap[bit >> 3]! >> (bit & 7)) & 1;
  }
  return present.subarray(0, count);
}

function bytesOf({ buffer, byteOffset }: FixedValues, from: number, bytes: number): Uint8Array {
  return new Uint8Array(buffer, byteOffset + from, bytes);
}

function writeTexts(
  { bytes, offsets }: Texts,
  data: Data,
  { from, to, nulls }: Page,
  out: Uint8Array<ArrayBuffer>,
  start: number,
): void {
  const source = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const target = new DataView(out.buffer, out.byteOffset, out.byteLength);
  let at = start;
  for (let row = from; row < to; row++) {
    if (nulls > 0 && !isValid(data, row)) continue;
    let place = offsets[row]!;
    const end = offsets[row + 1]!;
    target.setInt32(at, end - place, true);
    at += LENGTH_BYTES;
    if (end - place > SHORT_TEXT_BYTES) {
      bytes.copy(out, at, place, end);
      at += end - place;
      continue;
    }
    for (; place + 4 <= end; place += 4, at += 4) {
      target.setInt32(at, source.getInt32(place, true), true);
    }
    while (place < end) out[at++] = bytes[place++]!;
  }
}
