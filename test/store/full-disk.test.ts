import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

import { beforeEach, expect, test, vi } from 'vitest';

import { verifyStore } from '../../src/store/verify.ts';
import { batchOf, testStore } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const disk = vi.hoisted(() => ({ freeShare: 1 }));
vi.mock('node:fs', async (original) => ({
  ...(await original<typeof import('node:fs')>()),
  statfsSync: () => ({ bsize: 4_096, blocks: 1e6, bavail: 1e6 * disk.freeShare }),
}));

beforeEach(() => {
  disk.freeShare = 1;
});

test('a compaction for which there is no room is given up, the old file serves, and another one succeeds when there is', async () => {
  const directory = tempDirectory();
  // A limit on the size of files is what a test can have of a full disk, and can lift.
  const script = `
    import { execFileSync } from 'node:child_process';
    import { readdirSync } from 'node:fs';
    import { openStore } from ${JSON.stringify(join(import.meta.dirname, '../../src/store/store.ts'))};
    import { batchOf, viewOf } from ${JSON.stringify(join(import.meta.dirname, '../support/store.ts'))};
    const store = openStore(${JSON.stringify(directory)}, () => 0);
    store.createView(viewOf('job', 256));
    const limit = (bytes) => execFileSync('prlimit', ['--pid', process.pid, '--fsize=' + bytes + ':']);
    const push = async (count) => {
      const rows = Array.from({ length: count }, (_, event) => ({ id: 'a', event, vector: Array(256).fill(event) }));
      await store.commit('job', 'v1', { rows: batchOf(rows, 256) });
    };
    await push(3000);
    limit(2_000_000);
    const { code } = await store.compact('job', 'v1').catch((error) => error);
    const files = readdirSync(${JSON.stringify(join(directory, 'views/job/v1'))});
    const { revisions } = store.version('job', 'v1').counters();
    limit('unlimited');
    await push(3001);
    await store.compact('job', 'v1');
    await store.close();
    console.log(JSON.stringify({ code, files, revisions }));
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let said = '';
  child.stdout.on('data', (bytes: Buffer) => (said += bytes.toString()));
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(JSON.parse(said)).toEqual({
    code: 'STORE_UNAVAILABLE',
    files: ['data.mdb', 'data.mdb-lock'],
    revisions: 3_000,
  });
  const { problems, checked } = await verifyStore(directory);
  expect({ problems, revisions: checked.revisions }).toEqual({ problems: [], revisions: 3_001 });
});

test('a compaction leaves the last of the disk to those who write', async () => {
  const store = testStore();
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'a', event: 1, vector: [1, 1] }]) });
  disk.freeShare = 0.019;
  await expect(store.compact('job', 'v1')).rejects.toThrow(/is nearly full: .* left to those/);
  const folder = join(store.version('job', 'v1').environment.file, '..');
  expect(readdirSync(folder)).toEqual(['data.mdb', 'data.mdb-lock']);
  disk.freeShare = 0.021;
  expect(await store.compact('job', 'v1')).toMatchObject({ revisions_dropped: 0 });
});
