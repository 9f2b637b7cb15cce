import fc from 'fast-check';
import { expect, test } from 'vitest';

import { medianOf, spreadOf } from '../../bench/harness/statistics.ts';

test('the median of an odd number of runs is the middle one, of an even number between the two', () => {
  expect(medianOf([3])).toBe(3);
  expect(medianOf([9, 1, 5])).toBe(5);
  expect(medianOf([10, 2, 4, 8])).toBe(6);
  expect(medianOf([2, 10])).toBe(6);
});

test('numbers are ordered as numbers and not as texts', () => {
  expect(medianOf([9, 10, 100])).toBe(10);
});

test('the median leaves the runs as they were, in their order', () => {
  const runs = [3, 1, 2];
  expect(spreadOf(runs)).toEqual({ median: 2, least: 1, most: 3 });
  expect(runs).toEqual([3, 1, 2]);
});

test('as many runs lie above the median as below', () => {
  fc.assert(
    fc.property(fc.array(fc.integer(), { minLength: 1 }), (runs) => {
      const median = medianOf(runs);
      const [below, above] = [
        runs.filter((run) => run < median).length,
        runs.filter((run) => run > median).length,
      ];
      expect(below).toBeLessThanOrEqual(runs.length / 2);
      expect(above).toBeLessThanOrEqual(runs.length / 2);
    }),
  );
});
