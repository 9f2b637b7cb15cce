import type { TextInput } from '../pipeline.ts';
import type { GivenVector, Rejection } from '../source-record.ts';

/** What a history says of an entity. Times in µs. */
export type HistoryEvent = {
  entityId: string;
  event: number;
  known: number;
  /** Where it stands in the history. */
  offset: number;
  /** Which part of the entity it is about, where the prompt of the version has parts. */
  part?: string | undefined;
} & (
  | { kind: 'text'; input: TextInput }
  | { kind: 'vector'; vector: GivenVector }
  | { kind: 'delete' }
);

/** Events of a history that stand together. */
export interface HistoryPage {
  /** Where the next one begins: what is stored when the events of this one are. */
  next: number;
  /** How many events it stands for. */
  read: number;
  events: HistoryEvent[];
  /** Events that cannot become revisions. */
  rejected: (Rejection & { offset: number })[];
  /** Events of entities that were erased. */
  erased: number;
}

/** What a backfill reads: the same events in the same order at each try. */
export interface History {
  /** What it is called where it is told of the position of an event. */
  readonly topic: string;
  /** How many events there are. Throws as `pages` does. */
  count(signal: AbortSignal): Promise<number>;
  /**
   * The events from that place on. Throws BAD_REQUEST for what is not as it was said to be,
   * VERSION_NOT_FOUND for a version that is gone.
   */
  pages(from: number, signal: AbortSignal): AsyncGenerator<HistoryPage>;
}

/** What keeps a history from being read, and may be over when it is tried again. */
export class NotNow extends Error {
  override name = 'NotNow';
}

/** Events of a page at most: a commit, and what a crash repeats, is bounded. */
export const PAGE_EVENTS = 500;
