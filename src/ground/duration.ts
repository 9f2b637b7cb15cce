import { TidemarkError } from './errors.ts';
import { excerpt } from './excerpt.ts';
import { MICROS_MAX } from './time.ts';

// ISO 8601 without years and months, which are not always equally long.
const DURATION =
  /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,6}))?S)?)?$/;

const SECOND = 1_000_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;

/**
 * Microseconds of an ISO 8601 duration of weeks, days, hours, minutes and seconds, such as `P30D`
 * or `PT1H30M`. Throws BAD_DURATION for years and months, a sign, digits finer than a microsecond,
 * and what is longer than 2⁵³ µs.
 */
export function parseDuration(text: string): number {
  const match = DURATION.exec(text);
  if (match === null || text === 'P') {
    throw badDuration(text, 'weeks, days, hours, minutes or seconds, such as P30D or PT1H');
  }
  const [weeks, days, hours, minutes, seconds] = match.slice(1, 6).map((part) => Number(part ?? 0));
  const micros = Number((match[6] ?? '').padEnd(6, '0'));
  const value =
    weeks! * WEEK + days! * DAY + hours! * HOUR + minutes! * MINUTE + seconds! * SECOND + micros;
  if (value > MICROS_MAX) throw badDuration(text, 'at most 2^53 microseconds');
  return value;
}

/** The duration as ISO 8601 in days, hours, minutes and seconds. */
export function formatDuration(micros: number): string {
  let rest = micros;
  const take = (unit: number, letter: string): string => {
    const count = Math.floor(rest / unit);
    rest -= count * unit;
    return count === 0 ? '' : `${count}${letter}`;
  };
  const days = take(DAY, 'D');
  const time = take(HOUR, 'H') + take(MINUTE, 'M');
  const whole = Math.floor(rest / SECOND);
  const fraction = String(rest - whole * SECOND)
    .padStart(6, '0')
    .replace(/0+$/, '');
  const seconds = rest === 0 ? '' : `${whole}${fraction === '' ? '' : `.${fraction}`}S`;
  if (days + time + seconds === '') return 'PT0S';
  return `P${days}${time + seconds === '' ? '' : `T${time}${seconds}`}`;
}

function badDuration(got: string, expected: string): TidemarkError {
  return new TidemarkError(
    'BAD_DURATION',
    `got the duration ${excerpt(got)}, expected an ISO 8601 duration of ${expected}`,
  );
}
