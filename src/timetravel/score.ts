import { assert } from '../ground/assert.ts';
import {
  DIM_MAX,
  type Dtype,
  numberBytes,
  type Numbers,
  numbersOf,
  vectorBytes,
} from '../store/dtype.ts';
import type { VectorPool } from '../store/vectors.ts';
import { instantiate } from './dot-module.ts';
import type { Resolution } from './resolve.ts';
import { PRESENT } from './status.ts';

/** How a vector is compared with others. */
export const METRICS = ['dot', 'cosine'] as const;
export type Metric = (typeof METRICS)[number];

/** A query of the largest dim in float64, and after it a vector in float32. */
const VECTOR_AT = DIM_MAX * 8;
const PAGE_BYTES = 2 ** 16;
const memory = new WebAssembly.Memory({
  initial: Math.ceil((VECTOR_AT + DIM_MAX * 4) / PAGE_BYTES),
});
const { dot, squares } = instantiate(memory);

/**
 * The scores of a query against the vectors of the rows that are present, one a row: NaN where there
 * is none. Numbers of int8 count times their scale. Products are summed in float64; a score is
 * rounded once, to float32. The cosine with a vector of zeros is 0.
 */
export function scoreRows(
  query: ArrayLike<number>,
  metric: Metric,
  { vectors, dtype }: { vectors: VectorPool; dtype: Dtype },
  { statuses, vectorIds }: Resolution,
): Float32Array {
  const dim = query.length;
  assert(
    dim <= DIM_MAX && vectors.vectorBytes === vectorBytes(dim, dtype),
    'a query has the dim of what it is scored against',
  );
  const asked = new Float64Array(memory.buffer, 0, dim);
  asked.set(query);
  const length = Math.sqrt(asked.reduce((sum, number) => sum + number * number, 0));
  const place = new StoredVector(dim, dtype);
  const scores = new Float32Array(statuses.length).fill(Number.NaN);
  for (let row = 0; row < statuses.length; row++) {
    if (statuses[row] !== PRESENT) continue;
    const scale = place.take(vectors, vectorIds[row]!);
    const product = dot(0, VECTOR_AT, dim);
    if (metric === 'dot') scores[row] = product * scale;
    else {
      // The scale of int8 is in both, and above 0.
      const both = length * Math.sqrt(squares(VECTOR_AT, dim));
      scores[row] = both === 0 ? 0 : product / both;
    }
  }
  return scores;
}

/** Where a vector is set down as it is stored, to stand as float32 where it is read. */
class StoredVector {
  private bytes: Uint8Array;
  private floats: Float32Array;
  private numbers: Numbers;
  private scale: DataView | undefined;

  constructor(dim: number, dtype: Dtype) {
    this.floats = new Float32Array(memory.buffer, VECTOR_AT, dim);
    this.bytes =
      dtype === 'float32'
        ? new Uint8Array(memory.buffer, VECTOR_AT, dim * 4)
        : new Uint8Array(vectorBytes(dim, dtype));
    const ofNumbers = numberBytes(dim, dtype);
    this.numbers = numbersOf(this.bytes.subarray(0, ofNumbers), dtype);
    if (dtype === 'int8') this.scale = new DataView(this.bytes.buffer, ofNumbers);
  }

  /** Takes the place of the vector before; what its numbers are times. */
  take(vectors: VectorPool, id: number): number {
    vectors.copyInto(id, this.bytes, 0);
    // A number of any of the dtypes is one of float32.
    if (!(this.numbers instanceof Float32Array)) this.floats.set(this.numbers);
    return this.scale?.getFloat32(0, true) ?? 1;
  }
}
