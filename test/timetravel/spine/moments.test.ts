import {
  DateDay,
  Dictionary,
  Int32,
  Int64,
  makeData,
  Timestamp,
  TimeUnit,
  Utf8,
  Vector,
  vectorFromArray,
} from 'apache-arrow';
import fc from 'fast-check';
import { expect, test } from 'vitest';

import { formatInstant, type Micros, parseInstant } from '../../../src/ground/time.ts';
import { momentsOf } from '../../../src/timetravel/spine/moments.ts';
import { windowWith } from './spine.ts';

function momentsIn(column: Vector): number[] {
  return [...momentsOf(windowWith({ at: column }), 'at')];
}

/** Timestamps as Arrow holds them, whatever the unit; the row 0 is null. */
function timestamps(
  unit: TimeUnit,
  values: readonly bigint[],
  zone: string | null = 'UTC',
): Vector {
  const data = new BigInt64Array([0n, ...values]);
  const nullBitmap = new Uint8Array(Math.ceil(data.length / 8)).fill(0xff);
  nullBitmap[0] = 0xfe;
  const type = new Timestamp(unit, zone);
  return new Vector([makeData({ type, length: data.length, nullCount: 1, nullBitmap, data })]);
}

test.each([
  [
    TimeUnit.SECOND,
    [1n, -1n, 9_007_199_254n, 9_007_199_255n],
    [1e6, -1e6, 9_007_199_254e6, Number.NaN],
  ],
  [TimeUnit.MILLISECOND, [1n, -1n, 2n ** 53n], [1e3, -1e3, Number.NaN]],
  [
    TimeUnit.MICROSECOND,
    [1n, -1n, 2n ** 53n - 1n, 1n - 2n ** 53n, 2n ** 53n],
    [1, -1, 2 ** 53 - 1, 1 - 2 ** 53, Number.NaN],
  ],
  [
    TimeUnit.NANOSECOND,
    [1_000n, -1_000n, 1n, -1_001n, (2n ** 53n - 1n) * 1_000n, 2n ** 53n * 1_000n, 2n ** 63n - 1n],
    [1, -1, Number.NaN, Number.NaN, 2 ** 53 - 1, Number.NaN, Number.NaN],
  ],
])(
  'timestamps of unit %i are whole microseconds; what is finer or too far is none',
  (unit, values, moments) => {
    expect(momentsIn(timestamps(unit, values))).toEqual([Number.NaN, ...moments]);
    expect(momentsIn(timestamps(unit, values, 'Europe/Berlin'))).toEqual([Number.NaN, ...moments]);
  },
);

test('timestamps without a zone are refused, with the column and the remedy', () => {
  for (const zone of [null, '']) {
    expect(() => momentsIn(timestamps(TimeUnit.MICROSECOND, [1n], zone))).toThrow(
      "column at has timestamps without a time zone, which mean another moment in each: give it one, as in pandas tz_localize('UTC')",
    );
  }
});

test.each([
  ['Date32<DAY>', new DateDay(), [new Date(0)]],
  ['Int64', new Int64(), [1n]],
])('a column of %s tells no moment', (name, type, values) => {
  expect(() => momentsIn(vectorFromArray(values as never[], type as never))).toThrow(
    `column at is ${name}, expected timestamps with a time zone, or texts of RFC 3339`,
  );
});

const TEXTS = [
  '2026-03-01T12:00:00Z',
  '2026-03-01T12:00:00.5Z',
  '2026-03-01T12:00:00.123456Z',
  '2026-03-01t12:00:00z',
  '2026-03-01 12:00:00+01:00',
  '2026-03-01T12:00:00.1234560Z',
  '2024-02-29T23:59:59Z',
  '1969-12-31T23:59:59.999999Z',
  '2000-02-29T00:00:00Z',
  '1700-01-01T00:00:00Z',
  '2255-06-05T23:47:34.740991Z',
];
const NO_TEXTS = [
  '2026-03-01T12:00:00',
  '2026-02-29T00:00:00Z',
  '1900-02-29T00:00:00Z',
  '2026-13-01T00:00:00Z',
  '2026-00-01T00:00:00Z',
  '2026-04-31T00:00:00Z',
  '2026-03-00T00:00:00Z',
  '2026-03-01T24:00:00Z',
  '2026-03-01T00:60:00Z',
  '2026-03-01T00:00:60Z',
  '2026-03-01T00:00:00.Z',
  '2026-03-01T00:00:00.1234567Z',
  '2026-03-01T00:00:00.12x456Z',
  '2255-06-05T23:47:34.740992Z',
  '1500-01-01T00:00:00Z',
  '1772366400',
  '',
];

test('texts of RFC 3339 with an offset are moments, others are none', () => {
  const columns = [new Utf8(), new Dictionary(new Utf8(), new Int32())];
  for (const type of columns) {
    const column = vectorFromArray([...TEXTS, null, ...NO_TEXTS], type);
    expect(momentsIn(column)).toEqual([
      ...TEXTS.map((text) => parseInstant(text)),
      Number.NaN,
      ...NO_TEXTS.map(() => Number.NaN),
    ]);
  }
});

test('any moment that is written is read', () => {
  const moment = fc.integer({ min: 1 - 2 ** 53, max: 2 ** 53 - 1 });
  fc.assert(
    fc.property(fc.array(moment, { minLength: 1 }), (moments) => {
      const texts = moments.map((value) => formatInstant(value as Micros));
      expect(momentsIn(vectorFromArray(texts, new Utf8()))).toEqual(moments);
    }),
  );
});

const digits = (length: number) =>
  fc.string({
    unit: fc.constantFrom('0', '1', '2', '3', '5', '6', '9'),
    minLength: length,
    maxLength: length,
  });

const slow = (value: string) => {
  try {
    return parseInstant(value);
  } catch {
    return Number.NaN;
  }
};

test('any text that has the shape of a moment is one for both readers, or for none', () => {
  const text = fc
    .tuple(
      fc.constantFrom('19', '20', '17'),
      digits(2),
      digits(2),
      digits(2),
      digits(2),
      digits(2),
      digits(2),
      fc.integer({ min: 0, max: 8 }).chain(digits),
    )
    .map(
      ([century, y, mo, d, h, mi, s, f]) =>
        `${century}${y}-${mo}-${d}T${h}:${mi}:${s}${f && `.${f}`}Z`,
    );
  fc.assert(
    fc.property(fc.array(text, { minLength: 1 }), (texts) => {
      expect(momentsIn(vectorFromArray(texts, new Utf8()))).toEqual(texts.map(slow));
    }),
    { numRuns: 500 },
  );
});
