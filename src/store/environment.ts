import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { open, type RootDatabase } from 'lmdb';

/**
 * The one door to lmdb. An environment is one file with several databases, one writer and any
 * number of readers; what is committed together is visible and durable together.
 *
 * What must be known about lmdb to read the files beside this one:
 * - `getBinaryFast` returns one buffer that every read of this thread overwrites; its `length` is
 *   not its own, so the size comes from `lastSize`.
 * - Inside a transaction, `put` copies its value at once.
 * - Only `childTransaction` and `transactionSync` roll back when their callback throws.
 * - A commit survives kill -9 when its promise resolves, and power loss only after `flushed`.
 * - Readers of one event-loop turn share a snapshot, until `resetReadTxn`.
 */

/** Room in the address space, not on the disk; lmdb grows it if ever needed. */
const MAP_BYTES = 2 ** 38;

export type Bytes = Uint8Array;

interface KeyCodec<K> {
  writeKey(key: K, target: Buffer, start: number): number;
  readKey(source: Uint8Array, start: number, end: number): K;
}

/** lmdb's database with the parts of it that its types leave out. */
export interface Table<K> {
  getBinaryFast(key: K): Bytes | undefined;
  /** Size of the value that the last read found, in bytes. */
  readonly lastSize: number;
  getBinary(key: K): Bytes | undefined;
  put(key: K, value: Bytes, options?: { append?: boolean }): Promise<boolean>;
  remove(key: K): Promise<boolean>;
  getRange(options: {
    /** Undefined for the first key; lmdb wants it said. */
    start: K | undefined;
    end?: K;
    reverse?: boolean;
    limit?: number;
    exclusiveStart?: boolean;
    inclusiveEnd?: boolean;
  }): Iterable<{ key: K; value: Bytes }>;
  getStats(): unknown;
}

export class Environment {
  readonly file: string;
  private root: RootDatabase<Bytes>;

  /** Opens the environment in `folder`, creating it where there is none. */
  constructor(folder: string) {
    this.file = join(folder, 'data.mdb');
    const isNew = !existsSync(this.file);
    mkdirSync(folder, { recursive: true });
    this.root = open<Bytes>({
      path: this.file,
      encoding: 'binary',
      keyEncoding: 'binary',
      mapSize: MAP_BYTES,
      maxDbs: 12,
      maxReaders: 512,
      pageSize: 4096,
    });
    if (isNew) {
      for (const path of [folder, dirname(folder)]) syncPath(path);
    } else {
      // After a kill -9 the file holds commits that the kernel has and the disk may not have yet;
      // they are about to be served, so they become durable first.
      syncPath(this.file);
    }
  }

  table<K>(name: string, keys: KeyCodec<K>): Table<K> {
    const options = { name, encoding: 'binary', keyEncoder: keys } as const;
    return this.root.openDB(options as never) as unknown as Table<K>;
  }

  /**
   * Runs `work`, synchronous, in a write transaction. Resolves when it is committed and visible;
   * rejects, with nothing changed, when `work` throws.
   */
  async commit<T>(work: () => T): Promise<T> {
    return this.root.childTransaction(work);
  }

  /** Resolves when everything committed so far would survive power loss. */
  async flushed(): Promise<void> {
    await this.root.flushed;
  }

  /** As `commit`, and durable when it returns; holds up the thread meanwhile. */
  commitSync<T>(work: () => T): T {
    return this.root.transactionSync(work);
  }

  /** Lets reads of this turn see what has been committed since its first read. */
  refresh(): void {
    this.root.resetReadTxn();
  }

  async close(): Promise<void> {
    await this.root.close();
  }
}

function syncPath(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
