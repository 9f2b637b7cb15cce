import type { ResidentBudget } from './resident-budget.ts';

/** Of a slot that had a vector once: its memory is taken. */
const NOBODY = -1;
/** Ids from here on are not kept: whole numbers of 32 bits are what the engine is fast at. */
const ID_END = 2 ** 31 - 1;
/** A buffer is copied from by an offset of 32 bits: beyond, it would be the bytes of another vector. */
const SLAB_BYTES_MAX = 2 ** 31;

/**
 * Vectors of a version in memory of the process: a copy out of it takes less than a read through
 * lmdb. What a vector id stands for never changes, so nothing here is ever out of date.
 *
 * An id has one slot, its remainder. Where there are more ids than slots, those that share one take
 * turns, and whoever finds another's vector there reads the file.
 */
export class ResidentVectors {
  private vectorBytes: number;
  private slots: number;
  private budget: ResidentBudget;
  /** Whose vector each slot has: its id, +1. */
  private owners: Int32Array;
  private slabs: Buffer[];
  /** A slab has a power of two of slots: these bits of a slot say where in it, those above which. */
  private slabBits: number;
  /** How many slots have memory. */
  private taken = 0;

  /** Throws RangeError where so much address space is not to be had. */
  constructor(vectorBytes: number, budget: ResidentBudget) {
    this.vectorBytes = vectorBytes;
    this.budget = budget;
    this.slots = Math.max(1, Math.floor(budget.bytesMax / vectorBytes));
    // Address space: memory is taken page by page as it is written to. Shared, as it is of no other
    // thread, because the engine counts what is not as if all of it were used.
    this.owners = new Int32Array(new SharedArrayBuffer(this.slots * 4));
    this.slabBits = Math.floor(Math.log2(SLAB_BYTES_MAX / vectorBytes));
    this.slabs = slabsOf(this.slots, 2 ** this.slabBits, vectorBytes);
  }

  /** Whether the vector is here. */
  has(id: number): boolean {
    return id < ID_END && this.owners[(id | 0) % this.slots] === id + 1;
  }

  /** Copies the vector to byte `at` of `out`; false where it is not here. */
  copyInto(id: number, out: Uint8Array, at: number): boolean {
    if (!this.has(id)) return false;
    const slot = (id | 0) % this.slots;
    const from = this.startOf(slot);
    this.slabOf(slot).copy(out, at, from, from + this.vectorBytes);
    return true;
  }

  /** Keeps a vector that was found to be as it was written, where there is room. */
  add(id: number, vector: Uint8Array): void {
    if (id >= ID_END) return;
    const { owners, vectorBytes, budget } = this;
    const slot = id % this.slots;
    if (owners[slot] === 0) {
      if (!budget.take(vectorBytes)) return;
      this.taken++;
    }
    this.slabOf(slot).set(vector, this.startOf(slot));
    owners[slot] = id + 1;
  }

  /** Forgets a vector that is removed, or is going to be written anew. */
  remove(id: number): void {
    if (!this.has(id)) return;
    const slot = id % this.slots;
    this.owners[slot] = NOBODY;
    const from = this.startOf(slot);
    this.slabOf(slot).fill(0, from, from + this.vectorBytes);
  }

  /** Gives its memory up. */
  close(): void {
    for (; this.taken > 0; this.taken--) this.budget.giveBack(this.vectorBytes);
  }

  private slabOf(slot: number): Buffer {
    return this.slabs[slot >>> this.slabBits]!;
  }

  /** Where in its slab the slot's vector begins. */
  private startOf(slot: number): number {
    return (slot & ((1 << this.slabBits) - 1)) * this.vectorBytes;
  }
}

/** Memory for so many slots, so many of them in a slab. */
function slabsOf(slots: number, each: number, vectorBytes: number): Buffer[] {
  return Array.from({ length: Math.ceil(slots / each) }, (_, at) => {
    const count = Math.min(each, slots - at * each);
    return Buffer.from(new SharedArrayBuffer(count * vectorBytes));
  });
}
