const PAGE_BITS = 2 ** 15;

/** A set of whole numbers from 0, one bit each, with memory for the stretches alone that are used. */
export class NumberSet {
  private pages = new Map<number, Uint32Array>();

  add(value: number): void {
    const at = Math.floor(value / PAGE_BITS);
    let page = this.pages.get(at);
    if (page === undefined) this.pages.set(at, (page = new Uint32Array(PAGE_BITS / 32)));
    const bit = value % PAGE_BITS;
    page[bit >>> 5]! |= 1 << (bit & 31);
  }

  has(value: number): boolean {
    const page = this.pages.get(Math.floor(value / PAGE_BITS));
    const bit = value % PAGE_BITS;
    return page !== undefined && (page[bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }

  get size(): number {
    let size = 0;
    for (const page of this.pages.values()) for (const word of page) size += countBits(word);
    return size;
  }

  /** In ascending order. */
  *[Symbol.iterator](): Iterator<number> {
    for (const at of [...this.pages.keys()].toSorted((a, b) => a - b)) {
      const page = this.pages.get(at)!;
      for (let bit = 0; bit < PAGE_BITS; bit++) {
        if ((page[bit >>> 5]! & (1 << (bit & 31))) !== 0) yield at * PAGE_BITS + bit;
      }
    }
  }
}

function countBits(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
