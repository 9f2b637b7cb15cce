import fc from 'fast-check';
import { expect, test } from 'vitest';

import { Distinct } from '../../../src/ingest/backfill/distinct.ts';
import { hashInput } from '../../../src/ingest/model-input.ts';

test('as many distinct inputs as can be remembered are counted exactly', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 50 })), (numbers) => {
      const distinct = new Distinct(100);
      const fresh = numbers.filter((each) => distinct.add(hashInput(String(each))));
      expect(fresh).toEqual([...new Set(numbers)]);
      expect(distinct.count).toBe(fresh.length);
      expect(distinct.isExact).toBe(true);
    }),
  );
});

test('more of them are estimated from those that are remembered', () => {
  const distinct = new Distinct(4_096);
  for (let round = 0; round < 2; round++) {
    for (let at = 0; at < 50_000; at++) distinct.add(hashInput(`input ${at}`));
  }
  expect(distinct.isExact).toBe(false);
  expect(distinct.count).toBeGreaterThan(50_000 * 0.9);
  expect(distinct.count).toBeLessThan(50_000 * 1.1);
});
