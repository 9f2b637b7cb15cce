import { expect, test } from 'vitest';

import { normOf, poolFirst, poolMean, scaleTo } from '../../../src/ingest/inference/pooling.ts';

// Two rows of three tokens; the last token of the first row is padding.
const hidden = {
  data: Float32Array.of(1, 2, 3, 4, 99, 99, 5, 6, 7, 8, 9, 10),
  tokens: 3,
  dim: 2,
};

test('the mean is over the tokens of the text, without the padding', () => {
  const into = new Float32Array(2);
  poolMean(hidden, 0, 2, into);
  expect([...into]).toEqual([2, 3]);
  poolMean(hidden, 1, 3, into);
  expect([...into]).toEqual([7, 8]);
});

test('CLS pooling takes the first token', () => {
  const into = new Float32Array(2);
  poolFirst(hidden, 1, into);
  expect([...into]).toEqual([5, 6]);
});

test('a vector divided by its length has length 1', () => {
  const vector = Float32Array.of(3, 4);
  expect(normOf(vector)).toBe(5);
  scaleTo(vector, 5);
  expect(normOf(vector)).toBeCloseTo(1, 6);
});

test('one number that is not finite shows in the length', () => {
  expect(normOf(Float32Array.of(1, Number.NaN))).toBeNaN();
  expect(normOf(Float32Array.of(1, -Infinity))).toBe(Infinity);
});
