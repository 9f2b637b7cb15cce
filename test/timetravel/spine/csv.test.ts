import fc from 'fast-check';
import { expect, test } from 'vitest';

import { piecesOf, rowsOf, typesOf, windowOf, windowsOf } from './spine.ts';

test('columns of CSV are typed; an empty field is null, a quoted one the empty text', async () => {
  const window = await windowOf(
    '\uFEFFid,n,x,ok,code,note\r\na,1,1.5,true,007,""\r\n"b,""c""\nd",-2,,False,1e3x,\r\n',
    'csv',
  );
  expect(typesOf(window)).toEqual({
    id: 'Utf8',
    n: 'Int64',
    x: 'Float64',
    ok: 'Bool',
    code: 'Utf8',
    note: 'Utf8',
  });
  expect(rowsOf([window])).toEqual([
    { id: 'a', n: 1n, x: 1.5, ok: true, code: '007', note: '' },
    { id: 'b,"c"\nd', n: -2n, x: null, ok: false, code: '1e3x', note: null },
  ]);
});

test('codes with leading zeros, and more digits than a number keeps, stay texts', async () => {
  const window = await windowOf('zip,wide\n01234,12345678901234567890\n', 'csv');
  expect(rowsOf([window])).toEqual([{ zip: '01234', wide: '12345678901234567890' }]);
});

test('a record may have line breaks within quotes; pieces and line numbers count by lines', async () => {
  const pieces = await piecesOf('a,b\n1,"x\ny\n"\n\n2,z\n', 'csv', { rowsMax: 1 });
  const windows = await windowsOf(pieces);
  expect(rowsOf(windows)).toEqual([
    { a: 1n, b: 'x\ny\n' },
    { a: 2n, b: 'z' },
  ]);
  expect(windows.map((window) => window.nameOf(0))).toEqual(['line 2', 'line 6']);
});

test.each([
  ['a,b\n1\n', 'line 2 has 1 fields, expected 2'],
  ['a,b\n1,2\n1,2,3\n', 'line 3 has 3 fields, expected 2'],
  ['a,b\n1,"2\n', 'line 2: a quote is opened and never closed'],
  ['a,b\n1,2\n3,"4"5\n', 'the quotes of the CSV are not in order'],
  ['a,b\n1,2\n3"x"y,4\n', 'the quotes of the CSV are not in order'],
  ['a,,c\n', 'column 2 of the CSV has no name'],
  ['a,"",c\n', 'column 2 of the CSV has no name'],
  ['', 'the CSV is empty, expected a first line with the names of its columns'],
  ['\n\r\n', 'the CSV is empty'],
  ['a,b,a\n', 'the spine has two columns a'],
  [Buffer.from([0x61, 0x0a, 0xff]), 'not UTF-8, at or after line 2'],
])('%j is refused: %s', async (spine, message) => {
  await expect(windowOf(spine, 'csv')).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringContaining(message),
  });
});

test('a value that does not fit its column is refused with its line and the remedy', async () => {
  const pieces = await piecesOf('id,label\na,1\nb,2\nc,x\n', 'csv', { rowsMax: 2 });
  await expect(windowsOf(pieces)).rejects.toThrow(
    'line 4: column label: got "x", which is no int64, as the first rows of the spine or ' +
      'column_types have it: say column_types=label:string',
  );
});

test('column_types that names no column is refused', async () => {
  await expect(piecesOf('a\n1\n', 'csv', { columnTypes: { b: 'string' } })).rejects.toThrow(
    'column_types has b, which the CSV has not: a',
  );
});

test('a CSV of a header alone is one piece of no rows, with the columns that it names', async () => {
  const window = await windowOf('id,at', 'csv');
  expect([window.batch.numRows, window.batch.schema.names]).toEqual([0, ['id', 'at']]);
});

const quoted = (field: string | null) => (field === null ? '' : `"${field.replaceAll('"', '""')}"`);

test('any texts, quoted as RFC 4180 has it, come back from pieces of any size', async () => {
  const text = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', ' ', 'é', '😀', '1') });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.option(text), text), { maxLength: 20 }),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 60 }),
      async (rows, rowsMax, chunk) => {
        const spine = ['a,b', ...rows.map((row) => row.map(quoted).join(','))].join('\n');
        const columnTypes = { a: 'string', b: 'string' } as const;
        const pieces = await piecesOf(spine, 'csv', { rowsMax, columnTypes }, chunk);
        expect(rowsOf(await windowsOf(pieces))).toEqual(rows.map(([a, b]) => ({ a, b })));
      },
    ),
  );
});
