import { expect, test } from 'vitest';

import { ColdWatch, type DiskReads } from '../../../src/timetravel/cold/cold-watch.ts';

function watched() {
  const reads: DiskReads = { majorPageFault: 500, fsRead: 9_000 };
  const clock = { now: 0 };
  const watch = new ColdWatch(
    () => ({ ...reads }),
    () => clock.now,
  );
  const after = (seconds: number, faults: number, blocks: number): boolean => {
    clock.now += seconds * 1e6;
    reads.majorPageFault += faults;
    reads.fsRead += blocks;
    watch.look();
    return watch.isCold;
  };
  return { watch, after };
}

test('at the start data are taken to be colder than memory, and not for ever', () => {
  const { watch, after } = watched();
  expect(watch.isCold).toBe(true);
  expect(after(19, 0, 0)).toBe(true);
  expect(after(2, 0, 0)).toBe(false);
});

test.each([
  ['a few pages that were missing', 3, 24, false],
  ['many pages that lookups had to wait for', 8, 0, true],
  ['many blocks that were read beforehand', 0, 64, true],
])('%s: %i faults and %i blocks', (_, faults, blocks, isCold) => {
  const { after } = watched();
  expect(after(21, 0, 0)).toBe(false);
  expect(after(0.1, faults, blocks)).toBe(isCold);
  expect(after(19, 0, 0)).toBe(isCold);
  expect(after(2, 0, 0)).toBe(false);
});

test('data stay cold while the disk is read, however long', () => {
  const { after } = watched();
  for (let time = 0; time < 10; time++) expect(after(15, 0, 100)).toBe(true);
});
