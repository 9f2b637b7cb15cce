import { Pace } from '../ground/pace.ts';
import type { Dtype } from '../store/dtype.ts';
import { Widening } from '../store/widening.ts';
import type { Resolution } from '../timetravel/resolve.ts';
import { scoreRows } from '../timetravel/score.ts';
import type { Opened } from './coverage.ts';

/** Vectors of some entities under one version: a row each, all of them present. */
export interface Embedded {
  version: { dim: number; dtype: Dtype };
  opened: Opened;
  resolution: Resolution;
}

/**
 * How far two versions agree on who is near whom: of the `k` nearest neighbours by cosine that a row
 * has under the one, among the rows of the sample, the share that it has under the other, too; the
 * mean over the first `queries` rows. From 0 to 1; by chance alone it is k / (rows − 1). NaN where
 * there are not more than k rows.
 */
export async function neighbourOverlap(
  one: Embedded,
  other: Embedded,
  k: number,
  queries: number,
  signal: AbortSignal,
): Promise<number> {
  const rows = one.resolution.statuses.length;
  if (rows <= k + 1) return Number.NaN;
  const asked = Math.min(queries, rows);
  const pace = new Pace();
  let shared = 0;
  for (let query = 0; query < asked; query++) {
    const near = new Set(nearest(one, query, k));
    await pace.rest();
    for (const row of nearest(other, query, k)) if (near.has(row)) shared++;
    await pace.rest();
    signal.throwIfAborted();
  }
  return shared / (asked * k);
}

/** The rows of the k vectors with the greatest cosine to that row's, itself left out. */
function nearest({ version, opened, resolution }: Embedded, query: number, k: number): number[] {
  const { dim, dtype } = version;
  const { vectors } = opened();
  const widening = new Widening(dim, dtype);
  vectors.copyInto(resolution.vectorIds[query]!, widening.vector, 0);
  const scores = scoreRows(widening.exact(), 'cosine', { vectors, dtype }, resolution);
  scores[query] = Number.NEGATIVE_INFINITY;
  // Of equal scores the first rows: the same ones under both versions.
  return Array.from(scores.keys())
    .toSorted((a, b) => scores[b]! - scores[a]! || a - b)
    .slice(0, k);
}
