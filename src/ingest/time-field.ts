import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import { isMicros, type Micros, parseInstant } from '../ground/time.ts';

export type TimeUnit = 's' | 'ms' | 'us' | 'ns' | 'rfc3339';

/** How many decimal places of a unit a microsecond is. */
const PLACES = { s: 6, ms: 3, us: 0 } as const;
const DECIMAL = /^(-?)(\d{1,20})(?:\.(\d+))?$/;

/**
 * The moment that a field's value names: RFC 3339 text with an offset, or a number of seconds,
 * milliseconds, microseconds or nanoseconds since the epoch, which may stand in a string.
 * Nanoseconds become the nearest microsecond: a JSON number of them is only near to begin with.
 * Throws BAD_TIMESTAMP for anything else, digits finer than a microsecond, and moments beyond ±2⁵³ µs.
 */
export function parseTimeField(value: unknown, unit: TimeUnit): Micros {
  if (unit === 'rfc3339') {
    if (typeof value === 'string') return parseInstant(value);
    throw badTime(value, 'RFC 3339 text with an offset');
  }
  // The shortest decimal that a number prints as is the one that was written, so counting its
  // digits finds what a multiplication in floating point would round away.
  const text = typeof value === 'number' || typeof value === 'bigint' ? String(value) : value;
  const match = typeof text === 'string' ? DECIMAL.exec(text) : null;
  if (match === null) throw badTime(value, `a number of ${unit} since the epoch`);
  const [, sign, whole, fraction] = match;
  if (unit === 'ns') return mustBeMicros(nearestMicro(value, match), value);
  const places = PLACES[unit];
  const digits = (fraction ?? '').replace(/0+$/, '');
  if (digits.length > places) throw badTime(value, 'no digits finer than a microsecond');
  const size = Number(whole) * 10 ** places + Number(digits.padEnd(places, '0') || 0);
  // Not −0, which would print and compare as another moment than 0 does.
  return mustBeMicros(sign === '-' && size !== 0 ? -size : size, value);
}

/** A half goes up. */
function nearestMicro(value: unknown, [text, , , fraction]: RegExpExecArray): number {
  if (fraction !== undefined) throw badTime(value, 'whole nanoseconds');
  const shifted = BigInt(text) + 500n;
  return Number((shifted - (((shifted % 1_000n) + 1_000n) % 1_000n)) / 1_000n);
}

function mustBeMicros(moment: number, value: unknown): Micros {
  if (isMicros(moment)) return moment;
  throw badTime(value, 'a moment within ±2^53 microseconds of the epoch');
}

function badTime(value: unknown, expected: string): TidemarkError {
  const got = value === undefined ? 'no time' : `the time ${excerpt(value)}`;
  return new TidemarkError('BAD_TIMESTAMP', `got ${got}, expected ${expected}`);
}
