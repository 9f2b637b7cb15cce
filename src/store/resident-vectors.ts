import type { ResidentBudget } from './resident-budget.ts';

/** Numbers of a slot: whose vector it has, and how often that has changed. */
const NUMBERS = 2;
const OWNER = 0;
const CHANGES = 1;
/** Of a slot that had a vector once: its memory is taken. */
const NOBODY = -1;
const OWNER_MAX = 2 ** 31 - 1;

/** Where a version's resident vectors lie, for the threads that are to share them. */
export interface SharedVectors {
  numbers: SharedArrayBuffer;
  vectors: SharedArrayBuffer;
  /** How many slots have memory. */
  taken: SharedArrayBuffer;
}

/**
 * Vectors of a version in memory of the process, which all of its threads may share: a copy out of
 * it takes less than a read through lmdb. What a vector id stands for never changes, so
 * nothing here is ever out of date.
 *
 * An id has one slot, its remainder. Where there are more ids than slots, those that share one take
 * turns, and whoever finds another's vector there reads the file. A slot is changed by the one
 * thread that made its count of changes odd; who copies meanwhile sees that the count has moved, and
 * has nothing.
 */
export class ResidentVectors {
  readonly shared: SharedVectors;
  private vectorBytes: number;
  private slots: number;
  private budget: ResidentBudget;
  private numbers: Int32Array;
  private vectors: Buffer;
  private taken: Int32Array;

  /**
   * `shared`: of another thread, whose budget it is too. Throws RangeError where so much address
   * space is not to be had.
   */
  constructor(vectorBytes: number, budget: ResidentBudget, shared?: SharedVectors) {
    this.vectorBytes = vectorBytes;
    this.budget = budget;
    this.slots = Math.max(1, Math.floor(budget.bytesMax / vectorBytes));
    // Address space: memory is taken page by page as it is written to.
    this.shared = shared ?? {
      numbers: new SharedArrayBuffer(this.slots * NUMBERS * 4),
      vectors: new SharedArrayBuffer(this.slots * vectorBytes),
      taken: new SharedArrayBuffer(4),
    };
    this.numbers = new Int32Array(this.shared.numbers);
    this.vectors = Buffer.from(this.shared.vectors);
    this.taken = new Int32Array(this.shared.taken);
  }

  has(id: number): boolean {
    const slot = id % this.slots;
    return this.numbers[slot * NUMBERS + OWNER] === this.ownerOf(id, slot);
  }

  /** Copies the vector to byte `at` of `out`; false where it is not here. */
  copyInto(id: number, out: Uint8Array, at: number): boolean {
    const { numbers, vectorBytes } = this;
    const slot = id % this.slots;
    const number = slot * NUMBERS;
    const changes = Atomics.load(numbers, number + CHANGES);
    if ((changes & 1) !== 0 || numbers[number + OWNER] !== this.ownerOf(id, slot)) return false;
    const from = slot * vectorBytes;
    this.vectors.copy(out, at, from, from + vectorBytes);
    // To add nothing puts the copy before the look, which a load would not on every processor.
    return Atomics.add(numbers, number + CHANGES, 0) === changes;
  }

  /** Keeps a vector that was found to be as it was written, where there is room. */
  add(id: number, vector: Uint8Array): void {
    const { numbers, vectorBytes, budget } = this;
    const slot = id % this.slots;
    const owner = this.ownerOf(id, slot);
    if (owner > OWNER_MAX || !this.begin(slot)) return;
    const number = slot * NUMBERS;
    if (numbers[number + OWNER] !== 0 || budget.take(vectorBytes)) {
      if (numbers[number + OWNER] === 0) Atomics.add(this.taken, 0, 1);
      this.vectors.set(vector, slot * vectorBytes);
      numbers[number + OWNER] = owner;
    }
    this.end(slot);
  }

  /** Forgets a vector that is removed, or is going to be written anew. */
  remove(id: number): void {
    const slot = id % this.slots;
    const number = slot * NUMBERS;
    if (this.numbers[number + OWNER] !== this.ownerOf(id, slot) || !this.begin(slot)) return;
    this.numbers[number + OWNER] = NOBODY;
    this.vectors.fill(0, slot * this.vectorBytes, (slot + 1) * this.vectorBytes);
    this.end(slot);
  }

  /** Gives its memory up: no thread uses it any more. */
  close(): void {
    const slots = Atomics.exchange(this.taken, 0, 0);
    for (let slot = 0; slot < slots; slot++) this.budget.giveBack(this.vectorBytes);
  }

  private ownerOf(id: number, slot: number): number {
    return (id - slot) / this.slots + 1;
  }

  /** False where another thread changes the slot just now. */
  private begin(slot: number): boolean {
    const at = slot * NUMBERS + CHANGES;
    const changes = Atomics.load(this.numbers, at);
    if ((changes & 1) !== 0) return false;
    return Atomics.compareExchange(this.numbers, at, changes, changes + 1) === changes;
  }

  private end(slot: number): void {
    Atomics.add(this.numbers, slot * NUMBERS + CHANGES, 1);
  }
}
