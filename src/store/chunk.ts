import { crc32 } from 'node:zlib';

import { assert } from '../ground/assert.ts';
import { TidemarkError } from '../ground/errors.ts';
import type { OrderKey } from './order.ts';

/**
 * A chunk of a timeline: revisions of one entity in A2 order, one column after another.
 *
 * bytes   field
 * 0  u32  CRC-32 of all that follows
 * 4  u32  flags: bit 0, older revisions stand in sealed chunks (heads only)
 * 8  f64  least known time   ┐ so that a question about what was known, what was served, or an
 * 16 f64  least created time ├ older snapshot can pass by a whole chunk
 * 24 f64  least seq          ┘
 * 32 f64 × n  event time
 *    f64 × n  known time
 *    f64 × n  created time
 *    f64 × n  seq
 *    f64 × n  vector id, −1 for a tombstone
 *
 * Little-endian. n follows from the length. An f64 holds every whole number up to 2⁵³, which is
 * what times, seqs and vector ids are bounded by, and is what JavaScript reads without a branch.
 */
const HEADER_BYTES = 32;
const ROW_BYTES = 40;
const HEADER_CELLS = HEADER_BYTES / 8;
const FLAG_HAS_SEALED = 1;

export const TOMBSTONE = -1;

/**
 * A head of 40 revisions and a short id fit inline in a page of LMDB (2,034 bytes with the key), so
 * that the newest revisions of an entity are one read.
 */
export const HEAD_MAX = 40;
/** A sealed chunk is at most three pages: far questions skip many revisions, late ones rewrite few. */
export const SEALED_MAX = 240;

/** One revision, as the writer adds it. Times in µs. */
export interface Revision extends OrderKey {
  created: number;
  /** `TOMBSTONE` for a delete. */
  vectorId: number;
}

export function chunkBytes(count: number): number {
  return HEADER_BYTES + count * ROW_BYTES;
}

/**
 * A window on a chunk's bytes. One object is pointed at chunk after chunk; what it shows is valid
 * until it is pointed elsewhere or, over lmdb's shared read buffer, until the next read.
 */
export class Chunk {
  count = 0;
  hasSealed = false;
  leastKnown = 0;
  leastCreated = 0;
  leastSeq = 0;
  private cells: Float64Array = new Float64Array(HEADER_CELLS);
  /** The cell that the header begins with. */
  private start = 0;
  /** The bytes that were pointed at last, and what of them was looked at. */
  private bytes: Uint8Array = new Uint8Array(this.cells.buffer);
  private ofBytes = { cells: this.cells, words: new Uint32Array(this.cells.buffer) };
  private views: Uint8Array[] = [];

  /**
   * Shows the chunk in the first `length` bytes of `bytes`, which starts on a multiple of eight.
   * Throws STORE_CORRUPT, with `place`, when the checksum or the length does not fit.
   */
  point(bytes: Uint8Array, length: number, place?: string): this {
    if (bytes !== this.bytes) {
      this.bytes = bytes;
      this.ofBytes = {
        cells: new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 3),
        words: new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2),
      };
      this.views = [];
    }
    const count = (length - HEADER_BYTES) / ROW_BYTES;
    if (!Number.isInteger(count) || count < 1) {
      throw corrupt(
        place,
        `a timeline chunk of ${length} bytes holds no whole number of revisions`,
      );
    }
    // One view a length, made once: lengths repeat, and a view per read would be garbage per read.
    const body = (this.views[count] ??= bytes.subarray(4, length));
    const { cells, words } = this.ofBytes;
    if (crc32(body) !== words[0]) {
      throw corrupt(place, 'a timeline chunk does not have the checksum it was written with');
    }
    this.show(cells, words, 0, count);
    return this;
  }

  /** Shows the chunk of `count` revisions whose header begins with cell `start`, as it stands there. */
  show(cells: Float64Array, words: Uint32Array, start: number, count: number): void {
    this.cells = cells;
    this.start = start;
    this.count = count;
    this.hasSealed = (words[start * 2 + 1]! & FLAG_HAS_SEALED) !== 0;
    this.leastKnown = cells[start + 1]!;
    this.leastCreated = cells[start + 2]!;
    this.leastSeq = cells[start + 3]!;
  }

  /** How many cells it takes, the header included. */
  get cellCount(): number {
    return HEADER_CELLS + this.count * 5;
  }

  /** Copies them, as they are, from `to` on. */
  copyCells(out: Float64Array, to: number): void {
    const { cells, start, cellCount } = this;
    for (let at = 0; at < cellCount; at++) out[to + at] = cells[start + at]!;
  }

  event(at: number): number {
    return this.cells[this.start + HEADER_CELLS + at]!;
  }
  known(at: number): number {
    return this.cells[this.start + HEADER_CELLS + this.count + at]!;
  }
  created(at: number): number {
    return this.cells[this.start + HEADER_CELLS + this.count * 2 + at]!;
  }
  seq(at: number): number {
    return this.cells[this.start + HEADER_CELLS + this.count * 3 + at]!;
  }
  vectorId(at: number): number {
    return this.cells[this.start + HEADER_CELLS + this.count * 4 + at]!;
  }

  revision(at: number): Revision {
    return {
      event: this.event(at),
      known: this.known(at),
      created: this.created(at),
      seq: this.seq(at),
      vectorId: this.vectorId(at),
    };
  }

  /** How many revisions have an event time at or before `event`: the last of them is at one less. */
  countAtOrBefore(event: number): number {
    const { cells } = this;
    const first = this.start + HEADER_CELLS;
    let low = first;
    let high = first + this.count;
    // Most questions are about the newest revision.
    if (cells[high - 1]! <= event) return this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cells[middle]! <= event) low = middle + 1;
      else high = middle;
    }
    return low - first;
  }

  /** Where a revision of this order belongs: after all that do not come after it (A2). */
  insertionPoint(key: OrderKey): number {
    const last = this.count - 1;
    if (orderOf(this.event(last), this.known(last), this.seq(last), key) <= 0) return this.count;
    let low = 0;
    let high = last;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (orderOf(this.event(middle), this.known(middle), this.seq(middle), key) <= 0) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}

/**
 * Revisions being put together into chunks: the writer's workbench, used again for every row, so
 * that writing allocates nothing per revision.
 */
export class ChunkDraft {
  count = 0;
  private rows: Float64Array;
  private out: Float64Array;
  private outBytes: Uint8Array;
  private outWords: Uint32Array;
  /** By count: all bytes of such a chunk, and those that its checksum is of. */
  private views: { bytes: Uint8Array; body: Uint8Array }[] = [];

  /** `capacity`: rows that there is room for until `reserve` makes more. */
  constructor(capacity: number) {
    this.rows = new Float64Array(capacity * 5);
    this.out = new Float64Array(HEADER_CELLS + capacity * 5);
    this.outBytes = new Uint8Array(this.out.buffer);
    this.outWords = new Uint32Array(this.out.buffer);
  }

  clear(): void {
    this.count = 0;
  }

  /** Makes room for so many rows in all. Chunks are encoded of no more than the first capacity. */
  reserve(rows: number): void {
    if (rows * 5 <= this.rows.length) return;
    const grown = new Float64Array(Math.max(rows * 5, this.rows.length * 2));
    grown.set(this.rows);
    this.rows = grown;
  }

  /** Keeps the rows from `first` on that `isKept` says yes to, in their order. */
  keep(first: number, isKept: (at: number) => boolean): void {
    let count = 0;
    for (let at = first; at < this.count; at++) {
      if (!isKept(at)) continue;
      if (count < at) this.rows.copyWithin(count * 5, at * 5, at * 5 + 5);
      count++;
    }
    this.count = count;
  }

  /** Adds the revisions of a chunk after those already here. */
  append(chunk: Chunk): void {
    for (let at = 0; at < chunk.count; at++) {
      this.write(
        this.count++,
        chunk.event(at),
        chunk.known(at),
        chunk.created(at),
        chunk.seq(at),
        chunk.vectorId(at),
      );
    }
  }

  /** Adds the first `count` revisions of another draft after those already here. */
  appendFrom(other: ChunkDraft, count: number): void {
    this.rows.set(other.rows.subarray(0, count * 5), this.count * 5);
    this.count += count;
  }

  insert(at: number, row: Revision): void {
    assert(at <= this.count, 'a revision is inserted among or after the others');
    this.rows.copyWithin((at + 1) * 5, at * 5, this.count * 5);
    this.write(at, row.event, row.known, row.created, row.seq, row.vectorId);
    this.count++;
  }

  event(at: number): number {
    return this.rows[at * 5]!;
  }

  known(at: number): number {
    return this.rows[at * 5 + 1]!;
  }

  created(at: number): number {
    return this.rows[at * 5 + 2]!;
  }

  seq(at: number): number {
    return this.rows[at * 5 + 3]!;
  }

  vectorId(at: number): number {
    return this.rows[at * 5 + 4]!;
  }

  order(at: number): OrderKey {
    const cell = at * 5;
    return { event: this.rows[cell]!, known: this.rows[cell + 1]!, seq: this.rows[cell + 3]! };
  }

  /**
   * The bytes of a chunk of revisions `from` up to `to`, in order, at least one. Valid until the
   * next call.
   */
  encode(from: number, to: number, hasSealed: boolean): Uint8Array {
    const count = to - from;
    assert(count > 0 && to <= this.count, 'a timeline chunk has a revision');
    const { rows, out } = this;
    let leastKnown = Number.POSITIVE_INFINITY;
    let leastCreated = Number.POSITIVE_INFINITY;
    let leastSeq = Number.POSITIVE_INFINITY;
    let cell = from * 5;
    for (let at = HEADER_CELLS; at < HEADER_CELLS + count; at++, cell += 5) {
      const known = rows[cell + 1]!;
      const created = rows[cell + 2]!;
      const seq = rows[cell + 3]!;
      assert(cell === from * 5 || this.isAfterPrevious(cell), 'a chunk is in order (A2)');
      out[at] = rows[cell]!;
      out[at + count] = known;
      out[at + count * 2] = created;
      out[at + count * 3] = seq;
      out[at + count * 4] = rows[cell + 4]!;
      if (known < leastKnown) leastKnown = known;
      if (created < leastCreated) leastCreated = created;
      if (seq < leastSeq) leastSeq = seq;
    }
    out[1] = leastKnown;
    out[2] = leastCreated;
    out[3] = leastSeq;
    const { bytes, body } = (this.views[count] ??= this.viewsOf(chunkBytes(count)));
    this.outWords[1] = hasSealed ? FLAG_HAS_SEALED : 0;
    this.outWords[0] = crc32(body);
    return bytes;
  }

  private viewsOf(length: number): { bytes: Uint8Array; body: Uint8Array } {
    return { bytes: this.outBytes.subarray(0, length), body: this.outBytes.subarray(4, length) };
  }

  private isAfterPrevious(cell: number): boolean {
    const { rows } = this;
    const order =
      rows[cell]! - rows[cell - 5]! ||
      rows[cell + 1]! - rows[cell - 4]! ||
      rows[cell + 3]! - rows[cell - 2]!;
    return order > 0;
  }

  private write(
    at: number,
    event: number,
    known: number,
    created: number,
    seq: number,
    vectorId: number,
  ): void {
    const cell = at * 5;
    this.rows[cell] = event;
    this.rows[cell + 1] = known;
    this.rows[cell + 2] = created;
    this.rows[cell + 3] = seq;
    this.rows[cell + 4] = vectorId;
  }
}

/** `compareOrder` on numbers that stand in columns. */
function orderOf(event: number, known: number, seq: number, key: OrderKey): number {
  return event - key.event || known - key.known || seq - key.seq;
}

function corrupt(place: string | undefined, what: string): TidemarkError {
  const where = place === undefined ? '' : `${place}: `;
  return new TidemarkError('STORE_CORRUPT', `${where}${what}; run \`tidemark verify\``);
}
