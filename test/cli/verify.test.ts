import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { openStore } from '../../src/store/store.ts';
import { batchOf, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { run } from './run.ts';
import { startServer } from './server.ts';

const VECTOR = [1.5, 1_234.567];

/** A data directory with two revisions and one vector, closed. */
async function filledDirectory(): Promise<string> {
  const data = tempDirectory();
  const store = openStore(data, new TestClock().read);
  store.createView(viewOf('job'));
  const rows = batchOf([
    { id: 'a', event: 1, vector: VECTOR },
    { id: 'a', event: 2, vector: null },
  ]);
  await store.commit('job', 'v1', { rows });
  await store.close();
  return data;
}

test('a data directory that is whole is found whole', async () => {
  const data = await filledDirectory();
  const { code, out, err } = await run(['verify', '--data', data]);
  expect(out).toContain('2 revisions, 1 vectors');
  expect(out).toContain('No damage found.');
  expect(err).toBe('');
  expect(code).toBe(0);
  const json = await run(['verify', '--json'], { env: { TIDEMARK_DATA: data } });
  expect(JSON.parse(json.out)).toMatchObject({
    directory: data,
    problems: [],
    checked: { versions: 1, revisions: 2, vectors: 1 },
  });
});

test('damage is told with where it is, and the command ends with 1', async () => {
  const data = await filledDirectory();
  const file = join(data, 'views', 'job', 'v1', 'data.mdb');
  const bytes = readFileSync(file);
  const at = bytes.indexOf(Buffer.from(new Float32Array(VECTOR).buffer));
  bytes[at]! ^= 1;
  writeFileSync(file, bytes);
  const { code, out } = await run(['verify', '--data', data]);
  expect(out).toMatch(/^job@v1: the vector pool: vector \d+ /m);
  expect(out).toContain('Damage found');
  expect(code).toBe(1);
  const json = await run(['verify', '--data', data, '--json']);
  expect(JSON.parse(json.out).problems).toHaveLength(1);
  expect(json.code).toBe(1);
});

test('a directory that a server has open is verified beside it', async () => {
  const { data } = await startServer();
  const { code, err } = await run(['verify', '--data', data]);
  expect(err).toContain('totals were not compared');
  expect(code).toBe(0);
});
