import type { ColumnChunk } from './parquet-footer.ts';
import {
  BINARY,
  encodeThrift,
  I32,
  I64,
  LIST,
  STRUCT,
  thriftStruct,
  type ThriftStruct,
  thriftText,
} from './thrift.ts';

/** What is said of pages of the first version, uncompressed, and of a column's pages in a row group. */
export const PLAIN = 0;
export const RLE = 3;
export const RLE_DICTIONARY = 8;
const UNCOMPRESSED = 0;
const DATA_PAGE = 0;
const DICTIONARY_PAGE = 2;

/** `bytes`: those behind the header; `places`: values with those that are null. */
export function dataPageHeader(bytes: number, places: number, encoding: number): Uint8Array {
  const page = thriftStruct([
    [1, I32, places],
    [2, I32, encoding],
    [3, I32, RLE],
    [4, I32, RLE],
  ]);
  return pageHeader(DATA_PAGE, bytes, 5, page);
}

export function dictionaryPageHeader(bytes: number, values: number): Uint8Array {
  const page = thriftStruct([
    [1, I32, values],
    [2, I32, PLAIN],
  ]);
  return pageHeader(DICTIONARY_PAGE, bytes, 7, page);
}

export interface DescribedPages {
  /** Names of the leaf and what it lies in, the outermost first. */
  path: readonly string[];
  physicalType: number;
  encodings: readonly number[];
  places: number;
  /** Of all pages with their headers. */
  bytes: number;
  /** Where the first data page begins; a dictionary page before it begins at 0. */
  dataPage: number;
  nulls?: number;
}

/** Its places count from the first page. */
export function columnChunk(described: DescribedPages): ColumnChunk {
  const { path, physicalType, encodings, places, bytes, dataPage, nulls } = described;
  const metadata = thriftStruct([
    [1, I32, physicalType],
    [2, LIST, { itemType: I32, items: [...encodings] }],
    [3, LIST, { itemType: BINARY, items: path.map(thriftText) }],
    [4, I32, UNCOMPRESSED],
    [5, I64, places],
    [6, I64, bytes],
    [7, I64, bytes],
    [9, I64, dataPage],
    [11, I64, dataPage === 0 ? undefined : 0],
    [12, STRUCT, nulls === undefined ? undefined : thriftStruct([[3, I64, nulls]])],
  ]);
  return thriftStruct([
    [2, I64, 0],
    [3, STRUCT, metadata],
  ]);
}

function pageHeader(type: number, bytes: number, id: number, page: ThriftStruct): Uint8Array {
  return encodeThrift(
    thriftStruct([
      [1, I32, type],
      [2, I32, bytes],
      [3, I32, bytes],
      [id, STRUCT, page],
    ]),
  );
}
