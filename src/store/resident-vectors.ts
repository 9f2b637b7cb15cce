import type { ResidentBudget } from './resident-budget.ts';

/** Of a slot that had a vector once: its memory is taken. */
const NOBODY = -1;
/** Ids from here on are not kept: whole numbers of 32 bits are what the engine is fast at. */
const ID_END = 2 ** 31 - 1;
/** Numbers of a slot: whose vector it has, the id +1, and which place is the slot's. */
const SLOT_NUMBERS = 2;
const NONE = -1;
/** A buffer is copied from by an offset of 32 bits: beyond, it would be the bytes of another vector. */
const SLAB_BYTES_MAX = 2 ** 31;

/**
 * Vectors of a version in memory of the process: a copy out of it takes less than a read through
 * lmdb. What a vector id stands for never changes, so nothing here is ever out of date.
 *
 * An id has one slot, its remainder. Where there are more ids than slots, those that share one take
 * turns, and whoever finds another's vector there reads the file. A slot has its place for a vector
 * from its first one on, next to the place given before: few vectors of many fill few pages, be they
 * huge ones.
 */
export class ResidentVectors {
  private vectorBytes: number;
  private budget: ResidentBudget;
  private count: number;
  private slots: Int32Array;
  private slabs: Buffer[];
  /** A slab has a power of two of places: these bits of one say where in it, those above which. */
  private slabBits: number;
  /** How many slots have a place. */
  private taken = 0;

  /** Throws RangeError where so much address space is not to be had. */
  constructor(vectorBytes: number, budget: ResidentBudget, slabBytesMax = SLAB_BYTES_MAX) {
    this.vectorBytes = vectorBytes;
    this.budget = budget;
    this.count = Math.max(1, Math.floor(budget.bytesMax / vectorBytes));
    // Address space: memory is taken page by page as it is written to. Shared, as it is of no other
    // thread, because the engine counts what is not as if all of it were used.
    this.slots = new Int32Array(new SharedArrayBuffer(this.count * SLOT_NUMBERS * 4));
    this.slabBits = Math.floor(Math.log2(slabBytesMax / vectorBytes));
    this.slabs = slabsOf(this.count, 2 ** this.slabBits, vectorBytes);
  }

  /** Whether the vector is here. */
  has(id: number): boolean {
    return this.placeOf(id) !== NONE;
  }

  /** Copies the vector to byte `at` of `out`; false where it is not here. */
  copyInto(id: number, out: Uint8Array, at: number): boolean {
    const place = this.placeOf(id);
    if (place === NONE) return false;
    const from = this.startOf(place);
    this.slabOf(place).copy(out, at, from, from + this.vectorBytes);
    return true;
  }

  /** Keeps a vector that was found to be as it was written, where there is room. */
  add(id: number, vector: Uint8Array): void {
    if (id >= ID_END) return;
    const { slots } = this;
    const slot = (id % this.count) * SLOT_NUMBERS;
    if (slots[slot] === 0) {
      if (!this.budget.take(this.vectorBytes)) return;
      slots[slot + 1] = this.taken++;
    }
    const place = slots[slot + 1]!;
    this.slabOf(place).set(vector, this.startOf(place));
    slots[slot] = id + 1;
  }

  /** Forgets a vector that is removed, or is going to be written anew. */
  remove(id: number): void {
    const place = this.placeOf(id);
    if (place === NONE) return;
    this.slots[(id % this.count) * SLOT_NUMBERS] = NOBODY;
    const from = this.startOf(place);
    this.slabOf(place).fill(0, from, from + this.vectorBytes);
  }

  /** Gives its memory up. */
  close(): void {
    for (; this.taken > 0; this.taken--) this.budget.giveBack(this.vectorBytes);
  }

  /** Where the vector is. */
  private placeOf(id: number): number {
    if (id >= ID_END) return NONE;
    const slot = ((id | 0) % this.count) * SLOT_NUMBERS;
    return this.slots[slot] === id + 1 ? this.slots[slot + 1]! : NONE;
  }

  private slabOf(place: number): Buffer {
    return this.slabs[place >>> this.slabBits]!;
  }

  /** Where in its slab the place begins. */
  private startOf(place: number): number {
    return (place & ((1 << this.slabBits) - 1)) * this.vectorBytes;
  }
}

/** Memory for so many vectors, so many of them in a slab. */
function slabsOf(count: number, each: number, vectorBytes: number): Buffer[] {
  return Array.from({ length: Math.ceil(count / each) }, (_, at) => {
    const here = Math.min(each, count - at * each);
    return Buffer.from(new SharedArrayBuffer(here * vectorBytes));
  });
}
