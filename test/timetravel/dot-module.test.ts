import fc from 'fast-check';
import { expect, test } from 'vitest';

import { instantiate } from '../../src/timetravel/dot-module.ts';

const memory = new WebAssembly.Memory({ initial: 2 });
const { dot, squares } = instantiate(memory);
const VECTOR_AT = 2 ** 16;

function sums(query: readonly number[], vector: readonly number[]): [number, number] {
  new Float64Array(memory.buffer).set(query);
  new Float32Array(memory.buffer, VECTOR_AT).set(vector);
  return [dot(0, VECTOR_AT, vector.length), squares(VECTOR_AT, vector.length)];
}

test('whole numbers are summed exactly, whatever the dim', () => {
  for (let dim = 1; dim <= 40; dim++) {
    const query = Array.from({ length: dim }, (_, at) => at + 1);
    const vector = query.map((number) => 2 * number);
    const sum = query.reduce((before, number) => before + number * number, 0);
    expect(sums(query, vector)).toEqual([2 * sum, 4 * sum]);
  }
});

test('what stands behind a vector is none of it', () => {
  expect(sums([1, 2, 3], [1, 1, 1])).toEqual([6, 3]);
  sums([9, 9, 9, 9], [7, 7, 7, 7]);
  expect(sums([1, 2, 3], [1, 1, 1])).toEqual([6, 3]);
});

test('any numbers are summed as in float64', () => {
  const number = fc.float({ noNaN: true, noDefaultInfinity: true, min: -(2 ** 60), max: 2 ** 60 });
  fc.assert(
    fc.property(fc.array(fc.tuple(number, number), { minLength: 1, maxLength: 50 }), (pairs) => {
      const [query, vector] = [pairs.map(([one]) => one), pairs.map(([, other]) => other)];
      const [product, square] = sums(query, vector);
      const sizes = pairs.map(([one, other]) => Math.abs(one * other));
      const expected = pairs.reduce((sum, [one, other]) => sum + one * other, 0);
      const error = sizes.reduce((sum, size) => sum + size, 0) * 2 ** -52 * pairs.length;
      expect(Math.abs(product - expected)).toBeLessThanOrEqual(error);
      const length = vector.reduce((sum, each) => sum + each * each, 0);
      expect(Math.abs(square - length)).toBeLessThanOrEqual(length * 2 ** -52 * pairs.length);
    }),
  );
});
