const SLAB_IDS = 2 ** 16;

/** Slabs of a numbering, by their places; those that no number stands in are not there. */
export type NumberSlabs = (SharedArrayBuffer | undefined)[];

/**
 * Which row of a table of distinct vectors each vector id has (`vectors=ref`): numbered as they are
 * first met, in memory that the threads of a join pass on from one window to the next.
 */
export class VectorNumbers {
  readonly slabs: NumberSlabs;
  /** The next row. */
  next: number;
  private words: (Int32Array | undefined)[];

  constructor(slabs: NumberSlabs = [], next = 0) {
    this.slabs = slabs;
    this.next = next;
    this.words = slabs.map((slab) => slab && new Int32Array(slab));
  }

  /** The row of a vector; −1 where it has none yet. */
  rowOf(id: number): number {
    const slab = Math.floor(id / SLAB_IDS);
    const words = this.words[slab];
    // Zero is what memory begins with.
    return words === undefined ? -1 : words[id - slab * SLAB_IDS]! - 1;
  }

  /** Gives the vector the next row. */
  add(id: number): number {
    const slab = Math.floor(id / SLAB_IDS);
    let words = this.words[slab];
    if (words === undefined) {
      const memory = new SharedArrayBuffer(SLAB_IDS * 4);
      this.slabs[slab] = memory;
      this.words[slab] = words = new Int32Array(memory);
    }
    words[id - slab * SLAB_IDS] = this.next + 1;
    return this.next++;
  }
}
