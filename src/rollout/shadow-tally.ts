import type { Micros } from '../ground/time.ts';

/** What a quantile is taken of; more would say no more. */
const KEPT = 1_000;
const LOW = 0.05;

/** What the sampled lookups of a view have said of its candidate so far. */
export class ShadowTally {
  /** When the first of them could have been sampled. */
  readonly since: Micros;
  /** Lookups that were asked of both versions, and those that were sampled and could not be. */
  lookups = 0;
  dropped = 0;
  /** Rows of them, those with a vector of the current version, and of these those with one of the candidate. */
  ids = 0;
  present = 0;
  covered = 0;
  private random: () => number;
  private cosines = { count: 0, sum: 0 };
  /** Some of the cosines: each of them stands here with the same chance. */
  private kept = new Float32Array(KEPT);
  private overlaps = { count: 0, sum: 0, byChance: 0 };

  /** `random`: from 0 up to 1. */
  constructor(since: Micros, random: () => number) {
    this.since = since;
    this.random = random;
  }

  /** Of the vectors of one entity under both versions. */
  addCosine(cosine: number): void {
    const { cosines } = this;
    const place =
      cosines.count < KEPT ? cosines.count : Math.floor(this.random() * (cosines.count + 1));
    if (place < KEPT) this.kept[place] = cosine;
    cosines.count++;
    cosines.sum += cosine;
  }

  /** Of one lookup; `byChance`: what two versions that have nothing to do with each other would have. */
  addOverlap(overlap: number, byChance: number): void {
    this.overlaps.count++;
    this.overlaps.sum += overlap;
    this.overlaps.byChance += byChance;
  }

  get coverage(): number | undefined {
    return this.present === 0 ? undefined : this.covered / this.present;
  }

  /** `p5`: one of twenty is below it. Undefined where no two vectors could be compared. */
  get cosine(): { mean: number; p5: number } | undefined {
    const { count, sum } = this.cosines;
    if (count === 0) return undefined;
    const sorted = this.kept.slice(0, Math.min(count, KEPT)).toSorted();
    return { mean: sum / count, p5: sorted[Math.floor(LOW * (sorted.length - 1))]! };
  }

  get overlap(): { lookups: number; mean: number; byChance: number } | undefined {
    const { count, sum, byChance } = this.overlaps;
    if (count === 0) return undefined;
    return { lookups: count, mean: sum / count, byChance: byChance / count };
  }
}
