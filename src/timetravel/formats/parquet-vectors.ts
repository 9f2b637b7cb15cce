import { type Dtype, vectorBytes } from '../../store/dtype.ts';
import type { VectorColumn } from './answer.ts';
import type { ColumnChunk, SchemaColumn } from './parquet-footer.ts';
import { encodeLevels } from './parquet-levels.ts';
import { columnChunk, dataPageHeader, PHYSICAL_TYPE, PLAIN, RLE } from './parquet-pages.ts';
import { BINARY, I32, STRUCT, thriftStruct, type ThriftStruct, thriftText } from './thrift.ts';

/**
 * A column of vectors in Parquet:
 *
 *   optional group <name> (LIST) {
 *     repeated group list {
 *       required float element;       or fixed_len_byte_array(2) element (FLOAT16)
 *     }
 *   }
 *
 * in pages of the first version, plain and uncompressed: a header, the levels, and then the numbers
 * of one vector after another. The numbers are left to be gathered in place.
 */
const PAGE_VECTOR_BYTES = 2 ** 20;

const PHYSICAL = { float32: PHYSICAL_TYPE.float, float16: PHYSICAL_TYPE.fixedBytes } as const;
const OPTIONAL = 1;
const REPEATED = 2;
const REQUIRED = 0;
/** Of a group that is a list: the name that older readers know, and the one of newer ones. */
const CONVERTED_LIST = 3;
const LOGICAL_LIST = 3;
const LOGICAL_FLOAT16 = 15;
const NOTHING: ThriftStruct = new Map();

/** What of a column's pages is known before its numbers are. */
interface Page {
  header: Uint8Array;
  levels: Uint8Array;
}

/** A column's pages in one row group, laid out. */
export interface PlannedVectors {
  bytes: number;
  /** Its places count from the first page. */
  chunk: ColumnChunk;
  pages: readonly Page[];
  rowsPerPage: number;
}

export function vectorSchema(name: string, dtype: Dtype): SchemaColumn {
  const isHalf = dtype === 'float16';
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
        [2, I32, isHalf ? 2 : undefined],
        [3, I32, REQUIRED],
        [4, BINARY, thriftText('element')],
        [10, STRUCT, isHalf ? thriftStruct([[LOGICAL_FLOAT16, STRUCT, NOTHING]]) : undefined],
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
  const oneBytes = vectorBytes(dim, dtype);
  const rowsPerPage = Math.max(1, Math.floor(PAGE_VECTOR_BYTES / oneBytes));
  const pages: Page[] = [];
  let bytes = 0;
  let places = 0;
  for (let from = 0; from < valid.length; from += rowsPerPage) {
    const rows = valid.subarray(from, from + rowsPerPage);
    const vectors = countValid(rows);
    const levels = encodeLevels(rows, dim);
    const pageBytes = levels.byteLength + vectors * oneBytes;
    const pagePlaces = vectors * dim + (rows.length - vectors);
    const header = dataPageHeader(pageBytes, pagePlaces, PLAIN);
    pages.push({ header, levels });
    bytes += header.byteLength + pageBytes;
    places += pagePlaces;
  }
  const chunk = columnChunk({
    path: [name, 'list', 'element'],
    physicalType: PHYSICAL[dtype],
    encodings: [PLAIN, RLE],
    places,
    bytes,
    dataPage: 0,
  });
  return { bytes, chunk, pages, rowsPerPage };
}

/**
 * Writes headers and levels from `start` on, and into `offsets` where each vector's numbers go: one a
 * row of the group, as `valid` is.
 */
export function writePages(
  { pages, rowsPerPage }: PlannedVectors,
  valid: Uint8Array,
  oneBytes: number,
  out: Uint8Array,
  start: number,
  offsets: Uint32Array,
): void {
  let at = start;
  for (const [index, { header, levels }] of pages.entries()) {
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
  }
}

function countValid(valid: Uint8Array): number {
  let count = 0;
  for (let row = 0; row < valid.length; row++) count += valid[row]!;
  return count;
}
