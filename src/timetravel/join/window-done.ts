import type { RevisionPlace } from '../spine/window.ts';

/** How many rows of a reference had which status and reason: by their codes. */
export interface RefCounts {
  statuses: Float64Array;
  reasons: Float64Array;
  /** Of a reference with reigns: how many rows each of its versions answered, by the order of their names. */
  versions?: Float64Array;
}

/** A row that no answer is possible for, and why. */
export interface InvalidRow {
  /** As the spine calls it: `line 7`, `row 7`. */
  row: string;
  /** The reference. */
  feature_view: string;
  reason: string;
}

/** A column of an answer, its type as Arrow calls it. */
export interface AnswerColumn {
  name: string;
  type: string;
}

/** A file of an export, written and on the disk. */
export interface WrittenFile {
  rows: number;
  bytes: number;
  /** Hexadecimal. */
  sha256: string;
}

/** What became of one window of a spine. Windows are told of in their order. */
export interface WindowDone {
  /** From 0. */
  index: number;
  /** The number of its first row in the spine, from 0. */
  firstRow: number;
  rows: number;
  /** Of revisions: behind which the next window's begin; undefined: there are no more. */
  next?: RevisionPlace;
  /** One a reference, in the plan's order. */
  counts: readonly RefCounts[];
  /** The first of the rows that are INVALID. */
  invalid: readonly InvalidRow[];
  /** Written to a file: the part; and for each reference the shard of the vectors that are new in this window, where there are any. */
  part?: WrittenFile;
  /** The columns of the part: all parts of an export have the same. */
  columns?: readonly AnswerColumn[];
  shards?: readonly (WrittenFile | undefined)[];
  /** Or to be sent: the window's bytes, in order. */
  chunks?: readonly Uint8Array<ArrayBuffer>[];
}
