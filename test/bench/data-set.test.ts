import { expect, test } from 'vitest';

import { idOf, Vectors } from '../../bench/harness/data-set.ts';

function vectorOf(entity: number, revision: number, dim = 8): Float32Array {
  const numbers = new Float32Array(dim);
  new Vectors(dim).write(entity, revision, new Uint8Array(numbers.buffer));
  return numbers;
}

test('a vector is the same in every run, and another for each entity and revision', () => {
  expect(vectorOf(3, 1)).toEqual(vectorOf(3, 1));
  const texts = [0, 1, 2].flatMap((entity) =>
    [0, 1, 2].map((revision) => vectorOf(entity, revision).join()),
  );
  expect(new Set(texts).size).toBe(9);
});

test('a vector tells whose it is', () => {
  expect([...vectorOf(70_000, 12).subarray(0, 2)]).toEqual([70_000, 12]);
});

test('ids have one length, so that requests have', () => {
  expect([idOf('job', 0), idOf('job', 12_345_678)]).toEqual(['job-00000000', 'job-12345678']);
});
