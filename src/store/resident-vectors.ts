import type { ResidentBudget } from './resident-budget.ts';

/** Of a slot that had a vector once: its memory is taken. */
const NOBODY = -1;
/** Ids from here on are not kept: whole numbers of 32 bits are what the engine is fast at. */
const ID_END = 2 ** 31 - 1;

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
  private vectors: Buffer;
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
    this.vectors = Buffer.from(new SharedArrayBuffer(this.slots * vectorBytes));
  }

  /** Whether the vector is here. */
  has(id: number): boolean {
    return id < ID_END && this.owners[(id | 0) % this.slots] === id + 1;
  }

  /** Copies the vector to byte `at` of `out`; false where it is not here. */
  copyInto(id: number, out: Uint8Array, at: number): boolean {
    if (!this.has(id)) return false;
    const from = ((id | 0) % this.slots) * this.vectorBytes;
    this.vectors.copy(out, at, from, from + this.vectorBytes);
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
    this.vectors.set(vector, slot * vectorBytes);
    owners[slot] = id + 1;
  }

  /** Forgets a vector that is removed, or is going to be written anew. */
  remove(id: number): void {
    if (!this.has(id)) return;
    const slot = id % this.slots;
    this.owners[slot] = NOBODY;
    this.vectors.fill(0, slot * this.vectorBytes, (slot + 1) * this.vectorBytes);
  }

  /** Gives its memory up. */
  close(): void {
    for (; this.taken > 0; this.taken--) this.budget.giveBack(this.vectorBytes);
  }
}
