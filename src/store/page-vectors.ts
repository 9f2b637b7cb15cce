import { crc32 } from 'node:zlib';

import { type CheckedBits, CHECKSUM_BYTES } from './checked-bits.ts';
import { numberKeys } from './keys.ts';
import { PAGE_BYTES, type Tree } from './meta-page.ts';
import {
  corrupt,
  countOfPage,
  HEADER_BYTES,
  IN_OWN_PAGES,
  NODE_BYTES,
  type PageFile,
  readFully,
  readNumber,
  TreeCursor,
} from './page-tree.ts';
import { radixOrder } from './radix-order.ts';

const KEY_BYTES = 8;
const WORD = 2 ** 32;
/** What a key's high word has more than its number's. */
const SHIFT_HIGH = 2 ** 21;
/** Pages that are near each other are read together, with what is between them. */
const BLOCK_PAGES = 32;
const GAP_PAGES = 2;
const FETCHES_FIRST = 1_024;

/** Pages to read, and which of the wanted vectors each has: from `from` up to `to`. */
class Fetches {
  count = 0;
  pages = new Float64Array(FETCHES_FIRST);
  from = new Int32Array(FETCHES_FIRST);
  to = new Int32Array(FETCHES_FIRST);

  add(page: number, from: number, to: number): void {
    if (this.count === this.pages.length) this.grow();
    this.pages[this.count] = page;
    this.from[this.count] = from;
    this.to[this.count] = to;
    this.count++;
  }

  private grow(): void {
    const { pages, from, to } = this;
    this.pages = new Float64Array(2 * this.count);
    this.from = new Int32Array(2 * this.count);
    this.to = new Int32Array(2 * this.count);
    this.pages.set(pages);
    this.from.set(from);
    this.to.set(to);
  }

  /** In the order of the file: a disk reads on, and neighbours come together. */
  inFileOrder(): Int32Array {
    return radixOrder(this.pages.subarray(0, this.count));
  }
}

/** Is shown the vector for a row: where in the bytes it begins. They are others once it returns. */
export type Take = (row: number, bytes: Buffer, at: number) => void;

/** Vectors that are wanted: the ids ascending, and the row that each is for. */
interface Wanted {
  ids: Float64Array;
  rows: Int32Array;
  take: Take;
}

/**
 * The vector pool of a version read from the pages of its file: many vectors at once, in the order
 * of the file whatever the order they are wanted in, and each page once.
 */
export class PageVectors {
  private file: PageFile;
  private cursor: TreeCursor;
  private vectorBytes: number;
  private checked: CheckedBits;
  private block = Buffer.allocUnsafeSlow(BLOCK_PAGES * PAGE_BYTES);
  private words = new Uint16Array(this.block.buffer);
  /** The page that the block begins with. */
  private blockPage = 0;

  constructor(file: PageFile, tree: Tree, vectorBytes: number, checked: CheckedBits) {
    this.file = file;
    this.cursor = new TreeCursor(file, tree);
    this.vectorBytes = vectorBytes;
    this.checked = checked;
  }

  /**
   * Shows the vector `ids[row]` for each of the `rows`, in the order of the file. Checksums are
   * verified as by `VectorPool`. Throws STORE_CORRUPT.
   */
  each(ids: Float64Array, rows: Int32Array, take: Take): void {
    const asked = new Float64Array(rows.length);
    for (let at = 0; at < rows.length; at++) asked[at] = ids[rows[at]!]!;
    const order = radixOrder(asked);
    const wanted: Wanted = {
      ids: new Float64Array(rows.length),
      rows: new Int32Array(rows.length),
      take,
    };
    for (let at = 0; at < rows.length; at++) {
      wanted.ids[at] = asked[order[at]!]!;
      wanted.rows[at] = rows[order[at]!]!;
    }
    const leaves = this.leavesOf(wanted.ids);
    // Of a version whose vectors have pages of their own the leaves say which.
    const own = new Fetches();
    this.read(leaves, 1, (base, from, to) => this.readLeaf(base, from, to, wanted, own));
    const pages = Math.ceil((HEADER_BYTES + this.vectorBytes + CHECKSUM_BYTES) / PAGE_BYTES);
    this.read(own, pages, (base, from, to) => this.show(base + HEADER_BYTES, from, to, wanted));
  }

  /**
   * Copies the vector `ids[row]` to byte `offsets[row]` of `out`, for each of the `rows`: so many
   * bytes of it, the first ones.
   */
  copy(
    ids: Float64Array,
    rows: Int32Array,
    out: Uint8Array,
    offsets: Uint32Array,
    bytes = this.vectorBytes,
  ): void {
    this.each(ids, rows, (row, from, at) => {
      from.copy(out, offsets[row], at, at + bytes);
    });
  }

  /** The leaves that have the ids, by the branches above them. */
  private leavesOf(ids: Float64Array): Fetches {
    const leaves = new Fetches();
    const { cursor } = this;
    const key = Buffer.alloc(KEY_BYTES);
    for (let from = 0; from < ids.length;) {
      const id = ids[from]!;
      // Of many ids the next is mostly in the next leaf: to look there is less than to seek.
      let page = from === 0 ? undefined : cursor.stepLeaf();
      let bound = this.leafBound();
      if (page === undefined || id >= bound) {
        numberKeys.writeKey(id, key, 0);
        page = cursor.seekLeaf(key, KEY_BYTES);
        if (page === undefined) throw this.missing(id);
        bound = this.leafBound();
      }
      let to = from + 1;
      while (to < ids.length && ids[to]! < bound) to++;
      leaves.add(page, from, to);
      from = to;
    }
    return leaves;
  }

  /** The id that the leaf of the cursor's branches does not reach. */
  private leafBound(): number {
    const { cursor } = this;
    const at = cursor.leafBoundAt;
    return at < 0 ? Number.POSITIVE_INFINITY : readKey(cursor.bytes, at);
  }

  /** Reads the pages, `each` of them a fetch, and shows where in the block each fetch begins. */
  private read(
    fetches: Fetches,
    each: number,
    show: (base: number, from: number, to: number) => void,
  ): void {
    const order = fetches.inFileOrder();
    const { pages } = fetches;
    for (let first = 0; first < order.length;) {
      const start = pages[order[first]!]!;
      let end = start + each;
      let last = first + 1;
      for (; last < order.length; last++) {
        const next = pages[order[last]!]!;
        if (next > end + GAP_PAGES || next + each > start + BLOCK_PAGES) break;
        end = next + each;
      }
      this.blockPage = start;
      readFully(this.file, this.block, 0, (end - start) * PAGE_BYTES, start * PAGE_BYTES);
      for (; first < last; first++) {
        const fetch = order[first]!;
        show((pages[fetch]! - start) * PAGE_BYTES, fetches.from[fetch]!, fetches.to[fetch]!);
      }
    }
  }

  /** Shows the wanted vectors of a leaf; notes in `own` where those are that it only names. */
  private readLeaf(base: number, from: number, to: number, wanted: Wanted, own: Fetches): void {
    const { words, block } = this;
    const { ids } = wanted;
    const count = countOfPage(words, base, true);
    const room = PAGE_BYTES - HEADER_BYTES;
    let next = from;
    for (let slot = 0; slot < count && next < to; slot++) {
      const offset = words[(base + HEADER_BYTES + slot * 2) >> 1]!;
      const node = base + HEADER_BYTES + offset;
      if (offset + NODE_BYTES + KEY_BYTES > room) throw this.badLeaf(base);
      const id = readKey(block, node + NODE_BYTES);
      if (id < ids[next]!) continue;
      if (id > ids[next]!) break;
      let end = next + 1;
      while (end < to && ids[end] === id) end++;
      const isOwn = words[(node + 4) >> 1] === IN_OWN_PAGES;
      const bytes = words[node >> 1]! + words[(node + 2) >> 1]! * 65_536;
      const at = node + NODE_BYTES + KEY_BYTES;
      const stored = isOwn ? NODE_BYTES : bytes;
      if (bytes !== this.vectorBytes + CHECKSUM_BYTES) throw this.bad(id, `has ${bytes} bytes`);
      if (at + stored > base + PAGE_BYTES) throw this.badLeaf(base);
      if (isOwn) own.add(readNumber(block, at), next, end);
      else this.show(at, next, end, wanted);
      next = end;
    }
    if (next < to) throw this.missing(ids[next]!);
  }

  /** Shows the vector that begins at `at` in the block to all who want it. */
  private show(at: number, from: number, to: number, { ids, rows, take }: Wanted): void {
    const { block, vectorBytes, checked } = this;
    const id = ids[from]!;
    if (!checked.has(id)) {
      if (crc32(block.subarray(at, at + vectorBytes)) !== readWord(block, at + vectorBytes)) {
        throw this.bad(id, 'does not have the checksum it was written with');
      }
      checked.add(id, false);
    }
    for (let want = from; want < to; want++) take(rows[want]!, block, at);
  }

  private missing(id: number): Error {
    return this.bad(id, 'is missing');
  }

  private bad(id: number, what: string): Error {
    return corrupt(this.file, `vector ${id} ${what}`);
  }

  private badLeaf(base: number): Error {
    return corrupt(this.file, `page ${this.blockPage + base / PAGE_BYTES} is not what it was`);
  }
}

/** The number that a key of the table stands for. */
function readKey(bytes: Uint8Array, at: number): number {
  const high =
    ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
  const low =
    ((bytes[at + 4]! << 24) | (bytes[at + 5]! << 16) | (bytes[at + 6]! << 8) | bytes[at + 7]!) >>>
    0;
  return (high - SHIFT_HIGH) * WORD + low;
}

function readWord(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
  );
}
