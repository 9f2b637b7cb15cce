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

/** Measures the vectors of the rows that are present. */
export function vectorHealth(
  { dim, dtype }: { dim: number; dtype: Dtype },
  vectors: VectorPool,
  { statuses, vectorIds }: Resolution,
): VectorHealth {
  const widening = new Widening(dim, dtype);
  const centroid = new Float64Array(dim);
  const distinct = new Set<number>();
  let [count, notFinite, zeros, sum, squares] = [0, 0, 0, 0, 0];
  for (let row = 0; row < statuses.length; row++) {
    if (statuses[row] !== PRESENT) continue;
    count++;
    // Equal ones need not have one id: the pool shares those of equal inputs.
    distinct.add(vectors.checksum(vectorIds[row]!));
    vectors.copyInto(vectorIds[row]!, widening.vector, 0);
    const numbers = widening.exact();
    const norm = Math.sqrt(numbers.reduce((total, number) => total + number * number, 0));
    if (!Number.isFinite(norm)) {
      notFinite++;
      continue;
    }
    sum += norm;
    squares += norm * norm;
    if (norm === 0) zeros++;
    else for (let at = 0; at < dim; at++) centroid[at]! += numbers[at]! / norm;
  }
  const finite = count - notFinite;
  const directed = Math.max(1, finite - zeros);
  for (let at = 0; at < dim; at++) centroid[at]! /= directed;
  const normMean = finite === 0 ? 0 : sum / finite;
  const variance = finite === 0 ? 0 : Math.max(0, squares / finite - normMean * normMean);
  return {
    vectors: count,
    notFinite,
    zeros,
    duplicates: count === 0 ? 0 : 1 - distinct.size / count,
    normMean,
    normSpread: normMean === 0 ? 0 : Math.sqrt(variance) / normMean,
    centroid,
  };
}
