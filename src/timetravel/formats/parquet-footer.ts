import { assert } from '../../ground/assert.ts';
import {
  BINARY,
  encodeThrift,
  I32,
  I64,
  LIST,
  mustGetNumber,
  numberIn,
  parseThrift,
  STRUCT,
  structIn,
  structsIn,
  textIn,
  type ThriftStruct,
  thriftStruct,
  thriftText,
} from './thrift.ts';

/**
 * A Parquet file: the magic, pages, the footer, its length as u32, and the magic again.
 */
export const MAGIC = Buffer.from('PAR1');
const TRAILER_BYTES = 8;
const VERSION = 2;
const CREATED_BY = 'tidemark';

// Fields of Parquet's Thrift structs that are used here, by their ids.
const FILE = {
  version: 1,
  schema: 2,
  rows: 3,
  rowGroups: 4,
  keyValues: 5,
  createdBy: 6,
  orders: 7,
};
const GROUP = { columns: 1, bytes: 2, rows: 3, fileOffset: 5, compressedBytes: 6 };
const CHUNK = { fileOffset: 2, metadata: 3, indexes: [4, 5, 6, 7] };
const COLUMN = {
  bytes: 6,
  compressedBytes: 7,
  dataPage: 9,
  indexPage: 10,
  dictionaryPage: 11,
  bloomFilter: [14, 15],
};
const ELEMENT_CHILDREN = 5;

/** A leaf column's pages in one row group, as Parquet describes them. Their places count from some start. */
export type ColumnChunk = ThriftStruct;

export interface RowGroup {
  rows: number;
  columns: readonly ColumnChunk[];
}

/** One column of the schema, nested or not: its elements in depth-first order, and how its leaves are ordered. */
export interface SchemaColumn {
  elements: readonly ThriftStruct[];
  orders: readonly ThriftStruct[];
}

export interface Footer {
  columns: readonly SchemaColumn[];
  rowGroups: readonly RowGroup[];
  keyValues: ReadonlyMap<string, string>;
}

/** The footer of a whole file; places count from the file's start. */
export function parseFooter(file: Uint8Array): Footer {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const end = file.byteLength - TRAILER_BYTES;
  const footer = parseThrift(file.subarray(end - view.getUint32(end, true), end));
  return {
    columns: columnsOf(structsIn(footer, FILE.schema), structsIn(footer, FILE.orders)),
    rowGroups: structsIn(footer, FILE.rowGroups).map((group) => ({
      rows: mustGetNumber(group, GROUP.rows),
      columns: structsIn(group, GROUP.columns),
    })),
    keyValues: new Map(
      structsIn(footer, FILE.keyValues).map((pair) => [textIn(pair, 1), textIn(pair, 2)]),
    ),
  };
}

/** What a file ends with: footer, length, magic. */
export function encodeFooter({ columns, rowGroups, keyValues }: Footer): Uint8Array<ArrayBuffer> {
  const pairs = Array.from(keyValues, ([key, value]) =>
    thriftStruct([
      [1, BINARY, thriftText(key)],
      [2, BINARY, thriftText(value)],
    ]),
  );
  const rows = rowGroups.reduce((sum, group) => sum + group.rows, 0);
  const footer = encodeThrift(
    thriftStruct([
      [FILE.version, I32, VERSION],
      [
        FILE.schema,
        LIST,
        structs([rootOf(columns), ...columns.flatMap(({ elements }) => elements)]),
      ],
      [FILE.rows, I64, rows],
      [FILE.rowGroups, LIST, structs(rowGroups.map(encodeGroup))],
      [FILE.keyValues, LIST, structs(pairs)],
      [FILE.createdBy, BINARY, thriftText(CREATED_BY)],
      [FILE.orders, LIST, structs(columns.flatMap(({ orders }) => orders))],
    ]),
  );
  return withTrailer(footer);
}

function withTrailer(footer: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = Buffer.allocUnsafeSlow(footer.byteLength + TRAILER_BYTES);
  out.set(footer);
  out.writeUInt32LE(footer.byteLength, footer.byteLength);
  out.set(MAGIC, footer.byteLength + 4);
  return out;
}

/** How many rows each row group has, by the bytes of a footer. */
export function rowsOfGroups(footer: Uint8Array): number[] {
  return structsIn(parseThrift(footer), FILE.rowGroups).map((group) =>
    mustGetNumber(group, GROUP.rows),
  );
}

/**
 * A file of the row groups `from` up to `to` alone: where their pages lie in the file that the footer
 * is of, and what stands behind them when the magic and these are all that is before it. What else
 * the footer says stays.
 */
export function excerptOf(
  footer: Uint8Array,
  from: number,
  to: number,
): { extents: { start: number; end: number }[]; tail: Uint8Array<ArrayBuffer> } {
  const whole = parseThrift(footer);
  const groups = structsIn(whole, FILE.rowGroups)
    .slice(from, to)
    .map((group) => ({
      rows: mustGetNumber(group, GROUP.rows),
      columns: structsIn(group, GROUP.columns),
    }));
  const extents = groups.map(extentOf);
  let at = MAGIC.byteLength;
  const rowGroups = groups.map(({ rows, columns }, group) => {
    const { start, end } = extents[group]!;
    const by = at - start;
    at += end - start;
    return encodeGroup({ rows, columns: columns.map((chunk) => moved(chunk, by)) });
  });
  whole
    .set(FILE.rows, { type: I64, value: groups.reduce((sum, { rows }) => sum + rows, 0) })
    .set(FILE.rowGroups, { type: LIST, value: structs(rowGroups) });
  return { extents, tail: withTrailer(encodeThrift(whole)) };
}

/** From where to where the pages of a row group lie. */
export function extentOf({ columns }: RowGroup): { start: number; end: number } {
  const starts = columns.map(startOf);
  const ends = columns.map((chunk, at) => starts[at]! + bytesOf(chunk, COLUMN.compressedBytes));
  return { start: Math.min(...starts), end: Math.max(...ends) };
}

/** The chunk with its pages `by` bytes further on, and without indexes and filters: those stay behind. */
export function moved(chunk: ColumnChunk, by: number): ColumnChunk {
  const metadata = new Map(structIn(chunk, CHUNK.metadata));
  for (const id of [COLUMN.dataPage, COLUMN.indexPage, COLUMN.dictionaryPage]) {
    const place = numberIn(metadata, id);
    if (place !== undefined) metadata.set(id, { type: I64, value: place + by });
  }
  for (const id of COLUMN.bloomFilter) metadata.delete(id);
  const copy = new Map(chunk);
  for (const id of CHUNK.indexes) copy.delete(id);
  return copy
    .set(CHUNK.fileOffset, { type: I64, value: 0 })
    .set(CHUNK.metadata, { type: STRUCT, value: metadata });
}

function structs(items: ThriftStruct[]): { itemType: number; items: ThriftStruct[] } {
  return { itemType: STRUCT, items };
}

function encodeGroup(group: RowGroup): ThriftStruct {
  const total = (id: number) => group.columns.reduce((sum, chunk) => sum + bytesOf(chunk, id), 0);
  return thriftStruct([
    [GROUP.columns, LIST, structs([...group.columns])],
    [GROUP.bytes, I64, total(COLUMN.bytes)],
    [GROUP.rows, I64, group.rows],
    [GROUP.fileOffset, I64, extentOf(group).start],
    [GROUP.compressedBytes, I64, total(COLUMN.compressedBytes)],
  ]);
}

function bytesOf(chunk: ColumnChunk, id: number): number {
  return mustGetNumber(structIn(chunk, CHUNK.metadata), id);
}

function startOf(chunk: ColumnChunk): number {
  const metadata = structIn(chunk, CHUNK.metadata);
  const dataPage = mustGetNumber(metadata, COLUMN.dataPage);
  return Math.min(dataPage, numberIn(metadata, COLUMN.dictionaryPage) ?? dataPage);
}

function rootOf(columns: readonly SchemaColumn[]): ThriftStruct {
  return thriftStruct([
    [4, BINARY, thriftText('schema')],
    [ELEMENT_CHILDREN, I32, columns.length],
  ]);
}

/** The columns under the root, which the elements begin with. */
function columnsOf(elements: ThriftStruct[], orders: ThriftStruct[]): SchemaColumn[] {
  const columns: SchemaColumn[] = [];
  let leaves = 0;
  for (let at = 1; at < elements.length;) {
    const from = at;
    const leavesBefore = leaves;
    for (let open = 1; open > 0; open--, at++) {
      const children = numberIn(elements[at]!, ELEMENT_CHILDREN) ?? 0;
      if (children === 0) leaves++;
      open += children;
    }
    columns.push({
      elements: elements.slice(from, at),
      orders: orders.slice(leavesBefore, leaves),
    });
  }
  assert(orders.length === leaves, 'each leaf has its order');
  return columns;
}
