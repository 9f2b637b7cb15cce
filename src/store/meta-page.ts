import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

import { TidemarkError } from '../ground/errors.ts';

/**
 * Where LMDB's file says what is in it. Two pages at its start each describe one state, the newer
 * of which is used; transaction n writes page n mod 2. lmdb keeps a third one in the middle of the
 * first page: the last that is known to be on the disk.
 *
 * bytes  field (of a page or of the third state, little-endian)
 * 0  u64 page │ u64 transaction │ u16 │ u16 flags │ u32 — not in the third state
 * 24 u32 magic            32 u64 address     48 … tree of free pages       144 u64 last page
 * 28 u32 data version     40 u64 map size    96 … tree of the databases    152 u64 transaction
 *
 * A tree: u32 page size │ u16 flags │ u16 depth │ u64 branches │ u64 leaves │ u64 overflow pages
 *         │ u64 entries │ u64 root; of the tree of free pages the flags are also the state's
 */
export const PAGE_BYTES = 4_096;
export const TREE_BYTES = 48;
const META_PAGE = 0x08;
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
/** The state may not be on the disk yet. */
const UNFLUSHED = 0x1000;
const NO_PAGE = 2n ** 64n - 1n;

/** A tree of pages, and what the file says of it. */
export interface Tree {
  flags: number;
  depth: number;
  branches: number;
  leaves: number;
  overflows: number;
  entries: number;
  /** Undefined for an empty tree. */
  root: number | undefined;
}

export interface FileState {
  transaction: number;
  pageBytes: number;
  lastPage: number;
  free: Tree;
  main: Tree;
}

/** The states in a file's first two pages. */
export class MetaPages {
  readonly states: readonly [FileState, FileState];
  /** Undefined before there was a flush. */
  readonly flushed: FileState | undefined;
  private bytes: Buffer;

  /** `bytes`: the first two pages of a file. */
  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.states = [readState(bytes, 0), readState(bytes, PAGE_BYTES)];
    const flushed = readState(bytes, PAGE_BYTES / 2);
    this.flushed = flushed.transaction === 0 ? undefined : flushed;
  }

  /** Whether the page is one of those that LMDB begins a file with. */
  isMeta(page: 0 | 1): boolean {
    const at = page * PAGE_BYTES;
    const { bytes } = this;
    return (
      bytes.readBigUInt64LE(at) === BigInt(page) &&
      bytes.readUInt16LE(at + 18) === META_PAGE &&
      bytes.readUInt32LE(at + 24) === MAGIC &&
      bytes.readUInt32LE(at + 28) === DATA_VERSION
    );
  }

  /** Whether all states have the size of pages: whichever of them it opens at, lmdb goes by that. */
  get hasPageSize(): boolean {
    const states = [...this.states, ...(this.flushed === undefined ? [] : [this.flushed])];
    return states.every(({ pageBytes }) => pageBytes === PAGE_BYTES);
  }

  get latest(): FileState {
    const [first, second] = this.states;
    return first.transaction >= second.transaction ? first : second;
  }

  /** The state that a file is opened at when nobody has it open: the last that was flushed. */
  get safe(): FileState {
    const [first, second] = this.states;
    const before = olderUnlessFlushed(first, second);
    return this.flushed === undefined ? before : olderUnlessFlushed(before, this.flushed);
  }
}

function olderUnlessFlushed(a: FileState, b: FileState): FileState {
  if (b.transaction === 0) return a;
  const [older, newer] = a.transaction >= b.transaction ? [b, a] : [a, b];
  return (newer.free.flags & UNFLUSHED) === 0 ? newer : older;
}

function readState(bytes: Buffer, at: number): FileState {
  return {
    transaction: Number(bytes.readBigUInt64LE(at + 152)),
    pageBytes: bytes.readUInt32LE(at + 48),
    lastPage: Number(bytes.readBigUInt64LE(at + 144)),
    free: readTree(bytes, at + 48),
    main: readTree(bytes, at + 96),
  };
}

export function readTree(bytes: Buffer, at: number): Tree {
  const number = (offset: number): number => Number(bytes.readBigUInt64LE(at + offset));
  const root = bytes.readBigUInt64LE(at + 40);
  return {
    flags: bytes.readUInt16LE(at + 4),
    depth: bytes.readUInt16LE(at + 6),
    branches: number(8),
    leaves: number(16),
    overflows: number(24),
    entries: number(32),
    root: root === NO_PAGE ? undefined : Number(root),
  };
}

/** The number of the last transaction in the file. */
export function lastTransaction(file: string): number {
  return readMetaPages(file).pages?.latest.transaction ?? 0;
}

/** Whether the file's last commit is on the disk: a crash may have left it there or not. */
export function isSettled(file: string): boolean {
  const { pages } = readMetaPages(file);
  return pages !== undefined && pages.safe.transaction === pages.latest.transaction;
}

/** Undefined for a file that has not even two pages. */
function readMetaPages(file: string): { pages: MetaPages | undefined; size: number } {
  const descriptor = openSync(file, 'r');
  try {
    const { size } = fstatSync(descriptor);
    const bytes = Buffer.alloc(2 * PAGE_BYTES);
    const read = readSync(descriptor, bytes, 0, bytes.byteLength, 0);
    return { pages: read < bytes.byteLength ? undefined : new MetaPages(bytes), size };
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Throws STORE_CORRUPT for a file that ends before the trees that it holds begin, as one does whose
 * copy was broken off, or whose pages have no size. lmdb would map it and find out by reading past
 * its end, which ends the process.
 */
export function requireWhole(file: string): void {
  const { pages, size } = readMetaPages(file);
  // After a power loss the newer state may lack its pages; the other one is then used.
  const isWhole =
    pages?.hasPageSize === true && ([0, 1] as const).some((at) => isUsable(pages, at, size));
  if (isWhole) return;
  throw new TidemarkError(
    'STORE_CORRUPT',
    `${file} has ${size} bytes and is cut short, or is no file of Tidemark's; restore a backup`,
  );
}

function isUsable(pages: MetaPages, at: 0 | 1, size: number): boolean {
  const { free, main } = pages.states[at];
  return (
    pages.isMeta(at) &&
    [free, main].every(({ root }) => root === undefined || (root + 1) * PAGE_BYTES <= size)
  );
}
