import { expect, test } from 'vitest';

import type { LaneName } from '../../../src/ingest/inference/embedder.ts';
import { FairShare } from '../../../src/ingest/inference/fair-share.ts';

/** How many of so many batches each lane has, of so many tokens each, while these always wait. */
function runs(waiting: readonly LaneName[], batches: number, share = new FairShare()) {
  const had = { rest: 0, nearline: 0, backfill: 0 };
  for (let batch = 0; batch < batches; batch++) {
    const lane = share.next((each) => waiting.includes(each))!;
    had[lane]++;
    share.charge(lane, 100);
  }
  return had;
}

test('a backfill has all where nobody else waits, and one in twenty where others always do', () => {
  expect(runs(['backfill'], 100)).toEqual({ rest: 0, nearline: 0, backfill: 100 });
  expect(runs(['nearline', 'backfill'], 200)).toEqual({ rest: 0, nearline: 190, backfill: 10 });
  expect(runs(['rest', 'backfill'], 200)).toEqual({ rest: 190, nearline: 0, backfill: 10 });
});

test('beside a backfill requests and sources share as they do without', () => {
  expect(runs(['rest', 'nearline'], 400)).toEqual({ rest: 300, nearline: 100, backfill: 0 });
  const { rest, nearline, backfill } = runs(['rest', 'nearline', 'backfill'], 400);
  expect(backfill).toBe(20);
  expect(rest / nearline).toBeCloseTo(3, 1);
});

test('what others had while no backfill waited gives it nothing', () => {
  const share = new FairShare();
  runs(['nearline'], 1_000, share);
  expect(runs(['nearline', 'backfill'], 19, share).backfill).toBeLessThanOrEqual(1);
});
