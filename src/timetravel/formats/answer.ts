import type { RecordBatch, Schema } from 'apache-arrow';

import type { Dtype } from '../../store/dtype.ts';

/** What answers are written as. */
export const ANSWER_FORMATS = ['ndjson', 'arrow', 'parquet', 'safetensors'] as const;
export type AnswerFormat = (typeof ANSWER_FORMATS)[number];

/** One window of an answer: everything but the bytes of its vectors, which are gathered in place. */
export interface Answer {
  /** The number of its first row in the spine, from 0. */
  firstRow: number;
  /** All columns but those of vectors, the spine's and those added, in the order of the answer. */
  batch: RecordBatch;
  /** By `at`, ascending. */
  vectors: readonly VectorColumn[];
  /** Of an NDJSON spine: see `SpineWindow.lines`. The batch's first columns are then the spine's. */
  lines?: readonly Buffer[];
  /** How many of the batch's columns are the spine's. */
  spineColumns: number;
}

export interface VectorColumn {
  name: string;
  /** Its place among all columns of the answer, from 0. */
  at: number;
  dim: number;
  dtype: Dtype;
  /** One a row: 1 where there is a vector, 0 where it is null. */
  valid: Uint8Array;
  /**
   * Writes the vector of each valid row `r` at `out[offsets[r]…]`, `dim` little-endian numbers;
   * the scales of int8 are a column of the batch. The
   * offsets are bytes, of any alignment; those of rows without a vector are ignored.
   */
  gather(out: Uint8Array<ArrayBuffer>, offsets: Uint32Array): void;
}

/** The shape of an answer, before any of its rows: enough for a head and a footer. */
export interface AnswerSchema {
  /** Of the batch. */
  schema: Schema;
  vectors: readonly Pick<VectorColumn, 'name' | 'at' | 'dim' | 'dtype'>[];
}

/**
 * Memory for a window's bytes: exactly so many, whatever they hold. Memory that the system has not
 * handed out before costs as much as the copy into it, so who is done with a window gives its again.
 */
export type Room = (bytes: number) => Uint8Array<ArrayBuffer>;

/**
 * A format that an answer of any length is written in: `head`, each window in order, `tail`. What a
 * window's bytes mean elsewhere in the file (the places of Parquet's row groups) is its `meta`, which
 * can be cloned from one thread to another.
 */
export interface Encoding<Meta> {
  head(schema: AnswerSchema): Uint8Array<ArrayBuffer>;
  /**
   * The bytes of one window, in order. Their buffers are its own, and may be handed over; or of
   * `room`, where that is given and the format has use for it.
   */
  window(answer: Answer, room?: Room): { chunks: Uint8Array<ArrayBuffer>[]; meta: Meta };
  /** `summary`: what is told of the whole answer, as JSON text; the format finds a place for it. */
  tail(schema: AnswerSchema, windows: readonly Meta[], summary: string): Uint8Array<ArrayBuffer>;
}
