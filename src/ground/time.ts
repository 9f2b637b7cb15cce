import { TidemarkError } from './errors.ts';
import { excerpt } from './excerpt.ts';

declare const microsTag: unique symbol;

/** Whole microseconds since 1970-01-01T00:00:00Z, within ±2⁵³. */
export type Micros = number & { [microsTag]: true };

export const MICROS_MAX = Number.MAX_SAFE_INTEGER;
export const MICROS_PER_MILLI = 1_000;
export const MICROS_PER_SECOND = 1_000_000;

/** True when the number is a moment that Tidemark can hold. */
export function isMicros(value: number): value is Micros {
  return Number.isSafeInteger(value);
}

/** A moment from a number of microseconds; throws BAD_TIMESTAMP when it is not whole or too wide. */
export function micros(value: number): Micros {
  if (!isMicros(value)) {
    throw badTimestamp(`${value}`, 'whole microseconds since the epoch, within ±2^53');
  }
  return value;
}

/** The clock of the machine, in microseconds of millisecond precision. */
export function systemClock(): Micros {
  return (Date.now() * MICROS_PER_MILLI) as Micros;
}

// Date and time as RFC 3339 section 5.6 has them. The offset is not optional: a time without one
// means something else on every machine.
const RFC3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,6})(\d*))?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;

/**
 * The moment that an RFC 3339 text names.
 * Throws BAD_TIMESTAMP for a text without an offset, a date that no calendar has, digits finer than
 * a microsecond (trailing zeros are fine) and moments outside ±2⁵³ µs (1684 to 2255).
 */
export function parseInstant(text: string): Micros {
  const match = RFC3339.exec(text);
  if (match === null) {
    throw badTimestamp(excerpt(text), 'RFC 3339 with an offset, such as 2026-03-01T12:00:00Z');
  }
  const [, year, month, day, hour, minute, second, fraction = '', finer = '', ...offset] = match;
  const [sign, offsetHour, offsetMinute] = offset;
  if (/[^0]/.test(finer)) {
    throw badTimestamp(excerpt(text), 'no digits finer than a microsecond');
  }
  const fields = [year, month, day, hour, minute, second].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const date = new Date(0);
  date.setUTCFullYear(fields[0], fields[1] - 1, fields[2]);
  date.setUTCHours(fields[3], fields[4], fields[5]);
  // Date rolls 30 February over into March; a text that does not come back is no date.
  const sameDay = date.getUTCMonth() === fields[1] - 1 && date.getUTCDate() === fields[2];
  const sameTime = date.getUTCHours() === fields[3] && date.getUTCMinutes() === fields[4];
  const shift = Number(offsetHour ?? 0) * 60 + Number(offsetMinute ?? 0);
  if (!sameDay || !sameTime || fields[5] > 59 || Number(offsetMinute ?? 0) > 59 || shift > 1439) {
    throw badTimestamp(excerpt(text), 'a date, a time of day and an offset that exist');
  }
  const seconds = date.getTime() / 1_000 - (sign === '-' ? -shift : shift) * 60;
  const value = seconds * MICROS_PER_SECOND + Number(fraction.padEnd(6, '0'));
  if (!isMicros(value)) {
    throw badTimestamp(excerpt(text), 'a moment within ±2^53 microseconds of the epoch');
  }
  return value;
}

/** The moment as RFC 3339 in UTC: no fraction, milliseconds or microseconds, whichever is exact. */
export function formatInstant(value: Micros): string {
  const seconds = Math.floor(value / MICROS_PER_SECOND);
  const rest = value - seconds * MICROS_PER_SECOND;
  const whole = new Date(seconds * 1_000).toISOString().slice(0, 19);
  if (rest === 0) return `${whole}Z`;
  const digits = String(rest).padStart(6, '0');
  return `${whole}.${digits.endsWith('000') ? digits.slice(0, 3) : digits}Z`;
}

function badTimestamp(got: string, expected: string): TidemarkError {
  return new TidemarkError('BAD_TIMESTAMP', `got the time ${got}, expected ${expected}`);
}
