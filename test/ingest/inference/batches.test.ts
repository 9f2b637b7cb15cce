import fc from 'fast-check';
import { expect, test } from 'vitest';

import { planBatches } from '../../../src/ingest/inference/batches.ts';

test('texts of like length share a batch, the longest first', () => {
  const limits = { rowsMax: 2, paddedTokensMax: 100 };
  expect(planBatches([3, 50, 4, 49, 5], limits)).toEqual([[1, 3], [4, 2], [0]]);
});

test('a batch is bounded by its padded tokens', () => {
  expect(planBatches([10, 10, 10], { rowsMax: 8, paddedTokensMax: 20 })).toEqual([[0, 1], [2]]);
});

test('a text longer than a batch may be runs alone', () => {
  expect(planBatches([30, 5], { rowsMax: 8, paddedTokensMax: 20 })).toEqual([[0], [1]]);
});

test('no texts make no batch', () => {
  expect(planBatches([], { rowsMax: 8, paddedTokensMax: 20 })).toEqual([]);
});

test('every text runs once, and no batch passes a limit unless it is one text', () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 300 }));
  const limit = fc.integer({ min: 1, max: 1_000 });
  fc.assert(
    fc.property(lengths, limit, limit, (all, rowsMax, paddedTokensMax) => {
      const batches = planBatches(all, { rowsMax, paddedTokensMax });
      expect(batches.flat().toSorted((a, b) => a - b)).toEqual([...all.keys()]);
      for (const batch of batches) {
        const longest = Math.max(...batch.map((index) => all[index] ?? 0));
        expect(batch.length).toBeLessThanOrEqual(rowsMax);
        expect(batch.length === 1 || batch.length * longest <= paddedTokensMax).toBe(true);
      }
    }),
  );
});
