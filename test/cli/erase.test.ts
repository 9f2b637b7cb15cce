import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { openStore } from '../../src/store/store.ts';
import { TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { run } from './run.ts';
import { line, startServer } from './server.ts';

interface Receipts {
  erasures: {
    erasure_id: string;
    entities: number;
    stages: { compacted: { at: string | null } };
  }[];
}

test('erase takes ids from the command line and from a file, and lift allows them again (A8)', async () => {
  const { url } = await startServer();
  const records = ['a', 'b', 'c'].map((id) => line(id, '2026-01-01T00:00:00Z', [1, 2])).join('');
  await run(['push', 'job', '--url', url], { stdin: [records] });
  const file = join(tempDirectory(), 'ids.txt');
  writeFileSync(file, 'b\r\n\nnobody\n');
  const erased = await run(['erase', 'job', 'a', '--ids-from', file, '--json', '--url', url]);
  expect(erased.code).toBe(0);
  const { erasures } = JSON.parse(erased.out) as Receipts;
  expect(erasures).toMatchObject([{ entities: 3, stages: { compacted: { at: null } } }]);
  const got = await run(['get', 'job', 'a', 'b', 'c', '--url', url]);
  expect(got.out).toMatch(/a\s+ERASED[^]*b\s+ERASED[^]*c\s+PRESENT/);
  const compacted = await run(['compact', 'job', '--url', url]);
  expect(compacted.out).toContain('job@v1');
  const shown = await run(['erasures', erasures[0]!.erasure_id, '--json', '--url', url]);
  expect((JSON.parse(shown.out) as Receipts).erasures[0]!.stages.compacted.at).not.toBeNull();
  const lifted = await run(['erase', 'job', '--ids-from', '-', '--lift', '--url', url], {
    stdin: ['a\nb\n'],
  });
  expect(lifted.err).toContain('2 entities of the type job may be stored again');
  const again = await run(['get', 'job', 'a', '--url', url]);
  expect(again.out).toMatch(/a\s+NOT_FOUND/);
});

test('erasures say what is out of reach of the newest of them', async () => {
  const { url } = await startServer();
  await run(['erase', 'job', 'a', '--url', url]);
  await run(['erase', 'job', 'b', '--url', url]);
  const { out, err } = await run(['erasures', '--url', url]);
  const seqs = JSON.parse((await run(['erasures', '--json', '--url', url])).out) as {
    erasures: { seq: number }[];
  };
  expect(out.match(/ job /g)).toHaveLength(2);
  const newest = Math.max(...seqs.erasures.map(({ seq }) => seq));
  expect(err).toContain(`have not followed up to seq ${newest},`);
});

test('a line with blanks at its ends is refused with its number, unless the id is exactly that', async () => {
  const { url } = await startServer();
  const records = ['a', 'b', 'b '].map((id) => line(id, '2026-01-01T00:00:00Z', [1, 2])).join('');
  await run(['push', 'job', '--url', url], { stdin: [records] });
  const erase = ['erase', 'job', '--ids-from', '-', '--url', url];
  const refused = await run(erase, { stdin: ['a\nb \n'] });
  expect(refused.code).toBe(2);
  expect(refused.err).toContain('line 2 of - begins or ends with white space: "b "');
  const statuses = async () => (await run(['get', 'job', 'a', 'b', 'b ', '--url', url])).out;
  expect(await statuses()).not.toContain('ERASED');
  expect((await run([...erase, '--exact'], { stdin: ['b \r\n'] })).code).toBe(0);
  expect(await statuses()).toMatch(/a\s+PRESENT[^]*b\s+PRESENT[^]*b\s+ERASED/);
});

test('a file that is not there is told in one line, with what it should be', async () => {
  const file = join(tempDirectory(), 'none.txt');
  const erased = await run(['erase', 'job', '--ids-from', file]);
  expect(erased).toEqual({
    code: 2,
    out: '',
    err: `tidemark: ${file} cannot be read (ENOENT: no such file or directory): name a file with one id a line, or - for the standard input\n`,
  });
  const pushed = await run(['push', 'job', file]);
  expect([pushed.code, pushed.err.split('\n')]).toEqual([
    2,
    [expect.stringContaining('name a file with one record a line, or -') as string, ''],
  ]);
});

test('erase --compact leaves nothing to wait for (A8)', async () => {
  const { url } = await startServer();
  const { out } = await run(['erase', 'job', 'a', '--compact', '--json', '--url', url]);
  expect((JSON.parse(out) as Receipts).erasures[0]!.stages.compacted.at).not.toBeNull();
});

test('erase without ids, or of no entity type, erases nothing and says so', async () => {
  const { url } = await startServer();
  expect(await run(['erase', 'job', '--url', url])).toMatchObject({ code: 2 });
  const refused = await run(['erase', 'jobs', 'a', '--url', url]);
  expect(refused).toMatchObject({ code: 3 });
  expect(refused.err).toContain('no feature view has the entity type');
});

test('compact works on the directory of a stopped server, and not on one that is in use', async () => {
  const { data } = await startServer();
  const inUse = await run(['compact', '--data', data]);
  expect(inUse).toMatchObject({ code: 2 });
  expect(inUse.err).toContain('STORE_LOCKED');
  const directory = tempDirectory();
  const store = openStore(directory, new TestClock().read);
  store.createView(viewOf('job'));
  await store.close();
  const done = await run(['compact', '--data', directory, '--json']);
  expect(JSON.parse(done.out)).toMatchObject({
    compactions: [{ feature_view: 'job', version: 'v1', vectors_dropped: 0 }],
  });
});
