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
