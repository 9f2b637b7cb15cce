import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { RevisionBatch } from '../../src/store/batch.ts';
import { openStore } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { batchOf, TestClock, testStore, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const clock = new TestClock().read;
const one = (id: string, event: number) => batchOf([{ id, event, vector: [event, 1] }]);

test('a commit is given a snapshot that holds it, and snapshots never go back (A9)', async () => {
  const directory = tempDirectory();
  let store = openStore(directory, clock);
  store.createView(viewOf('job'));
  const first = await store.commit('job', 'v1', { rows: one('a', 1) });
  const second = await store.commit('job', 'v1', { rows: one('a', 2) });
  expect(second.snapshot).toBeGreaterThan(first.snapshot);
  expect(store.snapshot).toBe(second.snapshot);
  await store.close();
  store = openStore(directory, clock);
  onTestFinished(async () => store.close());
  expect(store.snapshot).toBeGreaterThanOrEqual(second.snapshot);
  const third = await store.commit('job', 'v1', { rows: one('a', 3) });
  const seqs = store
    .version('job', 'v1')
    .log.read(0, third.snapshot, 10)
    .map(({ seq }) => seq);
  expect(new Set(seqs).size).toBe(3);
  expect(seqs[2]).toBeGreaterThan(second.snapshot);
});

test('commits asked at once are all answered, each with its own outcomes', async () => {
  const store = testStore();
  store.createView(viewOf('member'));
  const results = await Promise.all(
    Array.from({ length: 50 }, async (_, at) =>
      store.commit(at % 3 === 0 ? 'member' : 'job', 'v1', {
        rows: batchOf([
          { id: 'a', event: at, vector: [at, 0] },
          { id: 'a', event: at, vector: [at, 0] },
        ]),
      }),
    ),
  );
  for (const { outcomes } of results) expect(outcomes).toEqual(['latest', 'duplicate']);
  expect(store.snapshot).toBe(Math.max(...results.map(({ snapshot }) => snapshot)));
});

test('created times never go backwards, also when the clock does', async () => {
  const moving = new TestClock(5_000);
  const store = testStore(viewOf('job'), moving);
  await store.commit('job', 'v1', { rows: one('a', 1) });
  moving.now = 1_000;
  await store.commit('job', 'v1', { rows: one('a', 2) });
  const created = store
    .version('job', 'v1')
    .log.read(0, store.snapshot, 10)
    .map((change) => change.created);
  expect(created).toEqual([5_000, 5_000]);
});

test('an offset commits with its rows and dead letters, once, and a zombie changes nothing (A12)', async () => {
  const store = testStore();
  const version = store.version('job', 'v1');
  const partition = { source: 'jobs', topic: 'changes', partition: 2 };
  const request = (expected: bigint | undefined, next: bigint) => {
    const rows = new RevisionBatch(8);
    rows.nextPayload().set(new Uint8Array(8));
    rows.addRow('a', Number(next), Number(next), rows.addFilled(), Number(next) - 1);
    const position = { ...partition, offset: Number(next) - 2 };
    return {
      rows,
      offset: { ...partition, expected, next },
      deadLetters: [
        {
          position,
          reason: 'BAD_VECTOR',
          message: 'no',
          key: null,
          value: null,
          headers: {},
          timestamp: 1,
        },
      ],
    };
  };
  expect(await store.commit('job', 'v1', request(undefined, 5n))).toMatchObject({ fenced: false });
  expect(await store.commit('job', 'v1', request(undefined, 5n))).toMatchObject({
    fenced: true,
    outcomes: [],
  });
  expect(await store.commit('job', 'v1', request(4n, 9n))).toMatchObject({ fenced: true });
  expect(version.offsets.next(partition)).toBe(5n);
  expect(version.offsets.next({ ...partition, partition: 3 })).toBeUndefined();
  expect(version.counters().revisions).toBe(1);
  expect(version.deadLetters.list(10)).toMatchObject([
    { position: { offset: 3 }, reason: 'BAD_VECTOR' },
  ]);
  expect(version.log.read(0, store.snapshot, 10)).toMatchObject([
    { entityId: 'a', position: { ...partition, offset: 4 } },
  ]);
});

test('equal inputs share one vector, and each event is a revision all the same (A4)', async () => {
  const store = testStore();
  const hash = new Uint8Array(16).fill(7);
  const fresh = new RevisionBatch(8);
  fresh.nextPayload().set(new Uint8Array(new Float32Array([1, 2]).buffer));
  const payload = fresh.addFilled(hash);
  fresh.addRow('a', 1, 1, payload);
  fresh.addRow('b', 1, 1, payload);
  await store.commit('job', 'v1', { rows: fresh });
  const pooled = new RevisionBatch(8);
  expect(store.version('job', 'v1').copyPooled(hash, pooled.nextPayload())).toBe(true);
  const again = pooled.addFilled(hash);
  pooled.addRow('c', 2, 2, again);
  pooled.addRow('a', 3, 3, again);
  await store.commit('job', 'v1', { rows: pooled });
  expect(store.version('job', 'v1').counters()).toMatchObject({
    revisions: 4,
    entities: 3,
    nextVectorId: 1,
  });
});

test('an input whose vector came out another time with another last bit is a duplicate all the same (A4)', async () => {
  const store = testStore();
  for (const last of [2, 2.000_000_2]) {
    const rows = new RevisionBatch(8);
    rows.nextPayload().set(new Uint8Array(new Float32Array([1, last]).buffer));
    rows.addRow('a', 1, 1, rows.addFilled(new Uint8Array(16).fill(7)));
    const { outcomes } = await store.commit('job', 'v1', { rows });
    expect(outcomes).toEqual([last === 2 ? 'latest' : 'duplicate']);
  }
});

test('a view or a version that is there is not created again, nor one that differs in case alone', async () => {
  const store = testStore();
  await store.commit('job', 'v1', { rows: one('a', 1) });
  const { v1 } = viewOf('job').versions;
  expect(() => store.createView(viewOf('job'))).toThrow('job is there already');
  expect(() => store.createView(viewOf('JOB'))).toThrow('job is there already');
  expect(() => store.addVersion('job', v1!)).toThrow('job@v1 is there already');
  expect(() => store.addVersion('job', { ...v1!, version: 'V1' })).toThrow('is there already');
  expect(store.version('job', 'v1').counters().revisions).toBe(1);
});

test('a view that is being dropped is gone at once, and its name is free when it is done', async () => {
  const store = testStore();
  const commit = store.commit('job', 'v1', { rows: one('a', 1) });
  const drop = store.dropView('job');
  await expect(store.dropView('job')).rejects.toThrow('there is no feature view');
  expect(() => store.createView(viewOf('job'))).toThrow('is being dropped');
  expect((await commit).outcomes).toEqual(['latest']);
  await drop;
  store.createView(viewOf('job'));
  await store.commit('job', 'v1', { rows: one('b', 1) });
  expect(store.version('job', 'v1').counters().revisions).toBe(1);
});

test('a drop ends, however much others go on writing', async () => {
  const store = testStore();
  const state = { dropped: false, written: 0 };
  async function write(view: string): Promise<void> {
    while (!state.dropped) {
      await store.commit(view, 'v1', { rows: one('a', ++state.written) });
    }
  }
  for (const name of ['member', 'resume']) store.createView(viewOf(name));
  // While one of them is being committed, the other one waits: there is always something to do.
  const writers = ['member', 'resume', 'member', 'resume'].map(write);
  await store.dropView('job');
  state.dropped = true;
  await Promise.all(writers);
  expect(state.written).toBeGreaterThan(0);
});

test('a drop that could not be finished does not take a later view of that name with it', async () => {
  const directory = tempDirectory();
  let store = openStore(directory, clock);
  store.createView(viewOf('job'));
  // As a crash leaves it, or an unlink that fails: forgotten, the files still there.
  store.catalogue.drop('job', { seq: 100, created: clock() });
  store.createView(viewOf('job'));
  await store.commit('job', 'v1', { rows: one('a', 1) });
  await store.close();
  store = openStore(directory, clock);
  onTestFinished(async () => store.close());
  expect(store.version('job', 'v1').counters().revisions).toBe(1);
});

test('a version that lost its file is not opened as an empty one', async () => {
  const directory = tempDirectory();
  const store = openStore(directory, clock);
  store.createView(viewOf('job'));
  await store.close();
  rmSync(join(directory, 'views/job/v1'), { recursive: true });
  expect(() => openStore(directory, clock)).toThrow('job@v1 has lost its file');
  expect((await verifyStore(directory)).problems).toMatchObject([{ where: 'job@v1' }]);
});

test('what a kill -9 left committed and not flushed is not served: a power loss would take it back (A9)', async () => {
  const running = tempDirectory();
  const directory = tempDirectory();
  const file = 'views/job/v1/data.mdb';
  let store = openStore(running, clock);
  store.createView(viewOf('job'));
  await store.commit('job', 'v1', { rows: one('a', 1) });
  // lmdb's mark of its last flush: the second half of the first page.
  const flushed = readFileSync(join(running, file)).subarray(2_048, 4_096);
  await store.commit('job', 'v1', { rows: one('b', 1) });
  cpSync(running, directory, { recursive: true });
  await store.close();
  const bytes = readFileSync(join(directory, file));
  flushed.copy(bytes, 2_048);
  writeFileSync(join(directory, file), bytes);
  store = openStore(directory, clock);
  expect(store.version('job', 'v1').counters().revisions).toBe(1);
  await store.commit('job', 'v1', { rows: one('c', 1) });
  await store.close();
  expect((await verifyStore(directory)).problems).toEqual([]);
});

test('what a full disk refuses is not stored, and the rest goes on (A9)', async () => {
  const directory = tempDirectory();
  // A limit on the size of files is what a test can have of a full disk.
  const script = `
    import { openStore } from ${JSON.stringify(join(import.meta.dirname, '../../src/store/store.ts'))};
    import { batchOf, viewOf } from ${JSON.stringify(join(import.meta.dirname, '../support/store.ts'))};
    const store = openStore(${JSON.stringify(directory)}, () => 0);
    store.createView(viewOf('job', 256));
    let event = 0;
    let stored = 0;
    async function push(count) {
      const rows = Array.from({ length: count }, () => ({ id: 'a', event: ++event, vector: Array(256).fill(event) }));
      const { outcomes } = await store.commit('job', 'v1', { rows: batchOf(rows, 256) });
      stored += outcomes.length;
    }
    let refused;
    while (refused === undefined) await push(100).catch((error) => (refused = error));
    const together = await Promise.allSettled([push(100), push(100)]);
    await push(1);
    await store.close();
    console.log(JSON.stringify({ stored, code: refused.code, together: together.map(({ status }) => status) }));
  `;
  const child = spawn(
    'bash',
    ['-c', 'ulimit -f 2048; exec "$0" "$@"', process.execPath, '--input-type=module', '-e', script],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let said = '';
  child.stdout.on('data', (bytes: Buffer) => (said += bytes.toString()));
  expect(await once(child, 'close')).toEqual([0, null]);
  const { stored, ...rest } = JSON.parse(said) as { stored: number };
  expect(rest).toEqual({ code: 'STORE_UNAVAILABLE', together: ['rejected', 'rejected'] });
  const { problems, checked } = await verifyStore(directory);
  expect({ problems, revisions: checked.revisions }).toEqual({ problems: [], revisions: stored });
});

test('a view and all that it held are gone when it is dropped, and its name is free', async () => {
  const store = testStore();
  await store.commit('job', 'v1', { rows: one('a', 1) });
  await store.dropView('job');
  expect(() => store.catalogue.mustGetView('job')).toThrow('there is no feature view');
  store.createView(viewOf('job', 3));
  expect(store.version('job', 'v1').counters().revisions).toBe(0);
});

test('a second writer on the same directory is refused, and a kill -9 of the first lets it in', async () => {
  const directory = tempDirectory();
  const script = `
    import { openStore } from ${JSON.stringify(join(import.meta.dirname, '../../src/store/store.ts'))};
    openStore(${JSON.stringify(directory)}, () => 0);
    console.log('open');
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  expect(() => openStore(directory, clock)).toThrow(`pid ${child.pid}`);
  child.kill('SIGKILL');
  await once(child, 'exit');
  const store = openStore(directory, clock);
  expect(() => openStore(directory, clock)).toThrow('open in another process');
  await store.close();
  await openStore(directory, clock).close();
});

test('a directory of another format version is refused with what to do', async () => {
  const directory = tempDirectory();
  await openStore(directory, clock).close();
  const path = join(directory, 'tidemark.json');
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ format_version: 3 });
  writeFileSync(path, '{"format_version": 6}');
  expect(() => openStore(directory, clock)).toThrow('written by a newer Tidemark');
  writeFileSync(path, '{"format_version": 0}');
  expect(() => openStore(directory, clock)).toThrow('restore a backup');
});

test('a directory with other things in it is not taken for a data directory', () => {
  const directory = tempDirectory();
  mkdirSync(join(directory, 'photos'));
  expect(() => openStore(directory, clock)).toThrow('not a Tidemark data directory');
});

test('a directory whose claim was cut short is claimed again', async () => {
  const directory = tempDirectory();
  writeFileSync(join(directory, 'tidemark.json.new'), '{"form');
  const store = openStore(directory, clock);
  expect(store.snapshot).toBe(0);
  await store.close();
});

test('a file that was cut short is refused before it is mapped, and verify says so', async () => {
  const directory = tempDirectory();
  const store = openStore(directory, clock);
  store.createView(viewOf('job'));
  await store.commit('job', 'v1', { rows: one('a', 1) });
  await store.close();
  const file = join(directory, 'views/job/v1/data.mdb');
  for (const length of [20_000, 5_000, 100, 0]) {
    truncateSync(file, length);
    expect(() => openStore(directory, clock)).toThrow('cut short');
    const [problem] = (await verifyStore(directory)).problems;
    expect(problem!.where).toMatch(/^job@v1/);
  }
  truncateSync(join(directory, 'catalogue/data.mdb'), 5_000);
  expect(() => openStore(directory, clock)).toThrow('cut short');
});

test('a view whose creation a crash interrupted leaves nothing behind', async () => {
  const directory = tempDirectory();
  let store = openStore(directory, clock);
  store.createView(viewOf('job'));
  store.catalogue.putGeneration('member', 'v1', { number: 0, since: 1, created: clock() });
  mkdirSync(join(directory, 'views/member/v1'), { recursive: true });
  store.catalogue.putGeneration('job', 'v2', { number: 0, since: 1, created: clock() });
  mkdirSync(join(directory, 'views/job/v2'), { recursive: true });
  await store.close();
  store = openStore(directory, clock);
  onTestFinished(async () => store.close());
  expect(readdirSync(join(directory, 'views'))).toEqual(['job']);
  expect(readdirSync(join(directory, 'views/job'))).toEqual(['v1']);
});
