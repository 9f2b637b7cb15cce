import type { RecordBatch } from 'apache-arrow';

/** The spines that are read. */
export const SPINE_FORMATS = ['ndjson', 'csv', 'arrow', 'parquet'] as const;
export type SpineFormat = (typeof SPINE_FORMATS)[number];

/** The entity ids of a window's rows, each distinct one once. */
export interface IdColumn {
  /** Well-formed ids, in no order. */
  readonly ids: readonly string[];
  /** One a row: where its id stands in `ids`; −1 where the row has none (BAD_ENTITY_ID). */
  readonly ordinals: Int32Array;
}

/** Consecutive rows of a spine, read. */
export interface SpineWindow {
  /** The number of its first row in the spine, from 0. */
  readonly firstRow: number;
  /** Every column of the spine with its type, one batch; its `numRows` are the window's. */
  readonly batch: RecordBatch;
  /**
   * Of NDJSON: each row's object as it was written, without the closing brace and the line break,
   * so that it passes through into NDJSON untouched.
   */
  readonly lines?: readonly Buffer[];
  /** What a row is called in a message: `line 7`, `row 7`. Rows count from 1 there. */
  nameOf(row: number): string;
}

/**
 * A piece of a spine as it came: what a worker makes a window of. It is cloned to the worker, or its
 * bytes are handed over. Pieces of one spine have one schema.
 */
export type SpinePiece =
  | TextPiece
  | { format: 'arrow'; firstRow: number; rows: number; bytes: Uint8Array<ArrayBuffer> }
  | ParquetPiece;

export interface ParquetPiece {
  format: 'parquet';
  firstRow: number;
  rows: number;
  path: string;
  /** What may be read at once, decoded. */
  bytesMax: number;
  /** Whether the row group that it is a part of is so small that it is decoded once for all parts. */
  isHeld: boolean;
}

/** Instead of a piece of a spine: revisions of a model version themselves. */
export interface RevisionPiece {
  format: 'revisions';
  firstRow: number;
  /** At most. */
  rows: number;
  /** Least event time, and the first one that is too late, µs. */
  from: number;
  to: number;
  /** Behind which revision they begin; undefined: with the first of all. */
  after: RevisionPlace | undefined;
}

/** A revision's place among all of a model version: by entity, and of an entity in A2 order. */
export interface RevisionPlace {
  id: string;
  event: number;
  known: number;
  seq: number;
}

export interface TextPiece {
  format: 'ndjson' | 'csv';
  firstRow: number;
  rows: number;
  /** The number of the line that the bytes begin with, from 1. */
  firstLine: number;
  /** Whole lines, or whole records of CSV without the header. */
  bytes: Uint8Array<ArrayBuffer>;
  /** Columns in their order, as the first piece showed them: the same for all pieces. */
  columns: readonly TextColumn[];
}

export interface TextColumn {
  name: string;
  /** `json`: what is nested, as its JSON text. */
  type: 'int64' | 'float64' | 'bool' | 'string' | 'timestamp' | 'json';
}
