import { expect, test } from 'vitest';

import { ClockWatch } from '../../src/ground/clock-watch.ts';
import { micros } from '../../src/ground/time.ts';

const HOUR = 3_600 * 1_000_000;
const at = (hours: number) => micros(Math.round(hours * HOUR));

test('a clock that goes with the time that passes is not ahead, however it is set by minutes', () => {
  const watch = new ClockWatch(at(1_000), 0);
  for (let hour = 1; hour < 500; hour++) {
    expect(watch.isAhead(at(1_000 + hour + (hour % 3) * 0.3), hour * HOUR)).toBe(false);
  }
});

test('a clock that jumps ahead is ahead until it is set back', () => {
  const watch = new ClockWatch(at(1_000), 0);
  expect(watch.isAhead(at(1_000 + 8_760), HOUR)).toBe(true);
  expect(watch.isAhead(at(1_000 + 8_761), 2 * HOUR)).toBe(true);
  expect(watch.isAhead(at(1_003), 3 * HOUR)).toBe(false);
  expect(watch.isAhead(at(1_000 + 8_763), 4 * HOUR)).toBe(true);
});

test('a clock that stays ahead for a day is taken to be right, and so is one that was set back', () => {
  const watch = new ClockWatch(at(1_000), 0);
  expect(watch.isAhead(at(2_001), HOUR)).toBe(true);
  expect(watch.isAhead(at(2_024), 24 * HOUR)).toBe(true);
  expect(watch.isAhead(at(2_025), 25 * HOUR)).toBe(false);
  expect(watch.isAhead(at(2_026), 26 * HOUR)).toBe(false);
  expect(watch.isAhead(at(500), 27 * HOUR)).toBe(false);
  expect(watch.isAhead(at(2_028), 28 * HOUR)).toBe(true);
});
