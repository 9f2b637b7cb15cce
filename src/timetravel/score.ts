import { assert } from '../ground/assert.ts';
import { type Dtype, numbersOf } from '../store/dtype.ts';
import type { VectorPool } from '../store/vectors.ts';
import type { Resolution } from './resolve.ts';
import { PRESENT } from './status.ts';

/** How a vector is compared with others. */
export const METRICS = ['dot', 'cosine'] as const;
export type Metric = (typeof METRICS)[number];

/** Rows that are copied at a time: they stay in a processor's cache until they are scored. */
const BLOCK_ROWS = 32;

/**
 * The scores of a query against the vectors of the rows that are present, one a row: NaN where there
 * is none. Products are summed in float64, in four sums side by side; a score is rounded once, to
 * float32. The cosine with a vector of zeros is 0.
 */
export function scoreRows(
  query: ArrayLike<number>,
  metric: Metric,
  { vectors, dtype }: { vectors: VectorPool; dtype: Dtype },
  { statuses, vectorIds }: Resolution,
): Float32Array {
  const dim = query.length;
  const { vectorBytes } = vectors;
  const asked = Float64Array.from(query);
  const block = Buffer.allocUnsafeSlow(BLOCK_ROWS * vectorBytes);
  const numbers = numbersOf(block, dtype);
  assert(numbers.length === BLOCK_ROWS * dim, 'a query has the dim of what it is scored against');
  const scale = metric === 'cosine' ? Math.sqrt(dot(asked, asked, 0)) : 1;
  const rows = new Int32Array(BLOCK_ROWS);
  const scores = new Float32Array(statuses.length).fill(Number.NaN);
  for (let next = 0; next < statuses.length;) {
    let count = 0;
    for (; next < statuses.length && count < BLOCK_ROWS; next++) {
      if (statuses[next] !== PRESENT) continue;
      vectors.copyInto(vectorIds[next]!, block, count * vectorBytes);
      rows[count++] = next;
    }
    for (let at = 0; at < count; at++) {
      const product = dot(asked, numbers, at * dim);
      if (metric === 'dot') {
        scores[rows[at]!] = product;
        continue;
      }
      const length = scale * Math.sqrt(squares(numbers, at * dim, dim));
      scores[rows[at]!] = length === 0 ? 0 : product / length;
    }
  }
  return scores;
}

type Numbers = Float64Array | Float32Array | Float16Array;

function dot(query: Float64Array, numbers: Numbers, from: number): number {
  const dim = query.length;
  let [first, second, third, fourth] = [0, 0, 0, 0];
  let at = 0;
  for (; at + 4 <= dim; at += 4) {
    first += query[at]! * numbers[from + at]!;
    second += query[at + 1]! * numbers[from + at + 1]!;
    third += query[at + 2]! * numbers[from + at + 2]!;
    fourth += query[at + 3]! * numbers[from + at + 3]!;
  }
  for (; at < dim; at++) first += query[at]! * numbers[from + at]!;
  return first + second + (third + fourth);
}

function squares(numbers: Numbers, from: number, dim: number): number {
  let [first, second, third, fourth] = [0, 0, 0, 0];
  const end = from + dim;
  let at = from;
  for (; at + 4 <= end; at += 4) {
    first += numbers[at]! * numbers[at]!;
    second += numbers[at + 1]! * numbers[at + 1]!;
    third += numbers[at + 2]! * numbers[at + 2]!;
    fourth += numbers[at + 3]! * numbers[at + 3]!;
  }
  for (; at < end; at++) first += numbers[at]! * numbers[at]!;
  return first + second + (third + fourth);
}
