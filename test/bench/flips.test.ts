import { expect, test } from 'vitest';

import { flipsTable, secondsAround, spansTable } from '../../bench/rollout/flips.ts';
import type { Answer } from '../support/flip-reader.ts';

const FLIP = { what: 'roll back', version: 'v1', asked: 1_000, answered: 1_020, over: 2_000 };
/** The last answer of v2 comes 12 ms after it was asked for, the first of v1 15 ms after. */
const ANSWERS: Answer[] = [
  [100, 104, 7, 'v2'],
  [990, 1_012, 7, 'v2'],
  [1_005, 1_015, 8, 'v1'],
  [1_006, 1_030, 8, 'v1'],
  [2_100, 2_101, 9, 'v2'],
];

test('a flip took readers as long as the version before was answered after it was asked for', () => {
  expect(flipsTable(ANSWERS, [FLIP], [1_008]).split('\n')[2]).toBe(
    '| roll back | 20.0 ms | 12.0 ms | 15.0 ms | 4.0 ms |',
  );
});

test('requests count where they were begun, and those of a flip in the second around it', () => {
  const spans = [{ what: 'before', from: 0, to: 500 }, ...secondsAround(ANSWERS, [FLIP])];
  const [, , before, around] = spansTable('lookups', ANSWERS, spans).split('\n');
  expect(before).toBe('| before | 1 | 4.0 ms | 4.0 ms | 4.0 ms |');
  expect(around).toBe('| in the second around: roll back | 3 | 22.0 ms | 24.0 ms | 24.0 ms |');
});
