import type { ErrorCode } from '../../ground/errors.ts';
import type { PinnedVersion } from '../../store/pinned-version.ts';
import type { AnswerFormat, AnswerSchema } from '../formats/answer.ts';
import type { RevisionPiece, RevisionPlace, SpinePiece } from '../spine/window.ts';
import type { JoinPlan } from './plan.ts';
import type { NumberSlabs } from './vector-numbers.ts';
import type { WindowDone } from './window-done.ts';

/** Where a window's files go: absolute paths. */
export interface WindowFiles {
  part: string;
  /** One a reference. */
  shards: readonly string[];
  shardFormat: AnswerFormat;
}

/** What a worker is asked for: a window of a spine, joined and written. */
export interface WindowTask {
  index: number;
  piece: SpinePiece | RevisionPiece;
  plan: JoinPlan;
  /** Those of each reference's `versionsOf`, one after another. */
  versions: readonly PinnedVersion[];
  /** Undefined: the answer is handed back. */
  files: WindowFiles | undefined;
}

/** How far vectors are numbered, one a reference. */
export interface Numbered {
  slabs: NumberSlabs;
  next: number;
}

export type ToWorker =
  | { type: 'window'; task: WindowTask }
  /** The windows before have numbered their vectors: now this one; undefined: it is given up. */
  | { type: 'turn'; numbered: readonly Numbered[] | undefined };

export type FromWorker =
  | { type: 'waiting' }
  /** Of revisions: how many they are, and behind which the next window's begin. */
  | { type: 'scanned'; rows: number; next: RevisionPlace | undefined }
  | { type: 'numbered'; numbered: readonly Numbered[] }
  | { type: 'done'; joined: JoinedWindow }
  /** `code`: undefined for a defect, whose message is for the log alone. */
  | { type: 'failed'; code: ErrorCode | undefined; message: string };

/** A window that was joined, and what its answer's end is made of where that is sent. */
export interface JoinedWindow {
  done: WindowDone;
  /** Of an answer that is sent: see `Encoding`. */
  meta?: unknown;
  /** With the first window of an answer that is sent. */
  schema?: SentSchema;
}

/** `AnswerSchema`, as one thread can tell it another: the batch's schema in Arrow's bytes. */
export interface SentSchema {
  batch: Uint8Array;
  vectors: AnswerSchema['vectors'];
}
