import { expect, test } from 'vitest';

import { Position } from '../../src/ingest/kafka/position.ts';

const SECOND = 1e6;

function position(stored: bigint | undefined): Position {
  return new Position('jobs', 0, stored, { low: 0n, high: 10n });
}

test('a partition that is read to its end has no lag, however old its last record is', () => {
  const at = position(10n);
  at.reach(5 * SECOND);
  expect([at.lag, at.lagSeconds(1_000 * SECOND)]).toEqual([0, 0]);
});

test('the lag in seconds grows while nothing more is committed, also when the source has stopped', () => {
  const at = position(4n);
  at.reach(5 * SECOND);
  expect([at.lag, at.lagSeconds(7 * SECOND), at.lagSeconds(60 * SECOND)]).toEqual([6, 2, 55]);
});

test('before the first commit the lag is as old as the first record that was fetched', () => {
  const at = position(undefined);
  expect([at.lag, at.lagSeconds(7 * SECOND)]).toEqual([10, 0]);
  at.reach(3 * SECOND);
  expect(at.lagSeconds(7 * SECOND)).toBe(4);
});

test('a record without a timestamp, or from a clock that is ahead, makes no age', () => {
  const at = position(4n);
  at.reach(-1_000);
  expect(at.lagSeconds(7 * SECOND)).toBe(0);
  at.reach(9 * SECOND);
  expect(at.lagSeconds(7 * SECOND)).toBe(0);
});
