import fc from 'fast-check';
import { expect, test } from 'vitest';

import { NumberSet } from '../../src/store/number-set.ts';

test('a set of numbers holds what was added and nothing else, in ascending order, however far apart', () => {
  const near = fc.nat({ max: 70_000 });
  const far = fc.maxSafeNat();
  fc.assert(
    fc.property(fc.array(fc.oneof(near, far), { maxLength: 40 }), near, (values, other) => {
      const set = new NumberSet();
      for (const value of values) set.add(value);
      const expected = [...new Set(values)].toSorted((a, b) => a - b);
      expect([...set]).toEqual(expected);
      expect(set.size).toBe(expected.length);
      expect(set.has(other)).toBe(values.includes(other));
      for (const value of values) expect(set.has(value)).toBe(true);
    }),
    { numRuns: 200 },
  );
});
