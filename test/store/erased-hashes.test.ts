import fc from 'fast-check';
import { expect, test } from 'vitest';

import { ErasedHashes } from '../../src/store/erased-hashes.ts';
import { erasedFrom, Erasures } from '../../src/store/erasures.ts';

const KEY = new Uint8Array(32).fill(7);

test('what another thread knows of erased entities is what was known when the copy was made (A8)', () => {
  const erasures = new Erasures(KEY);
  const [type, view] = [{ entity: 'job' }, { entity: 'job', view: 'ads' }];
  const of = erasures.of('job', 'ads', () => true);
  expect(erasedFrom(of.copy())).toMatchObject({ none: true, settled: true });
  const long = 'x'.repeat(1_024);
  erasures.add(type, [erasures.hashOf(type, 'a'), erasures.hashOf(type, long)]);
  erasures.add(view, [erasures.hashOf(view, 'b')]);
  const before = erasedFrom(structuredClone(of.copy()));
  expect(before.none).toBe(false);
  expect(['a', 'b', long, 'c', ''].map((id) => before.has(id))).toEqual([
    true,
    true,
    true,
    false,
    false,
  ]);
  erasures.remove(view, [erasures.hashOf(view, 'b')]);
  erasures.add(type, [erasures.hashOf(type, 'c')]);
  const after = erasedFrom(of.copy());
  expect(['a', 'b', 'c'].map((id) => after.has(id))).toEqual([true, false, true]);
  expect(['b', 'c'].map((id) => before.has(id))).toEqual([true, false]);
  const other = erasedFrom(erasures.of('job', 'others', () => false).copy());
  expect(['a', 'b'].map((id) => other.has(id))).toEqual([true, false]);
});

test('a table has the hashes it was made of, however alike they begin, and no others', () => {
  const known = fc
    .array(fc.constantFrom('\0', '\x01', '\xff'), { minLength: 17, maxLength: 17 })
    .map((bytes) => `${bytes.join('')}\x01`);
  fc.assert(
    fc.property(fc.uniqueArray(known, { maxLength: 60 }), fc.array(known), (hashes, others) => {
      const set = new Set(hashes);
      const table = new ErasedHashes(ErasedHashes.of(set).shared);
      for (const each of [...hashes, ...others]) expect(table.has(each)).toBe(set.has(each));
    }),
  );
});
