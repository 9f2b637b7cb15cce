import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { NumberSet } from '../../../src/store/number-set.ts';
import { packIds, readState, unpackIds } from '../../../src/timetravel/lake/state.ts';
import { tempDirectory } from '../../support/temp.ts';

function setOf(ids: readonly number[]): NumberSet {
  const set = new NumberSet();
  for (const id of ids) set.add(id);
  return set;
}

test('a million ids that follow each other take little', () => {
  const text = packIds(setOf(Array.from({ length: 1e6 }, (_, id) => id)));
  expect(text.length).toBeLessThan(1_000);
  expect(unpackIds(text).size).toBe(1e6);
});

test('ids come back as they were packed', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: 100_000 })), (ids) => {
      expect([...unpackIds(packIds(setOf(ids)))]).toEqual(ids.toSorted((a, b) => a - b));
    }),
  );
});

test('a folder without a state is no table yet, and a strange state is refused', () => {
  const table = tempDirectory();
  expect(readState(table)).toBe(undefined);
  mkdirSync(join(table, '_tidemark'));
  for (const text of ['{', '{"format":2}', '[]']) {
    writeFileSync(join(table, '_tidemark/state.json'), text);
    expect(() => readState(table)).toThrow(
      /is not the state of a lake table of format 1: export into an empty directory/,
    );
  }
});
