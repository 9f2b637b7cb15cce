import fc from 'fast-check';
import { expect, test } from 'vitest';

import { formatInstant, MICROS_MAX, micros, parseInstant } from '../../src/ground/time.ts';

test.each([
  ['1970-01-01T00:00:00Z', 0],
  ['1970-01-01T00:00:00.000001Z', 1],
  ['1969-12-31T23:59:59.999999Z', -1],
  ['2026-03-01T12:00:00+02:00', Date.UTC(2026, 2, 1, 10) * 1000],
  ['2026-03-01t12:00:00.5-05:30', (Date.UTC(2026, 2, 1, 17, 30) + 500) * 1000],
  ['2024-02-29T00:00:00.123456000Z', Date.UTC(2024, 1, 29) * 1000 + 123456],
  ['2255-06-05T23:47:34.740991Z', MICROS_MAX],
])('%s is a moment', (text, expected) => {
  expect(parseInstant(text)).toBe(expected);
});

test.each([
  ['2026-03-01T12:00:00', 'offset'],
  ['2026-03-01', 'offset'],
  ['2026-02-30T00:00:00Z', 'exist'],
  ['2026-13-01T00:00:00Z', 'exist'],
  ['2026-03-01T24:00:00Z', 'exist'],
  ['2026-03-01T23:59:60Z', 'exist'],
  ['2026-03-01T00:00:00+24:00', 'exist'],
  ['2026-03-01T00:00:00.1234567Z', 'finer'],
  ['2255-06-05T23:47:34.740992Z', 'within'],
  ['1600-01-01T00:00:00Z', 'within'],
  ['yesterday', 'RFC 3339'],
  ['', 'RFC 3339'],
])('%s is refused and the message says why', (text, why) => {
  expect(() => parseInstant(text)).toThrow(why);
});

test('a text of a million digits is refused at once, and not repeated', () => {
  const start = performance.now();
  const text = `2026-03-01T00:00:00.${'0'.repeat(1_000_000)}1Z`;
  expect(() => parseInstant(text)).toThrow(/^got the time .{1,90}, expected no digits finer/);
  expect(performance.now() - start).toBeLessThan(1_000);
});

test('a number that is not whole microseconds is refused', () => {
  expect(() => micros(0.5)).toThrow('whole microseconds');
  expect(() => micros(2 ** 53)).toThrow('whole microseconds');
  expect(() => micros(Number.NaN)).toThrow('whole microseconds');
});

test('every moment comes back from its text', () => {
  fc.assert(
    fc.property(fc.integer({ min: -MICROS_MAX, max: MICROS_MAX }), (value) => {
      expect(parseInstant(formatInstant(micros(value)))).toBe(value);
    }),
  );
});
