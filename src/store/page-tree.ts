import { readSync } from 'node:fs';

import { TidemarkError } from '../ground/errors.ts';
import { PAGE_BYTES, readTree, type Tree } from './meta-page.ts';

/**
 * Reads a tree of an LMDB file as bytes, without lmdb: for whoever reads a great part of a table,
 * where a call of lmdb an entry costs more than the entry, and from threads that have no lmdb. The
 * pages of the tree must stay as they are meanwhile (see `Environment.pin`). How a page is laid out
 * is drawn in `pages.ts`, whose walk checks all of it; here it is no more than keeps a damaged page
 * from leading astray: every value that is found has a checksum of its own.
 */
export const HEADER_BYTES = 24;
export const NODE_BYTES = 8;
const BRANCH = 1;
const LEAF = 2;
export const IN_OWN_PAGES = 1;
const IS_TREE = 2;
/** No sane file has deeper trees: of two keys a page. */
const DEPTH_MAX = 48;
const WORD = 2 ** 32;

/** A file of pages, open. */
export interface PageFile {
  descriptor: number;
  /** The file for messages. */
  place: string;
}

/**
 * A place in a tree, moved by keys. It holds the pages from the root to a leaf, so that keys asked
 * in their order read each page once, whatever the size of the tree.
 */
export class TreeCursor {
  /** The path's pages, the root's first and the leaf's last. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  private file: PageFile;
  private root: number;
  /** The leaf's level; −1 in an empty tree. */
  private leaf: number;
  private words: Uint16Array;
  private pages: Float64Array;
  private slots: Int32Array;
  private counts: Int32Array;
  /** How many levels of the path are read, from the root on. */
  private levels = 0;

  constructor(file: PageFile, { root, depth }: Pick<Tree, 'root' | 'depth'>) {
    if (depth > DEPTH_MAX) throw corrupt(file, `a tree has ${depth} levels`);
    this.file = file;
    this.root = root ?? 0;
    this.leaf = root === undefined ? -1 : depth - 1;
    this.bytes = new Uint8Array((this.leaf + 1) * PAGE_BYTES);
    this.words = new Uint16Array(this.bytes.buffer);
    this.pages = new Float64Array(this.leaf + 1);
    this.slots = new Int32Array(this.leaf + 1);
    this.counts = new Int32Array(this.leaf + 1);
  }

  /**
   * Moves to the first entry whose key is not before the first `length` bytes of `key`. False, and
   * behind the last, where there is none.
   */
  seek(key: Uint8Array, length: number): boolean {
    const { leaf } = this;
    if (leaf < 0) return false;
    this.seekBranches(key, length);
    if (leaf > 0) this.load(leaf, this.child(leaf - 1));
    else this.load(0, this.root);
    this.slots[leaf] = this.bound(leaf, key, length, 0, false);
    return this.slots[leaf] < this.counts[leaf]! || this.nextLeaf();
  }

  /** Moves to the leaf that the key belongs to without reading it, and gives its page. */
  seekLeaf(key: Uint8Array, length: number): number | undefined {
    if (this.leaf < 0) return undefined;
    this.seekBranches(key, length);
    return this.leaf === 0 ? this.root : this.child(this.leaf - 1);
  }

  /** The leaf behind the one that `seekLeaf` gave; undefined where another branch has it, or none. */
  stepLeaf(): number | undefined {
    const level = this.leaf - 1;
    if (level < 0 || this.slots[level]! + 1 >= this.counts[level]!) return undefined;
    this.slots[level]!++;
    return this.child(level);
  }

  /**
   * Where in `bytes` the key begins below which the leaf lies that was given; −1 for the last
   * leaf, which has no bound.
   */
  get leafBoundAt(): number {
    for (let level = this.leaf - 1; level >= 0; level--) {
      const next = this.slots[level]! + 1;
      if (next < this.counts[level]!) return this.node(level, next) + NODE_BYTES;
    }
    return -1;
  }

  /** One entry on; false, and behind the last, where there is none. */
  next(): boolean {
    const { leaf } = this;
    if (leaf < 0 || this.slots[leaf]! >= this.counts[leaf]!) return false;
    return ++this.slots[leaf]! < this.counts[leaf]! || this.nextLeaf();
  }

  /** One entry back, from behind the last too; false where there is none. */
  previous(): boolean {
    let level = this.leaf;
    while (level >= 0 && this.slots[level]! < 1) level--;
    if (level < 0) return false;
    this.slots[level]!--;
    for (; level < this.leaf; level++) {
      this.load(level + 1, this.child(level));
      this.slots[level + 1] = this.counts[level + 1]! - 1;
    }
    return true;
  }

  /** Whether the key of the entry is the first `length` bytes of `key`. */
  isAt(key: Uint8Array, length: number): boolean {
    return this.compare(this.leaf, this.slots[this.leaf]!, key, length) === 0;
  }

  /** Where in `bytes` the entry's key begins. */
  get keyAt(): number {
    return this.node(this.leaf, this.slots[this.leaf]!) + NODE_BYTES;
  }

  get keyBytes(): number {
    return this.words[(this.node(this.leaf, this.slots[this.leaf]!) + 6) >> 1]!;
  }

  /** Copies the value of the entry to the front of `out`, with room for the longest; its bytes. */
  copyValue(out: Uint8Array): number {
    const { words, leaf } = this;
    const node = this.node(leaf, this.slots[leaf]!);
    const bytes = words[node >> 1]! + words[(node + 2) >> 1]! * 65_536;
    const flags = words[(node + 4) >> 1]!;
    const at = node + NODE_BYTES + words[(node + 6) >> 1]!;
    const end = at + (flags === IN_OWN_PAGES ? NODE_BYTES : bytes);
    const isFitting = end <= (leaf + 1) * PAGE_BYTES && bytes <= out.byteLength;
    if (!isFitting || (flags !== 0 && flags !== IN_OWN_PAGES && flags !== IS_TREE)) {
      throw this.badPage(leaf);
    }
    if (flags === IN_OWN_PAGES) {
      const page = readNumber(this.bytes, at);
      readFully(this.file, out, 0, bytes, page * PAGE_BYTES + HEADER_BYTES);
    } else {
      out.set(this.bytes.subarray(at, at + bytes));
    }
    return bytes;
  }

  /** Brings the branches to the key, from the root on; those that are there already cost two looks. */
  private seekBranches(key: Uint8Array, length: number): void {
    if (this.leaf === 0) return;
    this.load(0, this.root);
    for (let level = 0; ; level++) {
      // Keys come in their order, and many: the next child is often the one.
      if (!this.isWithin(level, key, length) && !this.isWithinNext(level, key, length)) {
        // Below the first child is all that comes before the second, whatever its key says.
        this.slots[level] = this.bound(level, key, length, 1, true) - 1;
      }
      if (level === this.leaf - 1) return;
      this.load(level + 1, this.child(level));
    }
  }

  /** Whether the child that the branch stands at is the key's. */
  private isWithin(level: number, key: Uint8Array, length: number): boolean {
    const slot = this.slots[level]!;
    return (
      (slot === 0 || this.compare(level, slot, key, length) <= 0) &&
      (slot + 1 >= this.counts[level]! || this.compare(level, slot + 1, key, length) > 0)
    );
  }

  private isWithinNext(level: number, key: Uint8Array, length: number): boolean {
    if (this.slots[level]! + 1 >= this.counts[level]!) return false;
    this.slots[level]!++;
    return this.isWithin(level, key, length);
  }

  private nextLeaf(): boolean {
    let level = this.leaf - 1;
    while (level >= 0 && this.slots[level]! + 1 >= this.counts[level]!) level--;
    if (level < 0) return false;
    this.slots[level]!++;
    for (; level < this.leaf; level++) {
      this.load(level + 1, this.child(level));
      this.slots[level + 1] = 0;
    }
    return true;
  }

  /** Reads a page of the path, where it is another than the one that is there. */
  private load(level: number, page: number): void {
    if (level < this.levels && this.pages[level] === page) return;
    const base = level * PAGE_BYTES;
    // Until it is whole there is nothing to rely upon from here down.
    this.levels = level;
    readFully(this.file, this.bytes, base, PAGE_BYTES, page * PAGE_BYTES);
    this.pages[level] = page;
    this.counts[level] = countOfPage(this.words, base, level === this.leaf);
    if (this.counts[level] === 0) throw this.badPage(level);
    this.slots[level] = 0;
    this.levels = level + 1;
  }

  /** The first entry from `from` on whose key is not before `key`; `after`: that is behind it. */
  private bound(
    level: number,
    key: Uint8Array,
    length: number,
    from: number,
    after: boolean,
  ): number {
    const least = after ? 1 : 0;
    let low = from;
    let high = this.counts[level]!;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.compare(level, middle, key, length) < least) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Negative when the entry's key comes before `key`. */
  private compare(level: number, slot: number, key: Uint8Array, length: number): number {
    const node = this.node(level, slot);
    const own = this.words[(node + 6) >> 1]!;
    const from = node + NODE_BYTES;
    const { bytes } = this;
    const common = own < length ? own : length;
    for (let at = 0; at < common; at++) {
      const difference = bytes[from + at]! - key[at]!;
      if (difference !== 0) return difference;
    }
    return own - length;
  }

  /** The page below the one that the branch stands at. */
  private child(level: number): number {
    const { words } = this;
    const node = this.node(level, this.slots[level]!);
    return words[node >> 1]! + words[(node + 2) >> 1]! * 65_536 + words[(node + 4) >> 1]! * WORD;
  }

  private node(level: number, slot: number): number {
    const from = level * PAGE_BYTES + HEADER_BYTES;
    const offset = this.words[(from + slot * 2) >> 1]!;
    if (offset > PAGE_BYTES - HEADER_BYTES - NODE_BYTES || offset % 2 !== 0) {
      throw this.badPage(level);
    }
    return from + offset;
  }

  private badPage(level: number): TidemarkError {
    return corrupt(this.file, `page ${this.pages[level]} is not what it was`);
  }
}

/** How many entries the page in `words` at byte `base` has; 0 where it is no such page. */
export function countOfPage(words: Uint16Array, base: number, isLeaf: boolean): number {
  const end = words[(base + 20) >> 1]!;
  const isPage = words[(base + 18) >> 1] === (isLeaf ? LEAF : BRANCH);
  return isPage && end <= PAGE_BYTES - HEADER_BYTES ? end >> 1 : 0;
}

/** The number in eight bytes, little-endian, wherever they begin. */
export function readNumber(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let byte = 7; byte >= 0; byte--) value = value * 256 + bytes[at + byte]!;
  return value;
}

/** Throws STORE_CORRUPT where the file ends before. */
export function readFully(
  file: PageFile,
  out: Uint8Array,
  at: number,
  length: number,
  position: number,
): void {
  const read = readSync(file.descriptor, out, at, length, position);
  if (read < length) throw corrupt(file, `it ends before byte ${position + length}`);
}

export function corrupt({ place }: PageFile, what: string): TidemarkError {
  return new TidemarkError('STORE_CORRUPT', `${place}: ${what}; run \`tidemark verify\``);
}

/** The trees of a file's databases by their names, from the tree that lists them. */
export function treesOf(file: PageFile, main: Tree): Map<string, Tree> {
  const trees = new Map<string, Tree>();
  const cursor = new TreeCursor(file, main);
  const value = Buffer.alloc(PAGE_BYTES);
  for (let isThere = cursor.seek(value, 0); isThere; isThere = cursor.next()) {
    const name = Buffer.from(cursor.bytes.buffer, cursor.keyAt, cursor.keyBytes).toString('utf8');
    cursor.copyValue(value);
    trees.set(name.replace(/\0$/, ''), readTree(value, 0));
  }
  return trees;
}
