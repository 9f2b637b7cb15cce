import type { Chunk } from './chunk.ts';
import type { ResidentBudget } from './resident-budget.ts';

/** Cells of a slab; a record lies in one. */
const SLAB_CELLS = 2 ** 14;
const SLAB_BYTES = SLAB_CELLS * 8;
/** Numbers of a slot: the hash, and where the record is, +1; 0 where the slot is free. */
const SLOT_NUMBERS = 2;
const SLOTS_FIRST = 1_024;
const NONE = -1;
/** Of a revision in a chunk. */
const ROW_CELLS = 5;

class Slab {
  readonly cells = new Float64Array(SLAB_CELLS);
  readonly words = new Uint32Array(this.cells.buffer);
  readonly units = new Uint16Array(this.cells.buffer);
}

/**
 * Newest revisions of entities, as they stand in the heads of their timelines, in memory of the
 * process. Whoever commits says whose heads have changed, once the commit is there to be read.
 *
 * A record, in cells of eight bytes:
 *
 * cell      field
 * 0  u32    length of the id in UTF-16 units
 *    u32    how many cells there are for the chunk
 * 1  u16    the id
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
  /** Where `find` ended, and the hash it went by. */
  private slot = 0;
  private hash = 0;

  constructor(budget: ResidentBudget) {
    this.budget = budget;
  }

  /** Points `chunk` at the entity's head; false where it is not here. */
  show(id: string, chunk: Chunk): boolean {
    const record = this.find(id);
    if (record === NONE) return false;
    const { cells, words } = this.slabOf(record);
    const at = chunkCell(record, id);
    const count = words[at * 2]!;
    if (count === 0) return false;
    chunk.show(cells, words, at, count);
    return true;
  }

  /** Keeps the head that the chunk shows. */
  add(id: string, chunk: Chunk): void {
    const cells = chunk.cellCount;
    let record = this.find(id);
    if (record === NONE || this.slabOf(record).words[(record % SLAB_CELLS) * 2 + 1]! < cells) {
      record = this.place(id, cells);
      if (record === NONE) return;
    }
    const slab = this.slabOf(record);
    const at = chunkCell(record, id);
    chunk.copyCells(slab.cells, at);
    slab.words[at * 2] = chunk.count;
  }

  /** The entity's head has changed, or is gone. */
  drop(id: string): void {
    const record = this.find(id);
    if (record !== NONE) this.slabOf(record).words[chunkCell(record, id) * 2] = 0;
  }

  /** Gives its memory up. */
  close(): void {
    const grown = this.slots.byteLength - SLOTS_FIRST * SLOT_NUMBERS * 4;
    this.budget.giveBack(this.slabs.length * SLAB_BYTES + grown);
    this.slabs = [];
    this.forget();
  }

  /** A record with room for so many cells, which is the entity's from now on. */
  private place(id: string, cells: number): number {
    // A head that grows by a revision or two stays where it is.
    const room = cells + (cells >> 2) + ROW_CELLS;
    const size = 1 + idCells(id) + room;
    if (this.records * 2 > this.mask) this.grow();
    const left = SLAB_CELLS - (this.end % SLAB_CELLS);
    if (left < size) this.end += left;
    if (this.end >= this.slabs.length * SLAB_CELLS) {
      if (this.budget.take(SLAB_BYTES)) this.slabs.push(new Slab());
      // What is asked for comes back soon.
      else this.forget();
      if (this.slabs.length === 0) return NONE;
    }
    const record = this.end;
    this.end += size;
    const { words, units } = this.slabOf(record);
    const cell = record % SLAB_CELLS;
    words[cell * 2] = id.length;
    words[cell * 2 + 1] = room;
    for (let at = 0; at < id.length; at++) units[(cell + 1) * 4 + at] = id.charCodeAt(at);
    if (this.find(id) === NONE) this.records++;
    this.slots[this.slot * SLOT_NUMBERS] = this.hash;
    this.slots[this.slot * SLOT_NUMBERS + 1] = record + 1;
    return record;
  }

  private find(id: string): number {
    const { slots, mask } = this;
    let hash = id.length;
    for (let at = 0; at < id.length; at++) hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 15), 0x5bd1e995);
    this.hash = hash ^= hash >>> 13;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const record = slots[slot * SLOT_NUMBERS + 1]! - 1;
      this.slot = slot;
      if (record === NONE) return NONE;
      if (slots[slot * SLOT_NUMBERS] === hash && this.isOf(record, id)) return record;
    }
  }

  private isOf(record: number, id: string): boolean {
    const { words, units } = this.slabOf(record);
    const cell = record % SLAB_CELLS;
    if (words[cell * 2] !== id.length) return false;
    const from = (cell + 1) * 4;
    for (let at = 0; at < id.length; at++) if (units[from + at] !== id.charCodeAt(at)) return false;
    return true;
  }

  private slabOf(record: number): Slab {
    return this.slabs[Math.floor(record / SLAB_CELLS)]!;
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
  private forget(): void {
    this.slots.fill(0);
    this.records = 0;
    this.end = 0;
  }
}

function idCells(id: string): number {
  return (id.length + 3) >> 2;
}

/** Where in its slab the record of the entity has the chunk. */
function chunkCell(record: number, id: string): number {
  return (record % SLAB_CELLS) + 1 + idCells(id);
}
