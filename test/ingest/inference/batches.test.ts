import fc from 'fast-check';
import { expect, test } from 'vitest';

import { cutBatch } from '../../../src/ingest/inference/batches.ts';

const LIMITS = { rowsMax: 4, paddedTokensMax: 400 };

test('texts of like length as the oldest share its batch', () => {
  expect(cutBatch([90, 3, 90, 4, 90, 90, 2], LIMITS)).toEqual([0, 2, 4, 5]);
});

test('a batch is bounded by its padded tokens', () => {
  expect(cutBatch([100, 90, 100, 100, 100], LIMITS)).toEqual([0, 2, 3, 4]);
  expect(cutBatch([150, 150, 150], LIMITS)).toEqual([0, 1]);
});

test('the oldest runs next to others that are as short, and leaves the long ones for later', () => {
  expect(cutBatch([5, 390, 5, 5, 390], LIMITS)).toEqual([0, 2, 3]);
});

test('a text longer than a batch may be runs alone', () => {
  expect(cutBatch([500, 5, 500], LIMITS)).toEqual([0]);
});

test('the oldest is always in the batch, which passes no limit unless it is one text', () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 });
  const limit = fc.integer({ min: 1, max: 1_000 });
  fc.assert(
    fc.property(lengths, limit, limit, (all, rowsMax, paddedTokensMax) => {
      const batch = cutBatch(all, { rowsMax, paddedTokensMax });
      expect(batch).toContain(0);
      expect(new Set(batch).size).toBe(batch.length);
      const longest = Math.max(...batch.map((index) => all[index] ?? Infinity));
      expect(batch.length).toBeLessThanOrEqual(rowsMax);
      expect(batch.length === 1 || batch.length * longest <= paddedTokensMax).toBe(true);
    }),
  );
});
