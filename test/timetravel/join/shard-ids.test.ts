import fc from 'fast-check';
import { expect, test } from 'vitest';

import { decodeIds, encodeIds } from '../../../src/timetravel/join/shard-ids.ts';

test('any vector ids come back, and with a byte changed or missing none do', () => {
  const ids = fc.array(fc.integer({ min: 0, max: 2 ** 40 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(ids, fc.nat(), fc.integer({ min: 1, max: 255 }), (some, place, change) => {
      const bytes = encodeIds(Float64Array.from(some));
      expect(decodeIds(bytes, some.length)).toEqual(Float64Array.from(some));
      expect(decodeIds(bytes, some.length + 1)).toBeUndefined();
      expect(decodeIds(bytes.subarray(1), some.length)).toBeUndefined();
      bytes[place % bytes.length]! ^= change;
      expect(decodeIds(bytes, some.length)).toBeUndefined();
    }),
  );
});

test('ids that a power loss made zeros are none', () => {
  expect(decodeIds(new Uint8Array(encodeIds(Float64Array.of(7, 8)).length), 2)).toBeUndefined();
});
