import {
  type Data,
  DataType,
  type Dictionary,
  type Field,
  type Int8,
  type Utf8,
} from 'apache-arrow';

import { isValid } from '../spine/column.ts';
import {
  columnChunk,
  dataPageHeader,
  dictionaryPageHeader,
  PHYSICAL_TYPE,
  PLAIN,
  type PlannedPages,
  RLE,
  RLE_DICTIONARY,
} from './parquet-pages.ts';
import { encodeValidity, u32, varint } from './parquet-validity.ts';

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

/**
 * A column of few texts, as status and reason are, in Parquet: a page with the texts, each after its
 * length as u32, and a page with a code a row:
 *
 * bytes   field
 * n       of a column that may be null: of each row, is it there
 * 1       how many bits a code has
 * n       the codes of the rows that are there
 *
 * A library would make texts of the codes, row after row, and find them equal again.
 */
export function planCodes({ name, nullable }: Field, column: CodeData): PlannedPages {
  const { length, nullCount, dictionary } = column;
  const texts = Array.from(dictionary!, (text) => Buffer.from(text));
  const words = Buffer.concat(texts.flatMap((text) => [u32(text.byteLength), text]));
  const wordsHeader = dictionaryPageHeader(words.byteLength, texts.length);
  const levels = nullable ? encodeValidity(column, 0, length, nullCount) : Buffer.alloc(0);
  const codes = packCodes(column, Math.max(1, 32 - Math.clz32(texts.length - 1)));
  const header = dataPageHeader(levels.byteLength + codes.byteLength, length, RLE_DICTIONARY);
  const bytes = Buffer.concat([wordsHeader, words, header, levels, codes]);
  const chunk = columnChunk({
    path: [name],
    physicalType: PHYSICAL_TYPE.byteArray,
    encodings: [PLAIN, RLE, RLE_DICTIONARY],
    places: length,
    bytes: bytes.byteLength,
    dataPage: wordsHeader.byteLength + words.byteLength,
    statistics: { nulls: nullCount },
  });
  return { bytes: bytes.byteLength, chunk, write: (out, at) => out.set(bytes, at) };
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
