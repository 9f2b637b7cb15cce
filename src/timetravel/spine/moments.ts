import { type Data, DataType, type Timestamp, TimeUnit } from 'apache-arrow';

import { TidemarkError } from '../../ground/errors.ts';
import { isMicros, MICROS_PER_MILLI, MICROS_PER_SECOND, parseInstant } from '../../ground/time.ts';
import { damaged, isValid, mustGetColumn, textsOf, wrongType } from './column.ts';
import { integersOf } from './ids.ts';
import type { SpineWindow } from './window.ts';

const TWO_32 = 2 ** 32;
const NANOS_PER_MICRO = 1_000;

/**
 * The moments of a window's rows, µs; NaN where the row has none: null, no RFC 3339 with an offset,
 * finer than a microsecond, out of range. Throws BAD_REQUEST for a column that is not there, or
 * whose type tells no moment.
 */
export function momentsOf(window: SpineWindow, column: string): Float64Array {
  const data = mustGetColumn(window, column);
  const { type } = data;
  if (DataType.isTimestamp(type)) return instantsOf(data, type, column);
  if (DataType.isUtf8(type) || DataType.isLargeUtf8(type)) return textMoments(data, column);
  if (DataType.isDictionary(type)) {
    const { dictionary } = type;
    if (DataType.isUtf8(dictionary) || DataType.isLargeUtf8(dictionary)) {
      const entries = data.dictionary!.data.flatMap((chunk) => [...textMoments(chunk, column)]);
      return integersOf(data, column).map((index) => entries[index] ?? Number.NaN);
    }
  }
  if (DataType.isNull(type)) return new Float64Array(data.length).fill(Number.NaN);
  throw wrongType(column, type, 'timestamps with a time zone, or texts of RFC 3339');
}

function instantsOf(data: Data, { unit, timezone }: Timestamp, column: string): Float64Array {
  if (!timezone) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `column ${column} has timestamps without a time zone, which mean another moment in each: ` +
        "give it one, as in pandas tz_localize('UTC') or Polars dt.replace_time_zone('UTC')",
    );
  }
  if (unit === TimeUnit.NANOSECOND) return nanosOf(data, column);
  const scale = { [TimeUnit.SECOND]: MICROS_PER_SECOND, [TimeUnit.MILLISECOND]: MICROS_PER_MILLI };
  const factor = unit === TimeUnit.MICROSECOND ? 1 : scale[unit];
  const moments = integersOf(data, column);
  for (let row = 0; row < moments.length; row++) {
    const moment = moments[row]! * factor;
    moments[row] = isMicros(moment) ? moment : Number.NaN;
  }
  return moments;
}

/** Nanoseconds may lie beyond 2⁵³, so they are divided in halves, which is exact. */
function nanosOf(data: Data, column: string): Float64Array {
  const values = data.values as BigInt64Array;
  if (values.length < data.length) throw damaged(column);
  const halves = new Int32Array(values.buffer, values.byteOffset, data.length * 2);
  const moments = new Float64Array(data.length);
  for (let row = 0; row < data.length; row++) {
    const high = halves[2 * row + 1]!;
    const whole = Math.floor(high / NANOS_PER_MICRO);
    const rest = (high - whole * NANOS_PER_MICRO) * TWO_32 + (halves[2 * row]! >>> 0);
    const moment = whole * TWO_32 + rest / NANOS_PER_MICRO;
    const isWhole = rest % NANOS_PER_MICRO === 0;
    moments[row] = isWhole && isMicros(moment) && isValid(data, row) ? moment : Number.NaN;
  }
  return moments;
}

function textMoments(data: Data, column: string): Float64Array {
  const { bytes, offsets } = textsOf(data, column);
  const moments = new Float64Array(data.length);
  for (let row = 0; row < data.length; row++) {
    const [start, end] = [offsets[row]!, offsets[row + 1]!];
    if (!isValid(data, row)) moments[row] = Number.NaN;
    else moments[row] = plainMoment(bytes, start, end) ?? anyMoment(bytes, start, end);
  }
  return moments;
}

function anyMoment(bytes: Buffer, start: number, end: number): number {
  // One that is far too long is none; nothing is made of it.
  if (end - start > 64) return Number.NaN;
  try {
    return parseInstant(bytes.toString('utf8', start, end));
  } catch {
    return Number.NaN;
  }
}

const ZERO = 0x30;
/** `0000-00-00T00:00:00`, and where its digits stand: those between are punctuation. */
const PLAIN = Buffer.from('0000-00-00T00:00:00');
const MONTHS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * The moment in a text as most writers have it: upper case, `Z`, at most six digits of a second's
 * fraction. Undefined for any other text, which may be a moment all the same.
 */
function plainMoment(bytes: Uint8Array, start: number, end: number): number | undefined {
  const length = end - start;
  if (length < 20 || length > 27 || bytes[end - 1] !== 0x5a) return undefined;
  for (let at = 0; at < PLAIN.length; at++) {
    const byte = bytes[start + at]!;
    if (PLAIN[at] === ZERO ? byte < ZERO || byte > 0x39 : byte !== PLAIN[at]) return undefined;
  }
  const pair = (at: number) => (bytes[start + at]! - ZERO) * 10 + bytes[start + at + 1]! - ZERO;
  let fraction = 0;
  if (length > 20) {
    if (length === 21 || bytes[start + 19] !== 0x2e) return undefined;
    for (let at = 20; at < 26; at++) {
      const digit = at < length - 1 ? bytes[start + at]! - ZERO : 0;
      if (digit < 0 || digit > 9) return undefined;
      fraction = fraction * 10 + digit;
    }
  }
  const [year, month, day] = [pair(0) * 100 + pair(2), pair(5), pair(8)];
  const [hour, minute, second] = [pair(11), pair(14), pair(17)];
  if (month < 1 || month > 12 || day < 1 || day > MONTHS[month - 1]!) return undefined;
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  if (month === 2 && day === 29 && !isLeap) return undefined;
  const seconds = ((daysSinceEpoch(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
  const moment = seconds * MICROS_PER_SECOND + fraction;
  return isMicros(moment) ? moment : undefined;
}

/** Days from 1970-01-01 in the Gregorian calendar; years begin in March, so that leap days end them. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const y = month > 2 ? year : year - 1;
  const m = month > 2 ? month - 3 : month + 9;
  const leaps = Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400);
  return y * 365 + leaps + Math.floor((153 * m + 2) / 5) + day - 1 - 719_468;
}
