import { type Dtype, numberBytes } from '../../store/dtype.ts';
import type { VectorColumn } from './answer.ts';
import type { ColumnChunk, SchemaColumn } from './parquet-footer.ts';
import { encodeLevels } from './parquet-levels.ts';
import {
  columnChunk,
  dataPageHeader,
  dictionaryPageHeader,
  PHYSICAL_TYPE,
  PLAIN,
  RLE,
  RLE_DICTIONARY,
} from './parquet-pages.ts';
import { varint } from './parquet-validity.ts';
import {
  BINARY,
  BYTE,
  I32,
  STRUCT,
  thriftStruct,
  type ThriftStruct,
  thriftText,
  TRUE,
} from './thrift.ts';

/**
 * A column of vectors in Parquet:
 *
 *   optional group <name> (LIST) {
 *     repeated group list {
 *       required float element;       or fixed_len_byte_array(2) element (FLOAT16),
 *                                     or int32 element (INTEGER(8, true))
 *     }
 *   }
 *
 * in pages of the first version, plain and uncompressed: a header, the levels, and then the numbers
 * of one vector after another. The numbers are left to be gathered in place.
 *
 * Plain numbers of int8 would have four bytes. So each column has a page before the others with all
 * 256 of them, in such an order that the place of a number there is its byte: as codes of eight bits
 * the numbers stand in the pages as they are.
 */
const PAGE_VECTOR_BYTES = 2 ** 20;

const PHYSICAL = {
  float32: PHYSICAL_TYPE.float,
  float16: PHYSICAL_TYPE.fixedBytes,
  int8: PHYSICAL_TYPE.int32,
} as const;
const CODE_BITS = 8;
/** Codes are written eight at a time. */
const CODES_RUN = 8;
const INT8_NUMBERS = Int32Array.from({ length: 256 }, (_, code) => (code << 24) >> 24);
const OPTIONAL = 1;
const REPEATED = 2;
const REQUIRED = 0;
/** Of a group that is a list: the name that older readers know, and the one of newer ones. */
const CONVERTED_LIST = 3;
const LOGICAL_LIST = 3;
const LOGICAL_FLOAT16 = 15;
const LOGICAL_INTEGER = 10;
const CONVERTED_INT8 = 15;
const NOTHING: ThriftStruct = new Map();
const SIGNED_BYTE = thriftStruct([
  [1, BYTE, 8],
  [2, TRUE, true],
]);
const LOGICAL = {
  float32: undefined,
  float16: thriftStruct([[LOGICAL_FLOAT16, STRUCT, NOTHING]]),
  int8: thriftStruct([[LOGICAL_INTEGER, STRUCT, SIGNED_BYTE]]),
} as const;

/** What of a column's pages is known before its numbers are. */
interface Page {
  header: Uint8Array;
  /** What stands before the numbers. */
  levels: Uint8Array;
  /** Zeros behind them. */
  padding: number;
}

/** A column's pages in one row group, laid out. */
export interface PlannedVectors {
  bytes: number;
  /** Its places count from the first page. */
  chunk: ColumnChunk;
  /** The page before the others; empty where there is none. */
  dictionary: Uint8Array;
  pages: readonly Page[];
  rowsPerPage: number;
}

export function vectorSchema(name: string, dtype: Dtype): SchemaColumn {
  return {
    elements: [
      thriftStruct([
        [3, I32, OPTIONAL],
        [4, BINARY, thriftText(name)],
        [5, I32, 1],
        [6, I32, CONVERTED_LIST],
        [10, STRUCT, thriftStruct([[LOGICAL_LIST, STRUCT, NOTHING]])],
      ]),
      thriftStruct([
        [3, I32, REPEATED],
        [4, BINARY, thriftText('list')],
        [5, I32, 1],
      ]),
      thriftStruct([
        [1, I32, PHYSICAL[dtype]],
        [2, I32, dtype === 'float16' ? 2 : undefined],
        [3, I32, REQUIRED],
        [4, BINARY, thriftText('element')],
        [6, I32, dtype === 'int8' ? CONVERTED_INT8 : undefined],
        [10, STRUCT, LOGICAL[dtype]],
      ]),
    ],
    orders: [thriftStruct([[1, STRUCT, NOTHING]])],
  };
}

/** Lays out the vectors of one row group, of which these are the rows with one. */
export function planVectors(
  { name, dim, dtype }: Pick<VectorColumn, 'name' | 'dim' | 'dtype'>,
  valid: Uint8Array,
): PlannedVectors {
  const oneBytes = numberBytes(dim, dtype);
  const isCoded = dtype === 'int8';
  const dictionary = isCoded ? dictionaryPage() : new Uint8Array();
  const rowsPerPage = Math.max(1, Math.floor(PAGE_VECTOR_BYTES / oneBytes));
  const pages: Page[] = [];
  let bytes = dictionary.byteLength;
  let places = 0;
  for (let from = 0; from < valid.length; from += rowsPerPage) {
    const rows = valid.subarray(from, from + rowsPerPage);
    const vectors = countValid(rows);
    const own = encodeLevels(rows, dim);
    const levels = isCoded ? Buffer.concat([own, beforeCodes(vectors * dim)]) : own;
    const padding = isCoded ? codeGroups(vectors * dim) * CODES_RUN - vectors * dim : 0;
    const pageBytes = levels.byteLength + vectors * oneBytes + padding;
    const pagePlaces = vectors * dim + (rows.length - vectors);
    const header = dataPageHeader(pageBytes, pagePlaces, isCoded ? RLE_DICTIONARY : PLAIN);
    pages.push({ header, levels, padding });
    bytes += header.byteLength + pageBytes;
    places += pagePlaces;
  }
  const chunk = columnChunk({
    path: [name, 'list', 'element'],
    physicalType: PHYSICAL[dtype],
    encodings: isCoded ? [PLAIN, RLE, RLE_DICTIONARY] : [PLAIN, RLE],
    places,
    bytes,
    dataPage: dictionary.byteLength,
  });
  return { bytes, chunk, dictionary, pages, rowsPerPage };
}

/** All numbers of int8, as int32. */
function dictionaryPage(): Uint8Array {
  const numbers = new Uint8Array(INT8_NUMBERS.buffer);
  return Buffer.concat([dictionaryPageHeader(numbers.byteLength, INT8_NUMBERS.length), numbers]);
}

/** How many bits a code has, and how many groups of codes follow. */
function beforeCodes(codes: number): Uint8Array {
  const bits = Uint8Array.of(CODE_BITS);
  return codes === 0 ? bits : Buffer.concat([bits, varint(codeGroups(codes) * 2 + 1)]);
}

function codeGroups(codes: number): number {
  return Math.ceil(codes / CODES_RUN);
}

/**
 * Writes headers and levels from `start` on, and into `offsets` where each vector's numbers go: one a
 * row of the group, as `valid` is.
 */
export function writePages(
  { dictionary, pages, rowsPerPage }: PlannedVectors,
  valid: Uint8Array,
  oneBytes: number,
  out: Uint8Array,
  start: number,
  offsets: Uint32Array,
): void {
  out.set(dictionary, start);
  let at = start + dictionary.byteLength;
  for (const [index, { header, levels, padding }] of pages.entries()) {
    out.set(header, at);
    at += header.byteLength;
    out.set(levels, at);
    at += levels.byteLength;
    const to = Math.min(valid.length, (index + 1) * rowsPerPage);
    for (let row = index * rowsPerPage; row < to; row++) {
      if (valid[row] === 0) continue;
      offsets[row] = at;
      at += oneBytes;
    }
    out.fill(0, at, at + padding);
    at += padding;
  }
}

function countValid(valid: Uint8Array): number {
  let count = 0;
  for (let row = 0; row < valid.length; row++) count += valid[row]!;
  return count;
}
