import { Vectors } from '../harness/data-set.ts';

/** The first revisions of a view’s entities, one after another. */
export function poolOf(entities: number, dim: number): Float32Array {
  const vectors = new Vectors(dim);
  const pool = new Float32Array(entities * dim);
  for (let entity = 0; entity < entities; entity++) {
    const numbers = pool.subarray(entity * dim, (entity + 1) * dim);
    vectors.write(entity, 0, new Uint8Array(numbers.buffer, numbers.byteOffset, dim * 4));
  }
  return pool;
}
