import fc from 'fast-check';
import { expect, test } from 'vitest';

import { formatDuration, parseDuration } from '../../src/ground/duration.ts';

const SECOND = 1_000_000;

test.each([
  ['PT0S', 0],
  ['PT1S', SECOND],
  ['PT0.000001S', 1],
  ['PT1.5S', 1_500_000],
  ['PT1H', 3_600 * SECOND],
  ['PT1H30M', 5_400 * SECOND],
  ['P1D', 86_400 * SECOND],
  ['P1DT1S', 86_401 * SECOND],
  ['P2W', 14 * 86_400 * SECOND],
  ['P30D', 30 * 86_400 * SECOND],
])('the duration %s is %d µs', (text, micros) => {
  expect(parseDuration(text)).toBe(micros);
});

test.each([
  '',
  'P',
  'PT',
  'P1Y',
  'P1M',
  '-P1D',
  'P-1D',
  '1D',
  'P1H',
  'PT1D',
  'P1.5D',
  'PT1.0000001S',
  'PT1S ',
  'P999999999999W',
])('%j is no duration', (text) => {
  expect(() => parseDuration(text)).toThrow(expect.objectContaining({ code: 'BAD_DURATION' }));
});

test('a duration that is written is read as it was', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (micros) => {
      expect(parseDuration(formatDuration(micros))).toBe(micros);
    }),
  );
});
