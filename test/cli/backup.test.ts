import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { openStore } from '../../src/store/store.ts';
import { batchOf, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { run } from './run.ts';
import { line, startServer } from './server.ts';

const clock = new TestClock().read;

/** A data directory with three entities, closed. */
async function filled(): Promise<string> {
  const data = tempDirectory();
  const store = openStore(data, clock);
  store.createView(viewOf('job'));
  const rows = ['a', 'b', 'c'].map((id) => ({ id, event: 1, vector: [1, 2] }));
  await store.commit('job', 'v1', { rows: batchOf(rows) });
  await store.close();
  return data;
}

async function erase(data: string, ...ids: string[]): Promise<void> {
  const store = openStore(data, clock);
  await store.erase({ entity: 'job' }, ids);
  await store.close();
}

async function isErased(data: string, id: string): Promise<boolean> {
  const store = openStore(data, clock);
  const answer = store.version('job', 'v1').erasures.has(id);
  await store.close();
  return answer;
}

test('a running server is backed up by its address, and what comes out of it is a data directory', async () => {
  const backups = tempDirectory();
  const { url } = await startServer({ backup: { directories: [backups] } });
  await run(['push', 'job', '--url', url], { stdin: [line('a', '2026-01-01T00:00:00Z', [1, 2])] });
  const directory = join(backups, 'one');
  const { code, out } = await run(['backup', directory, '--url', url]);
  expect(code).toBe(0);
  expect(out).toMatch(/job@v1\s+1\s+1\s+1\n/);
  expect(out).toMatch(/one: snapshot \d+, \d+ bytes, verified\.\n$/);
  expect((await run(['verify', '--data', directory])).out).toContain('No damage found.');
  const data = join(tempDirectory(), 'restored');
  const restored = await run(['restore', directory, '--data', data, '--no-newer-erasures']);
  expect([restored.code, restored.out]).toEqual([
    0,
    expect.stringMatching(/restored: restored snapshot \d+ of 2\S+, \d+ bytes\.\n$/),
  ]);
  expect((await run(['verify', '--data', data])).code).toBe(0);
});

test('a server that may write no backups says which setting lets it', async () => {
  const { url } = await startServer();
  const target = join(tempDirectory(), 'one');
  const { code, err } = await run(['backup', target, '--url', url]);
  expect([code, existsSync(target)]).toEqual([3, false]);
  expect(err).toContain('backup.directories');
  expect(await run(['backup', target, '--url', 'http://127.0.0.1:1'])).toMatchObject({
    code: 3,
    err: expect.stringContaining('there is no answer from http://127.0.0.1:1') as string,
  });
});

test('a stopped one is backed up by its directory, which nobody else has open', async () => {
  const data = await filled();
  const target = join(tempDirectory(), 'one');
  const { code, out } = await run(['backup', target, '--data', data, '--json']);
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    directory: target,
    versions: [{ feature_view: 'job', version: 'v1', entities: 3, revisions: 3, vectors: 3 }],
  });
  const { data: inUse } = await startServer();
  const refused = await run(['backup', join(tempDirectory(), 'one'), '--data', inUse]);
  expect(refused).toMatchObject({
    code: 2,
    err: expect.stringContaining('STORE_LOCKED') as string,
  });
  const nowhere = await run(['backup', join(tempDirectory(), 'one'), '--data', tempDirectory()]);
  expect(nowhere).toMatchObject({
    code: 2,
    err: expect.stringContaining('STORE_FORMAT') as string,
  });
});

test('a restore asks for what was erased since, and keeps it erased (A8)', async () => {
  const data = await filled();
  const backup = join(tempDirectory(), 'one');
  await run(['backup', backup, '--data', data]);
  await erase(data, 'b');
  const target = join(tempDirectory(), 'restored');
  const unsaid = await run(['restore', backup, '--data', target]);
  expect(unsaid).toMatchObject({
    code: 2,
    err: expect.stringContaining('--erased-from') as string,
  });
  const both = ['--erased-from', data, '--no-newer-erasures'];
  expect(await run(['restore', backup, '--data', target, ...both])).toMatchObject({ code: 2 });
  const { code, out } = await run(['restore', backup, '--data', target, '--erased-from', data]);
  expect([code, out]).toEqual([0, expect.stringContaining('since then that hold: 1.') as string]);
  expect([await isErased(target, 'a'), await isErased(target, 'b')]).toEqual([false, true]);
  const used = await run(['restore', backup, '--data', data]);
  expect(used).toMatchObject({ code: 2, err: expect.stringContaining('--replace') as string });
  const replaced = await run(['restore', backup, '--data', data, '--replace', '--json']);
  const { aside, erasures } = JSON.parse(replaced.out) as { aside: string; erasures: number };
  expect([erasures, existsSync(join(aside, 'tidemark.json'))]).toEqual([1, true]);
  expect(await isErased(data, 'b')).toBe(true);
});

test('a backup with a byte that is not as it was written ends restore and verify with 1', async () => {
  const data = await filled();
  const backup = join(tempDirectory(), 'one');
  await run(['backup', backup, '--data', data]);
  const file = join(backup, 'views/job/v1/data.mdb');
  const bytes = readFileSync(file);
  bytes[9_999]! ^= 1;
  writeFileSync(file, bytes);
  const target = join(tempDirectory(), 'restored');
  const restored = await run(['restore', backup, '--data', target, '--no-newer-erasures']);
  expect(restored).toMatchObject({
    code: 1,
    err: expect.stringContaining('views/job/v1/data.mdb does not have the SHA-256') as string,
  });
  expect(existsSync(join(target, 'tidemark.json'))).toBe(false);
  const verified = await run(['verify', '--data', backup]);
  expect(verified).toMatchObject({ code: 1, out: expect.stringContaining('SHA-256') as string });
});
