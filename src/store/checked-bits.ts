/** Of the CRC-32 behind a vector. */
export const CHECKSUM_BYTES = 4;

const SLAB_BITS = 2 ** 20;
/** 64 MiB of bits: half a thousand million vectors. Beyond, each read verifies again. */
const SLABS_MAX = 512;

/**
 * Which vectors of a version were found to have their checksums since the process began: one bit a
 * vector, in memory that all threads of the process share.
 */
export class CheckedBits {
  /** Grown by the thread that writes alone. */
  readonly slabs: SharedArrayBuffer[];
  private words: Uint32Array[];

  /** `slabs`: those that another thread has made by now; its later ones are not known here. */
  constructor(slabs: SharedArrayBuffer[] = []) {
    this.slabs = slabs;
    this.words = slabs.map((slab) => new Uint32Array(slab));
  }

  has(id: number): boolean {
    const slab = Math.floor(id / SLAB_BITS);
    const words = this.words[slab];
    if (words === undefined) return false;
    const bit = id - slab * SLAB_BITS;
    return (words[bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }

  /** `grow`: false where another thread has the slabs. */
  add(id: number, grow = true): void {
    const slab = Math.floor(id / SLAB_BITS);
    if (slab >= this.slabs.length) {
      if (!grow || slab >= SLABS_MAX) return;
      this.reserve(id + 1);
    }
    const bit = id - slab * SLAB_BITS;
    // Other threads set their own bits of the word meanwhile.
    Atomics.or(this.words[slab]!, bit >>> 5, 1 << (bit & 31));
  }

  /** Has bits for the ids below `end`, as far as there is memory: for threads, which make none. */
  reserve(end: number): void {
    const slabs = Math.min(SLABS_MAX, Math.ceil(end / SLAB_BITS));
    for (let at = this.slabs.length; at < slabs; at++) {
      this.slabs.push(new SharedArrayBuffer(SLAB_BITS / 8));
      this.words.push(new Uint32Array(this.slabs[at]!));
    }
  }

  clear(id: number): void {
    const slab = Math.floor(id / SLAB_BITS);
    const words = this.words[slab];
    const bit = id - slab * SLAB_BITS;
    if (words !== undefined) Atomics.and(words, bit >>> 5, ~(1 << (bit & 31)));
  }
}
