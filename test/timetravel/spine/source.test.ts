import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { openSpineFile, readSpineStream } from '../../../src/timetravel/spine/source.ts';
import { tempDirectory } from '../../support/temp.ts';
import { LIMITS, rowsOf, windowsOf } from './spine.ts';

test('a file of text is read as its stream is, as often as it is asked for, from any border', async () => {
  const path = join(tempDirectory(), 'spine.ndjson');
  writeFileSync(path, Array.from({ length: 10 }, (_, n) => `{"n":${n}}\n`).join(''));
  const source = await openSpineFile(path, 'ndjson', { ...LIMITS, rowsMax: 3 });
  expect(source.rows).toBeUndefined();
  for (const skipRows of [0, 3, 9]) {
    // oxlint-disable-next-line no-await-in-loop
    const pieces = await Array.fromAsync(source.pieces(skipRows));
    // oxlint-disable-next-line no-await-in-loop
    const rows = rowsOf(await windowsOf(pieces)).map(({ n }) => Number(n));
    expect(rows).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].slice(skipRows));
  }
  expect(source.rows).toBe(10);
});

test.each([
  ['ndjson', '{"a":1}\n'],
  ['csv', '1\n'],
] as const)('a source of %s that is closed on the way reads no further', async (format, line) => {
  let isClosed = false;
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield Buffer.from(line);
    } finally {
      isClosed = true;
    }
  }
  const source = readSpineStream(endless(), format, { ...LIMITS, rowsMax: 2 });
  const first = await source.pieces().next();
  expect(first.value).toMatchObject({ rows: 2 });
  await source.close();
  expect(isClosed).toBe(true);
});
