import type { Chunk } from './chunk.ts';
import type { EntityIds } from './entity-ids.ts';
import type { ResidentBudget } from './resident-budget.ts';

/** Cells of a slab; a record lies in one. */
const SLAB_SHIFT = 14;
const SLAB_CELLS = 2 ** SLAB_SHIFT;
const CELL_MASK = SLAB_CELLS - 1;
const SLAB_BYTES = SLAB_CELLS * 8;
/** Numbers of a slot: the hash, and where the record is, +1; 0 where the slot is free. */
const SLOT_NUMBERS = 2;
const SLOTS_FIRST = 1_024;
const NONE = -1;
/** A line of the processor's memory; the smallest record is longer. */
const LINE_WORDS = 16;
/** Of a revision in a chunk. */
const ROW_CELLS = 5;

class Slab {
  readonly cells = new Float64Array(SLAB_CELLS);
  readonly words = new Uint32Array(this.cells.buffer);
  readonly bytes = new Uint8Array(this.cells.buffer);
}

/**
 * Newest revisions of entities, as they stand in the heads of their timelines, in memory of the
 * process. Whoever commits says whose heads have changed, once the commit is there to be read.
 *
 * A record, in cells of eight bytes:
 *
 * cell      field
 * 0  u32    length of the id in bytes
 *    u32    how many cells there are for the chunk
 * 1  u8     the id, in UTF-8
 *    …      the chunk, as it is in the file; for its checksum, which was verified, there stands how
 *           many revisions it has: 0 when it has changed since
 */
export class ResidentHeads {
  private budget: ResidentBudget;
  private slots = new Int32Array(SLOTS_FIRST * SLOT_NUMBERS);
  private mask = SLOTS_FIRST - 1;
  private records = 0;
  private slabs: Slab[] = [];
  /** Where the next record may be: in the last slab that is used. */
  private end = 0;
  /** Where `find` ended. */
  private slot = 0;
  private touched = 0;

  constructor(budget: ResidentBudget) {
    this.budget = budget;
  }

  /** Points `chunk` at the head of the entity in this row of ids; false where it is not here. */
  show(ids: EntityIds, row: number, chunk: Chunk): boolean {
    const record = this.find(ids, row);
    if (record === NONE) return false;
    const { cells, words } = this.slabOf(record);
    const at = chunkCell(record, words[(record & CELL_MASK) * 2]!);
    const count = words[at * 2]!;
    if (count === 0) return false;
    chunk.show(cells, words, at, count);
    return true;
  }

  /**
   * Reads where the heads of all ids are before the first is shown. Each of them is somewhere else
   * in memory, and so the processor waits for many at once instead of one after another.
   */
  touch({ hashes, count }: EntityIds): void {
    const { slots, mask } = this;
    let sum = 0;
    for (let row = 0; row < count; row++) sum += slots[(hashes[row]! & mask) * SLOT_NUMBERS]!;
    for (let row = 0; row < count; row++) {
      const record = slots[(hashes[row]! & mask) * SLOT_NUMBERS + 1]! - 1;
      if (record === NONE) continue;
      // Of most records both lines of memory.
      const { words } = this.slabOf(record);
      const word = (record & CELL_MASK) * 2;
      sum += words[word]! + words[word + LINE_WORDS]!;
    }
    // Reads whose outcome nobody wants would be left out.
    this.touched = sum;
  }

  /** Keeps the head that the chunk shows. */
  add(ids: EntityIds, row: number, chunk: Chunk): void {
    const cells = chunk.cellCount;
    let record = this.find(ids, row);
    if (record === NONE || this.slabOf(record).words[(record & CELL_MASK) * 2 + 1]! < cells) {
      record = this.place(ids, row, cells);
      if (record === NONE) return;
    }
    const slab = this.slabOf(record);
    const at = chunkCell(record, slab.words[(record & CELL_MASK) * 2]!);
    chunk.copyCells(slab.cells, at);
    slab.words[at * 2] = chunk.count;
  }

  /** The entity's head has changed, or is gone. */
  drop(ids: EntityIds, row: number): void {
    const record = this.find(ids, row);
    if (record === NONE) return;
    const { words } = this.slabOf(record);
    words[chunkCell(record, words[(record & CELL_MASK) * 2]!) * 2] = 0;
  }

  /** Gives its memory up. */
  close(): void {
    const grown = this.slots.byteLength - SLOTS_FIRST * SLOT_NUMBERS * 4;
    this.budget.giveBack(this.slabs.length * SLAB_BYTES + grown);
    this.slabs = [];
    this.forget();
  }

  /** A record with room for so many cells, which is the entity's from now on. */
  private place(ids: EntityIds, row: number, cells: number): number {
    const from = ids.startOf(row);
    const length = ids.ends[row]! - from;
    // A head that grows by a revision or two stays where it is.
    const room = cells + (cells >> 2) + ROW_CELLS;
    const size = 1 + idCells(length) + room;
    if (this.records * 2 > this.mask) this.grow();
    const left = SLAB_CELLS - (this.end & CELL_MASK);
    if (left < size) this.end += left;
    if (this.end >= this.slabs.length * SLAB_CELLS) {
      if (this.budget.take(SLAB_BYTES)) this.slabs.push(new Slab());
      // What is asked for comes back soon.
      else this.forget();
      if (this.slabs.length === 0) return NONE;
    }
    const record = this.end;
    this.end += size;
    const { words, bytes } = this.slabOf(record);
    const cell = record & CELL_MASK;
    words[cell * 2] = length;
    words[cell * 2 + 1] = room;
    for (let at = 0; at < length; at++) bytes[(cell + 1) * 8 + at] = ids.bytes[from + at]!;
    if (this.find(ids, row) === NONE) this.records++;
    this.slots[this.slot * SLOT_NUMBERS] = ids.hashes[row]!;
    this.slots[this.slot * SLOT_NUMBERS + 1] = record + 1;
    return record;
  }

  private find(ids: EntityIds, row: number): number {
    const { slots, mask } = this;
    const hash = ids.hashes[row]!;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const record = slots[slot * SLOT_NUMBERS + 1]! - 1;
      this.slot = slot;
      if (record === NONE) return NONE;
      if (slots[slot * SLOT_NUMBERS] === hash && this.isOf(record, ids, row)) return record;
    }
  }

  private isOf(record: number, ids: EntityIds, row: number): boolean {
    const { words, bytes } = this.slabOf(record);
    const cell = record & CELL_MASK;
    const start = ids.startOf(row);
    const length = ids.ends[row]! - start;
    if (words[cell * 2] !== length) return false;
    const from = (cell + 1) * 8;
    const asked = ids.bytes;
    for (let at = 0; at < length; at++) if (bytes[from + at] !== asked[start + at]) return false;
    return true;
  }

  private slabOf(record: number): Slab {
    return this.slabs[record >>> SLAB_SHIFT]!;
  }

  private grow(): void {
    const before = this.slots;
    if (!this.budget.take(before.byteLength)) {
      this.forget();
      return;
    }
    this.slots = new Int32Array(before.length * 2);
    this.mask = this.mask * 2 + 1;
    for (let from = 0; from < before.length; from += SLOT_NUMBERS) {
      if (before[from + 1] === 0) continue;
      let slot = before[from]! & this.mask;
      while (this.slots[slot * SLOT_NUMBERS + 1] !== 0) slot = (slot + 1) & this.mask;
      this.slots[slot * SLOT_NUMBERS] = before[from]!;
      this.slots[slot * SLOT_NUMBERS + 1] = before[from + 1]!;
    }
  }

  /** Starts anew, in the memory that it has. */
  forget(): void {
    this.slots.fill(0);
    this.records = 0;
    this.end = 0;
  }
}

function idCells(length: number): number {
  return (length + 7) >> 3;
}

/** Where in its slab the record, of an id of so many bytes, has the chunk. */
function chunkCell(record: number, length: number): number {
  return (record & CELL_MASK) + 1 + idCells(length);
}
