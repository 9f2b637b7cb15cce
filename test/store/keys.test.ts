import fc from 'fast-check';
import { expect, test } from 'vitest';

import { numberKeys, positionKeys, timelineKeys, type TimelineKey } from '../../src/store/keys.ts';

function bytesOf<K>(
  codec: { writeKey(key: K, target: Buffer, start: number): number },
  key: K,
): Buffer {
  const target = Buffer.alloc(2_048, 0xaa);
  return target.subarray(32, codec.writeKey(key, target, 32));
}

const whole = fc.oneof(
  fc.maxSafeInteger(),
  fc.constantFrom(0, 1, -1, 2 ** 32, 2 ** 32 - 1, -(2 ** 32), 2 ** 53 - 1, -(2 ** 53)),
);

test.each([
  [0, '0020000000000000'],
  [1, '0020000000000001'],
  [-1, '001fffffffffffff'],
  [2 ** 32, '0020000100000000'],
  [2 ** 53 - 1, '003fffffffffffff'],
  [-(2 ** 53), '0000000000000000'],
])('the number %d is the key %s', (value, hex) => {
  expect(bytesOf(numberKeys, value).toString('hex')).toBe(hex);
});

test('every number comes back from its key, and keys sort as their numbers do', () => {
  fc.assert(
    fc.property(whole, whole, (a, b) => {
      const key = bytesOf(numberKeys, a);
      expect(numberKeys.readKey(key, 0)).toBe(a);
      expect(Math.sign(Buffer.compare(key, bytesOf(numberKeys, b)))).toBe(Math.sign(a - b));
    }),
  );
});

const id = fc.string({ minLength: 1, maxLength: 40, unit: 'binary' }).map((text) => {
  const clean = text.replaceAll('\0', '').toWellFormed();
  return clean === '' ? 'x' : clean;
});
const sealed = fc.record({ id, event: whole, known: whole, seq: fc.nat() });

test('every timeline key comes back from its bytes, also from among other bytes', () => {
  fc.assert(
    fc.property(fc.oneof<fc.Arbitrary<TimelineKey>[]>(id, sealed), (key) => {
      const bytes = Buffer.concat([
        Buffer.alloc(8, 0xff),
        bytesOf(timelineKeys, key),
        Buffer.alloc(9),
      ]);
      expect(timelineKeys.readKey(bytes, 8, bytes.length - 9)).toEqual(key);
    }),
  );
});

test('the chunks of an entity sort in A2 order with its head last, and no other id comes between', () => {
  fc.assert(
    fc.property(sealed, sealed, id, (a, other, anotherId) => {
      const b = { ...other, id: a.id };
      const order = a.event - b.event || a.known - b.known || a.seq - b.seq;
      const keys = [bytesOf(timelineKeys, a), bytesOf(timelineKeys, b)] as const;
      expect(Math.sign(Buffer.compare(...keys))).toBe(Math.sign(order));
      const head = bytesOf(timelineKeys, a.id);
      expect(Buffer.compare(keys[0], head)).toBe(-1);
      if (anotherId !== a.id) {
        const foreign = bytesOf(timelineKeys, anotherId);
        expect(Buffer.compare(foreign, keys[0])).toBe(Buffer.compare(foreign, head));
      }
    }),
  );
});

test('a source position comes back from its key', () => {
  const position = { source: 'jobs', topic: 'job-changes', partition: 3, offset: 2 ** 40 + 1 };
  expect(positionKeys.readKey(bytesOf(positionKeys, position), 0)).toEqual(position);
});
