import fc from 'fast-check';
import { expect, test } from 'vitest';

import { idsOf } from '../../../src/timetravel/spine/ids.ts';
import { momentsOf } from '../../../src/timetravel/spine/moments.ts';
import { readText } from '../../../src/timetravel/spine/text.ts';
import type { TextPiece } from '../../../src/timetravel/spine/window.ts';
import { LIMITS, piecesOf, rowsOf, typesOf, windowOf, windowsOf } from './spine.ts';

test('columns get the narrowest type that holds all values of the first piece', async () => {
  const window = await windowOf(
    `{"id":"a","n":1,"x":1,"ok":true,"mixed":1,"deep":{"a":[1]},"none":null}
     {"id":"b","n":-9007199254740991,"x":1.5,"ok":false,"mixed":"x","deep":[2]}`,
    'ndjson',
  );
  expect(typesOf(window)).toEqual({
    id: 'Utf8',
    n: 'Int64',
    x: 'Float64',
    ok: 'Bool',
    mixed: 'Utf8',
    deep: 'Utf8',
    none: 'Utf8',
  });
  expect(rowsOf([window])).toEqual([
    { id: 'a', n: 1n, x: 1, ok: true, mixed: '1', deep: '{"a":[1]}', none: null },
    { id: 'b', n: -9007199254740991n, x: 1.5, ok: false, mixed: 'x', deep: '[2]', none: null },
  ]);
});

test('a column is a timestamp only where column_types says so', async () => {
  const line = '{"at":"2026-03-01T12:00:00.000001Z","bought":"2026-03-01T12:00:00+01:00"}';
  const window = await windowOf(line, 'ndjson', { columnTypes: { bought: 'timestamp' } });
  expect(typesOf(window)).toEqual({ at: 'Utf8', bought: 'Timestamp<MICROSECOND, UTC>' });
  expect(window.batch.getChild('bought')!.data[0]!.values).toEqual(
    new BigInt64Array([BigInt(Date.parse('2026-03-01T11:00:00Z')) * 1_000n]),
  );
});

test('blank lines are no rows, and lines keep their numbers', async () => {
  const pieces = await piecesOf('\n{"a":1}\r\n  \n\n{"a":2}\n{"a":3}', 'ndjson', { rowsMax: 1 });
  const windows = await windowsOf(pieces);
  expect(pieces.map(({ firstRow, rows }) => [firstRow, rows])).toEqual([
    [0, 1],
    [1, 1],
    [2, 1],
  ]);
  expect(windows.map((window) => window.nameOf(0))).toEqual(['line 2', 'line 5', 'line 6']);
  expect(rowsOf(windows)).toEqual([{ a: 1n }, { a: 2n }, { a: 3n }]);
});

test.each([
  ['{"a":1}\n{"a":\n', 'line 2 is not JSON'],
  ['{"a":1}\n[1]', 'line 2 is not a JSON object'],
  ['{"a":1}\n\n7', 'line 3 is not a JSON object'],
  [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'line 1 is not UTF-8'],
])('%j is refused: %s', async (spine, message) => {
  await expect(piecesOf(spine, 'ndjson')).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringContaining(message),
  });
});

test('a line over the limit is refused, however it comes', async () => {
  const spine = `{"a":1}\n{"a":"${'x'.repeat(100)}"}\n`;
  for (const chunk of [1, 50, 1_000]) {
    await expect(piecesOf(spine, 'ndjson', { lineBytesMax: 50 }, chunk)).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      message: 'line 2 is longer than the limit of 50 bytes',
    });
  }
  expect(await piecesOf(spine, 'ndjson', { lineBytesMax: 108 })).toHaveLength(1);
});

test.each([
  [
    '{"label":1}\n{"label":"x"}',
    'line 2: column label: got "x", which is no int64',
    'label:string',
  ],
  ['{"label":1}\n{"label":1.5}', 'line 2: column label: got 1.5', 'label:float64'],
  ['{"label":true}\n{"label":1}', 'line 2: column label: got 1,', 'label:json'],
  [
    '{"label":12345678901234567890}',
    'line 1: column label: got 12345678901234567000',
    'label:float64',
  ],
  ['{"label":"a"}\n{"label":"\\ud800"}', 'line 2: column label', 'label:json'],
  ['{"label":1}\n{"label":1,"new":2}', 'line 2 has a column new', 'new:string'],
])(
  '%s: a value that does not fit its column is refused with its line and the remedy',
  async (spine, what, remedy) => {
    const pieces = await piecesOf(spine, 'ndjson', { rowsMax: 1 });
    await expect(windowsOf(pieces)).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringContaining(what),
    });
    await expect(windowsOf(pieces)).rejects.toThrow(`column_types=${remedy}`);
  },
);

test('read loosely, rows pass as they were written, whatever columns and values they have', async () => {
  const lines = [
    '{ "id": 7, "x": 1.10, "big": 12345678901234567890 }',
    '{"id":"a","new":[1]}',
    '{}',
  ];
  const pieces = await piecesOf(`  ${lines.join('  \r\n\n')}`, 'ndjson', { rowsMax: 2 });
  const windows = await windowsOf(pieces, { loose: true });
  expect(windows.flatMap(({ lines: own }) => own!.map(String))).toEqual([
    '{ "id": 7, "x": 1.10, "big": 12345678901234567890',
    '{"id":"a","new":[1]',
    '{',
  ]);
  expect(
    windows.flatMap((window) => {
      const { ids, ordinals } = idsOf(window, 'id');
      return Array.from(ordinals, (ordinal) => ids[ordinal]);
    }),
  ).toEqual(['7', 'a', undefined]);
});

test('read loosely, what is no id or no time is none, and does not end the join', async () => {
  const values = [
    'true',
    '1.5',
    '12345678901234567890',
    '{"a":1}',
    '"\\ud800"',
    '""',
    'null',
    '"a\\u0000"',
  ];
  const spine = values.map((value) => `{"id":${value},"at":${value}}`).join('\n');
  const window = await windowOf(spine, 'ndjson', {}, { loose: true });
  expect([...idsOf(window, 'id').ordinals]).toEqual(values.map(() => -1));
  expect([...momentsOf(window, 'at')]).toEqual(values.map(() => Number.NaN));
});

test('an empty spine is one piece of no rows', async () => {
  for (const spine of ['', '\n \n']) {
    const window = await windowOf(spine, 'ndjson');
    expect([window.batch.numRows, window.batch.schema.names]).toEqual([0, []]);
  }
});

test('a column without a name passes through lines, and is no column of an answer in columns', async () => {
  const spine = '{"id":"a"}\n{"":1}';
  const { lines } = await windowOf(spine, 'ndjson', {}, { loose: true });
  expect(lines!.map(String)).toEqual(['{"id":"a"', '{"":1']);
  await expect(windowOf(spine, 'ndjson')).rejects.toThrow('column 2 of the spine has no name');
});

test('a column __proto__ is a column like another', async () => {
  const window = await windowOf('{"__proto__":"a","constructor":"b"}', 'ndjson');
  expect(window.batch.getChild('__proto__')!.get(0)).toBe('a');
  expect(window.batch.getChild('constructor')!.get(0)).toBe('b');
});

test('rows in pieces of any size, from chunks of any size, are those of the whole', async () => {
  const row = fc.record({
    id: fc.oneof(fc.string({ unit: 'binary' }), fc.constant(null)),
    n: fc.maxSafeInteger(),
    x: fc.double({ noNaN: true, noDefaultInfinity: true }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(row, { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 20, max: 2_000 }),
      fc.integer({ min: 1, max: 100 }),
      async (rows, rowsMax, bytesMax, chunk) => {
        const spine = rows.map((value) => `${JSON.stringify(value)}\n`).join('');
        const columnTypes = { id: 'string', n: 'int64', x: 'float64' } as const;
        const limits = { ...LIMITS, rowsMax, bytesMax, columnTypes };
        const pieces = await piecesOf(spine, 'ndjson', limits, chunk);
        const expected = rows.map(({ id, n, x }) => ({
          id,
          n: BigInt(n),
          x: JSON.parse(JSON.stringify(x)) as number,
        }));
        expect(rowsOf(await windowsOf(pieces))).toEqual(expected);
        expect(pieces.every((piece) => piece.rows <= rowsMax)).toBe(true);
      },
    ),
  );
});

test('rows that each have columns of their own are refused before they fill the memory', async () => {
  let next = 0;
  const row = () => `{${Array.from({ length: 90 }, () => `"c${next++}":1`).join(',')}}\n`;
  const lines = Array.from({ length: 200 }, row);
  const refused = {
    code: 'LIMIT_EXCEEDED',
    message: expect.stringContaining('16384 columns') as string,
  };
  await expect(piecesOf(lines.join(''), 'ndjson', {}, 2 ** 16)).rejects.toMatchObject(refused);
  // Of later rows nobody has looked at the columns before they are read.
  const pieces = await piecesOf(`{"id":1}\n${lines.join('')}`, 'ndjson', { rowsMax: 1 }, 2 ** 16);
  const [piece] = pieces as TextPiece[];
  const bytes = Uint8Array.from(Buffer.from(lines.join('')));
  expect(() => readText({ ...piece!, rows: 200, bytes }, { loose: true })).toThrow(/16384 columns/);
});
