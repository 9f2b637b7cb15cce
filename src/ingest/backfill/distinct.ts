/** So many hashes are remembered: up to there the count is exact. */
const KEPT_MAX = 2 ** 20;

/**
 * How many distinct hashes there are. Where they are too many to remember, those are that begin with
 * so many zero bits, and each stands for as many as share that chance.
 */
export class Distinct {
  private kept = new Map<string, number>();
  private bits = 0;
  private keptMax: number;

  constructor(keptMax = KEPT_MAX) {
    this.keptMax = keptMax;
  }

  /** True where it is one of those that are remembered, and was not there before. */
  add(hash: Uint8Array): boolean {
    const head = ((hash[0]! << 24) | (hash[1]! << 16) | (hash[2]! << 8) | hash[3]!) >>> 0;
    if (Math.clz32(head) < this.bits) return false;
    const key = Buffer.from(hash).toString('latin1');
    if (this.kept.has(key)) return false;
    this.kept.set(key, head);
    while (this.kept.size > this.keptMax) {
      this.bits++;
      for (const [each, its] of this.kept) {
        if (Math.clz32(its) < this.bits) this.kept.delete(each);
      }
    }
    return true;
  }

  get isExact(): boolean {
    return this.bits === 0;
  }

  get count(): number {
    return this.kept.size * this.share;
  }

  /** How many each that is remembered stands for. */
  get share(): number {
    return 2 ** this.bits;
  }
}
