import { numberBytes } from '../../store/dtype.ts';
import type { VectorReads } from './reigning.ts';

/**
 * The scales of vectors of int8, `ids[row]` for each of the `rows`; NaN in the others. They are known
 * before the vectors are gathered, as the other columns of an answer are: that is what a second
 * reading of the vectors is for.
 */
export function readScales(
  vectors: VectorReads,
  dim: number,
  ids: Float64Array,
  rows: Int32Array,
): Float32Array {
  const scales = new Float32Array(ids.length).fill(Number.NaN);
  const at = numberBytes(dim, 'int8');
  vectors.each(ids, rows, (row, bytes, from) => {
    scales[row] = bytes.readFloatLE(from + at);
  });
  return scales;
}
