import { type Dtype, numberBytes, vectorBytes } from '../store/dtype.ts';
import type { VectorPool } from '../store/vectors.ts';
import { Widening } from '../store/widening.ts';
import type { Resolution } from './resolve.ts';
import { PRESENT } from './status.ts';

/** As `gather`, as float32 whatever the dtype of the version is: `dim` numbers a row. */
export function gatherFloats(
  vectors: VectorPool,
  { statuses, vectorIds }: Resolution,
  { dim, dtype }: { dim: number; dtype: Dtype },
  out: Float32Array,
): void {
  const widening = new Widening(dim, dtype);
  for (let row = 0; row < statuses.length; row++) {
    if (statuses[row] !== PRESENT) continue;
    vectors.copyInto(vectorIds[row]!, widening.vector, 0);
    widening.write(out, row * dim);
  }
}

/** As `gather`, of a version of int8: numbers and scales apart. */
export function gatherScaled(
  vectors: VectorPool,
  { statuses, vectorIds }: Resolution,
  dim: number,
  out: Uint8Array,
  scales: Float32Array,
): void {
  const vector = Buffer.alloc(vectorBytes(dim, 'int8'));
  const bytes = numberBytes(dim, 'int8');
  for (let row = 0; row < statuses.length; row++) {
    if (statuses[row] !== PRESENT) continue;
    vectors.copyInto(vectorIds[row]!, vector, 0);
    vector.copy(out, row * bytes, 0, bytes);
    scales[row] = vector.readFloatLE(bytes);
  }
}
