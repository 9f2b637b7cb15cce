import type { Dtype } from '../store/dtype.ts';
import type { VectorPool } from '../store/vectors.ts';
import { Widening } from '../store/widening.ts';
import type { Resolution } from '../timetravel/resolve.ts';
import { PRESENT } from '../timetravel/status.ts';

/** What vectors look like, whatever they mean. */
export interface VectorHealth {
  vectors: number;
  /** With a NaN or an infinity in them: there can be none. */
  notFinite: number;
  /** Of length 0: their cosine with anything says nothing. */
  zeros: number;
  /** Share of rows that have another row's vector, from 0 to 1. */
  duplicates: number;
  /** Lengths: their mean, and their standard deviation as a share of it. */
  normMean: number;
  normSpread: number;
  /** The mean of the vectors, each brought to the length 1; `dim` numbers. */
  centroid: Float64Array;
}

/** Measures vectors as they are added, so that many can be taken in parts. */
export class HealthSum {
  private dim: number;
  private widening: Widening;
  private numbers: Float32Array;
  /** The vectors' checksums: equal ones need not have one id, for the pool shares those of equal inputs. */
  private distinct = new Set<number>();
  /** The sum of the vectors, each brought to the length 1. */
  private directions: Float64Array;
  private count = 0;
  private notFinite = 0;
  private zeros = 0;
  private norms = 0;
  private squares = 0;

  constructor({ dim, dtype }: { dim: number; dtype: Dtype }) {
    this.dim = dim;
    this.widening = new Widening(dim, dtype);
    this.numbers = new Float32Array(dim);
    this.directions = new Float64Array(dim);
  }

  /** Takes the rows that are present. */
  add(vectors: VectorPool, { statuses, vectorIds }: Resolution): void {
    const { widening, numbers, directions, dim } = this;
    for (let row = 0; row < statuses.length; row++) {
      if (statuses[row] !== PRESENT) continue;
      this.count++;
      this.distinct.add(vectors.checksum(vectorIds[row]!));
      vectors.copyInto(vectorIds[row]!, widening.vector, 0);
      widening.write(numbers, 0);
      let square = 0;
      for (let at = 0; at < dim; at++) square += numbers[at]! * numbers[at]!;
      const norm = Math.sqrt(square);
      if (!Number.isFinite(norm)) {
        this.notFinite++;
        continue;
      }
      this.norms += norm;
      this.squares += norm * norm;
      if (norm === 0) this.zeros++;
      else for (let at = 0; at < dim; at++) directions[at]! += numbers[at]! / norm;
    }
  }

  /** How many vectors were measured. */
  get vectors(): number {
    return this.count;
  }

  health(): VectorHealth {
    const { count, notFinite, zeros, norms, squares } = this;
    const finite = count - notFinite;
    const directed = Math.max(1, finite - zeros);
    const normMean = finite === 0 ? 0 : norms / finite;
    const variance = finite === 0 ? 0 : Math.max(0, squares / finite - normMean * normMean);
    return {
      vectors: count,
      notFinite,
      zeros,
      duplicates: count === 0 ? 0 : 1 - this.distinct.size / count,
      normMean,
      normSpread: normMean === 0 ? 0 : Math.sqrt(variance) / normMean,
      centroid: this.directions.map((sum) => sum / directed),
    };
  }
}
