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
  TRUE,
} from './thrift.ts';

/** What is said of pages of the first version, uncompressed, and of a column's pages in a row group. */
export const PLAIN = 0;
export const RLE = 3;
export const RLE_DICTIONARY = 8;
const UNCOMPRESSED = 0;
export const PHYSICAL_TYPE = {
  int32: 1,
  int64: 2,
  float: 4,
  double: 5,
  byteArray: 6,
  fixedBytes: 7,
} as const;
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
  statistics?: ColumnStatistics;
}

/** What of a column's values in a row group is known without reading them. */
interface ColumnStatistics {
  nulls: number;
  /** No value is less than `least` or greater than `greatest`. */
  bounds?: Bounds | undefined;
}

export interface Bounds {
  /** As values stand in a page, without the length of a text. */
  least: Uint8Array;
  greatest: Uint8Array;
  /** Whether there are such values: a long text is only told from its beginning. */
  isLeastExact: boolean;
  isGreatestExact: boolean;
}

/** A column's pages in one row group, laid out. Of its chunk places count from the first page. */
export interface PlannedPages {
  bytes: number;
  chunk: ColumnChunk;
  /** Writes so many bytes, from a place on. */
  write: (out: Uint8Array<ArrayBuffer>, at: number) => void;
}

/** Its places count from the first page. */
export function columnChunk(described: DescribedPages): ColumnChunk {
  const { path, physicalType, encodings, places, bytes, dataPage, statistics } = described;
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
    [12, STRUCT, statistics && statisticsStruct(statistics)],
  ]);
  return thriftStruct([
    [2, I64, 0],
    [3, STRUCT, metadata],
  ]);
}

function statisticsStruct({ nulls, bounds }: ColumnStatistics): ThriftStruct {
  return thriftStruct([
    [3, I64, nulls],
    [5, BINARY, bounds?.greatest],
    [6, BINARY, bounds?.least],
    [7, TRUE, bounds?.isGreatestExact],
    [8, TRUE, bounds?.isLeastExact],
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
