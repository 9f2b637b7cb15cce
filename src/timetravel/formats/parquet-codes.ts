import {
  type Data,
  DataType,
  type Dictionary,
  type Field,
  type Int8,
  type Utf8,
} from 'apache-arrow';
import { truncateBitmap } from 'apache-arrow/util/bit';

import { isValid } from '../spine/column.ts';
import type { ColumnChunk } from './parquet-footer.ts';
import {
  columnChunk,
  dataPageHeader,
  dictionaryPageHeader,
  PLAIN,
  RLE,
  RLE_DICTIONARY,
} from './parquet-pages.ts';

/**
 * A column of few texts, as status and reason are, in Parquet: a page with the texts, each after its
 * length as u32, and a page with a code a row:
 *
 * bytes   field
 * 4       length of the levels                ┐ only of a column
 * n       levels: of each row, is it there    ┘ that may be null
 * 1       how many bits a code has
 * n       the codes of the rows that are there
 *
 * A library would make texts of the codes, row after row, and find them equal again.
 */
const BYTE_ARRAY = 6;
/** There are readers who make codes of a byte of them again, and refuse as many as a byte has. */
const TEXTS_MAX = 127;

/** Codes of a byte for texts. */
export type CodeData = Data<Dictionary<Utf8, Int8>>;

/** Whether it is such a column. One with a code that has no text is left to who can say so. */
export function isOfCodes({ nullable }: Field, data: Data): data is CodeData {
  const { type, dictionary, length, nullCount } = data;
  if (!nullable && nullCount > 0) return false;
  if (!DataType.isDictionary(type) || !DataType.isUtf8(type.dictionary)) return false;
  if (!(data.values instanceof Int8Array) || data.values.length < length) return false;
  const texts = dictionary!.length;
  if (texts === 0 || texts > TEXTS_MAX || dictionary!.nullCount > 0) return false;
  const codes = data.values;
  for (let row = 0; row < length; row++) if (codes[row]! < 0 || codes[row]! >= texts) return false;
  return true;
}

/** The pages of these rows, and how they are described: places count from the first page. */
export function encodeCodes(
  { name, nullable }: Field,
  column: CodeData,
): { bytes: Uint8Array; chunk: ColumnChunk } {
  const { length, nullCount, dictionary } = column;
  const texts = Array.from(dictionary!, (text) => Buffer.from(text));
  const words = Buffer.concat(texts.flatMap((text) => [u32(text.byteLength), text]));
  const wordsHeader = dictionaryPageHeader(words.byteLength, texts.length);
  const levels = nullable ? encodeLevels(column) : Buffer.alloc(0);
  const codes = packCodes(column, Math.max(1, 32 - Math.clz32(texts.length - 1)));
  const header = dataPageHeader(levels.byteLength + codes.byteLength, length, RLE_DICTIONARY);
  const bytes = Buffer.concat([wordsHeader, words, header, levels, codes]);
  const chunk = columnChunk({
    path: [name],
    physicalType: BYTE_ARRAY,
    encodings: [PLAIN, RLE, RLE_DICTIONARY],
    places: length,
    bytes: bytes.byteLength,
    dataPage: wordsHeader.byteLength + words.byteLength,
    nulls: nullCount,
  });
  return { bytes, chunk };
}

/** Packed levels of one bit are what Arrow's bitmap is. */
function encodeLevels({ length, nullCount, nullBitmap, offset }: CodeData): Buffer {
  const groups = Math.ceil(length / 8);
  const run =
    nullCount === 0
      ? [varint(length * 2), Buffer.of(1)]
      : [varint(groups * 2 + 1), truncateBitmap(offset, length, nullBitmap).subarray(0, groups)];
  const levels = Buffer.concat(run);
  return Buffer.concat([u32(levels.byteLength), levels]);
}

function packCodes(column: CodeData, width: number): Buffer {
  const { length, nullCount, values } = column;
  const groups = Math.ceil((length - nullCount) / 8);
  const run = groups === 0 ? Buffer.alloc(0) : varint(groups * 2 + 1);
  const out = Buffer.alloc(1 + run.byteLength + groups * width);
  out[0] = width;
  out.set(run, 1);
  let at = 1 + run.byteLength;
  let held = 0;
  let bits = 0;
  for (let row = 0; row < length; row++) {
    if (nullCount > 0 && !isValid(column, row)) continue;
    held |= values[row]! << bits;
    for (bits += width; bits >= 8; bits -= 8) {
      out[at++] = held;
      held >>>= 8;
    }
  }
  if (bits > 0) out[at] = held;
  return out;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}
