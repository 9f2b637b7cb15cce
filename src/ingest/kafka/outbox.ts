import type { Message } from 'kafkajs';

import { RevisionBatch } from '../../store/batch.ts';
import type { PartitionKey } from '../../store/keys.ts';
import type { Store } from '../../store/store.ts';

/** Messages in a batch at most. */
export const BATCH_MESSAGES = 1_000;
/** Bytes of keys and values in a batch at which it is full: brokers take 1 MB unless told otherwise. */
export const BATCH_BYTES = 524_288;

/** Messages that are to be published next, in their order. */
export interface Parcel {
  topic: string;
  messages: Message[];
  /** Stores that they are published. */
  acknowledge(): Promise<void>;
}

/** What waits in the store to be published, and how far that has come. */
export interface Outbox {
  /** The next messages, `limit` at most; undefined when none waits. Rejects as the store does. */
  next(limit: number): Promise<Parcel | undefined>;
  /** How many records wait, and for how many seconds the oldest has, where that is known. */
  waiting(): { records: number; seconds?: number };
  /** Whether a message that no broker takes for its size is passed by, to stay in the store. */
  readonly passesByTooLarge: boolean;
}

/** The model version whose revisions or dead letters are published. */
export interface VersionName {
  feature_view: string;
  version: string;
}

/**
 * Stores how far an outbox has come, where it still is as `expected`. Another position than that
 * was stored by nobody else: the version was made anew, and begins anew.
 */
export async function storePosition(
  store: Store,
  { feature_view, version }: VersionName,
  key: PartitionKey,
  expected: bigint | undefined,
  next: bigint,
): Promise<void> {
  const rows = new RevisionBatch(store.version(feature_view, version).vectors.vectorBytes, 0);
  await store.commit(feature_view, version, { rows, offset: { ...key, expected, next } });
}
