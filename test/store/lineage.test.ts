import { expect, test } from 'vitest';

import type { Lineage } from '../../src/store/catalogue.ts';
import { sharedUpTo } from '../../src/store/lineage.ts';

function lineage(id: string, ...parents: [string, number][]): Lineage {
  return { id, parents: parents.map(([parent, up_to]) => ({ id: parent, up_to })) };
}

const FOREVER = Number.POSITIVE_INFINITY;

test.each([
  ['a replica and its leader', lineage('a'), lineage('a'), FOREVER],
  ['stores that never met', lineage('a'), lineage('b'), 0],
  ['a replica, and another one that was promoted', lineage('a'), lineage('b', ['a', 70]), 70],
  ['a restored backup, and its origin', lineage('c', ['a', 50]), lineage('a'), 50],
  ['a backup, and what was promoted before', lineage('c', ['a', 50]), lineage('b', ['a', 40]), 40],
  ['a backup, and what was promoted after', lineage('c', ['a', 50]), lineage('b', ['a', 70]), 50],
  [
    'replicas of what was promoted twice',
    lineage('b', ['a', 70]),
    lineage('d', ['a', 70], ['b', 90]),
    90,
  ],
  [
    'a leader of long ago, and what came after',
    lineage('a'),
    lineage('d', ['a', 70], ['b', 90]),
    70,
  ],
])('%s share their past up to where the first of them left it', (_what, one, other, upTo) => {
  expect(sharedUpTo(one, other)).toBe(upTo);
  expect(sharedUpTo(other, one)).toBe(upTo);
});
