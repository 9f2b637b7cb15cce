import {
  closeSync,
  existsSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';

import { open, type RootDatabase, type RootDatabaseOptionsWithPath } from 'lmdb';

import { makeFolder, requireFree, syncPath } from './folders.ts';
import { MetaPages, PAGE_BYTES, requireWhole, type Tree } from './meta-page.ts';
import { type PageFile, treesOf } from './page-tree.ts';

/**
 * The one door to lmdb. An environment is one file with several databases, one writer and any
 * number of readers; what is committed together is visible and durable together.
 *
 * What must be known about lmdb to read the files beside this one:
 * - `getBinaryFast` returns one buffer that every read of this thread overwrites; its `length` is
 *   not its own, so the size comes from `lastSize`.
 * - Inside a transaction, `put` copies its value at once.
 * - Only `childTransaction` and `transactionSync` roll back when their callback throws.
 * - A commit survives only when `flushed` has resolved: `safeRestore` opens the file at the last
 *   flush. By default it would open at the last commit and serve what the next power loss takes
 *   back, because its mark of the last flush moves with a flush of its own alone.
 * - A commit whose flush fails rejects, and yet readers see it.
 * - `childTransaction` resolves after its flush; the next one could be begun while that goes on, but
 *   would be flushed whether or not it fails, and mark what the disk refused as flushed with it.
 * - One that a full disk cuts short may damage the memory of the process: none is begun there.
 * - Readers of one event-loop turn share a snapshot, until `resetReadTxn`.
 */

export const DATA_FILE = 'data.mdb';

/** Room in the address space, not on the disk; lmdb grows it if ever needed. */
const MAP_BYTES = 2 ** 38;
/** More than a new environment takes, its file of readers included. */
const NEW_BYTES = 2 ** 18;

/** What a commit may take of the disk beside the values that it is given: pages are copied. */
const COMMIT_BYTES = 2 ** 20;

export type Bytes = Uint8Array;

export interface KeyCodec<K, R = never> {
  writeKey(key: K | R, target: Buffer, start: number): number;
  readKey(source: Uint8Array, start: number, end: number): K;
}

/**
 * lmdb's database with the parts of it that its types leave out. `R`: other forms of a key, by which
 * it is read.
 */
export interface Table<K, R = never> {
  getBinaryFast(key: K | R): Bytes | undefined;
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
  getKeys(options: {
    start: K | undefined;
    end?: K;
    reverse?: boolean;
    exclusiveStart?: boolean;
    inclusiveEnd?: boolean;
    limit?: number;
  }): Iterable<K>;
  getKeysCount(options: { start: K; end: K; inclusiveEnd: boolean }): number;
  getStats(): unknown;
}

/**
 * Every entry of a table in key order, read `page` at a time: no range stays open while the caller
 * does other things.
 */
export function* eachEntry<K>(table: Table<K>, page: number): Iterable<{ key: K; value: Bytes }> {
  let start: K | undefined;
  for (;;) {
    const range = table.getRange({ start, exclusiveStart: start !== undefined, limit: page });
    const entries = Array.from(range);
    yield* entries;
    if (entries.length < page) return;
    start = entries.at(-1)!.key;
  }
}

/** How many entries a table has. */
export function countOf<K>(table: Table<K>): number {
  return (table.getStats() as { entryCount: number }).entryCount;
}

/** What a table takes of the file. */
export function bytesOf<K>(table: Table<K>): number {
  const { treeBranchPageCount, treeLeafPageCount, overflowPages } = table.getStats() as {
    treeBranchPageCount: number;
    treeLeafPageCount: number;
    overflowPages: number;
  };
  return (treeBranchPageCount + treeLeafPageCount + overflowPages) * PAGE_BYTES;
}

/** The last commit is visible and may not be on the disk: nothing may build on this environment. */
export class NotFlushed extends Error {
  override name = 'NotFlushed';
}

/** A state of an environment whose pages stay as they are until it is released. */
export interface Pinned {
  /** Other threads of the process may read by the descriptor too. */
  file: PageFile;
  /** The trees of the databases by name. */
  trees: Map<string, Tree>;
  release: () => void;
}

export class Environment {
  readonly file: string;
  /** The file for messages that leave the machine: whose it is, and where in the data directory. */
  readonly place: string;
  private root: RootDatabase<Bytes>;
  private pins = 0;
  private unpinned = Promise.withResolvers<void>();
  private committed: (() => void)[] = [];
  private writing = false;

  /**
   * Opens the environment in `folder`, creating it where there is none. Read-only, it must be there,
   * nothing in it changes, and the disk need not be writable. Throws STORE_CORRUPT.
   */
  constructor(folder: string, mode?: 'read-only') {
    this.file = join(folder, DATA_FILE);
    this.place = placeOf(this.file);
    const readOnly = mode === 'read-only';
    const isNew = !existsSync(this.file) && !readOnly;
    if (isNew) {
      makeFolder(folder);
      requireRoom(folder);
    } else {
      requireWhole(this.file);
    }
    const options: RootDatabaseOptionsWithPath & { safeRestore: boolean; noReadAhead: boolean } = {
      path: this.file,
      encoding: 'binary',
      keyEncoding: 'binary',
      mapSize: MAP_BYTES,
      maxDbs: 12,
      maxReaders: 512,
      pageSize: PAGE_BYTES,
      safeRestore: !readOnly,
      readOnly,
      noReadAhead: isLarge(this.file),
    };
    this.root = open<Bytes>(options);
    if (isNew) syncPath(folder);
  }

  table<K, R = never>(name: string, keys: KeyCodec<K, R>): Table<K, R> {
    const options = { name, encoding: 'binary', keyEncoder: keys } as const;
    return this.root.openDB(options as never) as unknown as Table<K, R>;
  }

  /**
   * Runs `work` in a write transaction; it is synchronous, unless nobody else uses the environment
   * meanwhile. Resolves when it is committed and visible; rejects, with nothing changed, when `work`
   * throws or the disk refuses.
   * Rejects with `NotFlushed` when it is visible but may not survive.
   * `bytes`: of the values that it puts, where they may be many.
   */
  async commit<T>(work: () => T, bytes = 0): Promise<Awaited<T>> {
    requireFree(dirname(this.file), COMMIT_BYTES + bytes);
    let transaction = Number.POSITIVE_INFINITY;
    try {
      const done = await this.root.childTransaction(() => {
        transaction = this.root.getWriteTxnId();
        return this.write(work);
      });
      this.noteCommit();
      return done;
    } catch (error) {
      const reason = (error as { commitError?: Promise<never> }).commitError;
      // Otherwise it was `work` that threw.
      if (reason === undefined) {
        this.noteCommit();
        throw error;
      }
      const cause: unknown = await reason.catch((why: unknown) => why);
      await this.settle();
      this.noteCommit();
      if (this.lastTransaction() < transaction) throw cause;
      throw new NotFlushed(String(cause), { cause });
    }
  }

  /**
   * lmdb's promises of a commit that failed: one nobody waits for would end the process, and that
   * of its flush stays open, so that closing would wait for ever. An empty commit, which touches no
   * disk, takes their place.
   */
  private async settle(): Promise<void> {
    this.root.committed.then(undefined, () => {});
    await this.root.childTransaction(() => {});
  }

  /** The number of the last transaction that readers see. */
  private lastTransaction(): number {
    this.refresh();
    return (this.root.getStats() as { lastTxnId: number }).lastTxnId;
  }

  /** Resolves when everything committed so far would survive power loss. Rejects with `NotFlushed`. */
  async flushed(): Promise<void> {
    try {
      await this.root.flushed;
    } catch (cause) {
      throw new NotFlushed(String(cause), { cause });
    }
  }

  /** As `commit`, and durable when it returns; holds up the thread meanwhile. */
  commitSync<T>(work: () => T): T {
    requireFree(dirname(this.file), COMMIT_BYTES);
    try {
      return this.root.transactionSync(() => this.write(work));
    } finally {
      this.noteCommit();
    }
  }

  /** Whether this is asked within a commit. */
  get isWriting(): boolean {
    return this.writing;
  }

  /** `listen` hears when what was written last is to be read, or never will be. */
  afterCommit(listen: () => void): void {
    this.committed.push(listen);
  }

  private write<T>(work: () => T): T {
    this.writing = true;
    try {
      return work();
    } finally {
      this.writing = false;
    }
  }

  private noteCommit(): void {
    if (this.committed.length === 0) return;
    this.refresh();
    for (const listen of this.committed) listen();
  }

  /** Lets reads of this turn see what has been committed since its first read. */
  refresh(): void {
    this.root.resetReadTxn();
  }

  /**
   * Keeps the newest state readable as pages. Short: the file grows by what is written meanwhile, and
   * `close` waits for it.
   */
  pin(): Pinned {
    this.refresh();
    const transaction = this.root.useReadTransaction();
    let descriptor: number | undefined;
    const release = (): void => {
      if (descriptor !== undefined) closeSync(descriptor);
      transaction.done();
      if (--this.pins === 0) this.unpinned.resolve();
    };
    if (this.pins++ === 0) this.unpinned = Promise.withResolvers<void>();
    try {
      descriptor = openSync(this.file, 'r');
      const file: PageFile = { descriptor, place: this.place };
      // After the transaction began: what a newer state has is kept for older readers as well.
      return { file, trees: treesOf(file, readMeta(descriptor).latest.main), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Size of the file. */
  bytes(): number {
    return statSync(this.file).size;
  }

  async close(): Promise<void> {
    while (this.pins > 0) await this.unpinned.promise;
    await this.root.close();
  }
}

/** The meta pages of a file that is written to: read until they are not being written just then. */
function readMeta(descriptor: number): MetaPages {
  let [pages, again] = [Buffer.alloc(2 * PAGE_BYTES), Buffer.alloc(2 * PAGE_BYTES)];
  readSync(descriptor, pages, 0, pages.byteLength, 0);
  for (;;) {
    readSync(descriptor, again, 0, again.byteLength, 0);
    if (again.equals(pages)) return new MetaPages(pages);
    [pages, again] = [again, pages];
  }
}

/**
 * Whether memory is unlikely to hold the file: then what the kernel reads along with a page that is
 * missing takes the place of pages that are asked for. Of a smaller one it saves waiting later.
 */
function isLarge(file: string): boolean {
  const memory = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
  return existsSync(file) && statSync(file).size > memory / 2;
}

const OF_VERSION = /views\/([^/]+)\/([^/]+)(?:\/g\d+)?\/[^/]+$/;

/** `job@v1 (views/job/v1/data.mdb)`, or `catalogue/data.mdb`. */
function placeOf(file: string): string {
  const [path, view, version] = OF_VERSION.exec(file) ?? [];
  if (path === undefined) return file.split('/').slice(-2).join('/');
  return `${view}@${version} (${path})`;
}

/**
 * Throws where the disk has no room for a new environment. lmdb would find out by writing to a file
 * in its address space, which ends the process.
 */
function requireRoom(folder: string): void {
  const path = join(folder, 'room');
  try {
    writeFileSync(path, Buffer.alloc(NEW_BYTES), { flush: true });
  } finally {
    rmSync(path, { force: true });
  }
}
