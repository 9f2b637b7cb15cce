import { expect, test } from 'vitest';

import { requireCaughtUp } from '../../../src/ingest/backfill/caught-up.ts';
import type { StoredPosition } from '../../../src/ingest/kafka/source.ts';

type Positions = StoredPosition[] | undefined;

const at = (partition: number, first: bigint | undefined, next: bigint | undefined) => ({
  topic: 'jobs',
  partition,
  first,
  next,
});

/** Whether `v2` can be filled from `v1`, by what their readers of the source `jobs` say. */
function ask(v1: Positions, v2: Positions, nameOfOther = 'jobs'): () => void {
  const reader = (name: string, positions: Positions) => ({
    config: { name } as never,
    positioned: async () => {},
    positions: () => positions,
  });
  const readersOf = (_view: string, version: string) =>
    version === 'v1' ? [reader(nameOfOther, v1)] : [reader('jobs', v2)];
  return () => requireCaughtUp(readersOf, 'job', 'v1', 'v2');
}

const LATER = expect.objectContaining({ code: 'OVERLOADED' });

test('a version is filled from another one when that has read up to where its own reader began', () => {
  expect(ask([at(0, undefined, 9n)], [at(0, 10n, 12n)])).toThrow(LATER);
  expect(ask([at(0, undefined, 10n)], [at(0, 10n, 12n)])).not.toThrow();
  expect(
    ask([at(0, undefined, 10n), at(1, undefined, 4n)], [at(0, 10n, 10n), at(1, 5n, 5n)]),
  ).toThrow(LATER);
});

test('what was never read, or is not known yet, is waited for', () => {
  expect(ask([at(0, undefined, undefined)], [at(0, 1n, 1n)])).toThrow(LATER);
  expect(ask([], [at(0, 1n, 1n)])).toThrow(LATER);
  expect(ask(undefined, [at(0, 1n, 1n)])).toThrow(LATER);
  expect(ask([at(0, undefined, 1n)], undefined)).toThrow(LATER);
});

test('a reader that began with the topic misses nothing, nor does one of another source', () => {
  expect(ask([at(0, undefined, undefined)], [at(0, 0n, undefined)])).not.toThrow();
  expect(ask([at(0, undefined, 3n)], [at(0, undefined, 9n)])).not.toThrow();
  expect(ask([at(0, undefined, 3n)], [at(0, 9n, 9n)], 'others')).not.toThrow();
});
