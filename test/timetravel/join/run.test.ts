import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { tableFromIPC } from 'apache-arrow';
import { afterAll, expect, onTestFinished, test, vi } from 'vitest';

import { TidemarkError } from '../../../src/ground/errors.ts';
import type { Store } from '../../../src/store/store.ts';
import type { AnswerFormat } from '../../../src/timetravel/formats/answer.ts';
import type { JoinPlan } from '../../../src/timetravel/join/plan.ts';
import { JoinPool } from '../../../src/timetravel/join/pool.ts';
import { runJoin } from '../../../src/timetravel/join/run.ts';
import { decodeIds, idsPathOf } from '../../../src/timetravel/join/shard-ids.ts';
import { JoinThread } from '../../../src/timetravel/join/thread.ts';
import type { WindowDone } from '../../../src/timetravel/join/window-done.ts';
import { gather, resolveSpine } from '../../../src/timetravel/lookup.ts';
import { ANY_AGE } from '../../../src/timetravel/question.ts';
import { openSpineFile, readSpineStream } from '../../../src/timetravel/spine/source.ts';
import { REASONS, STATUSES } from '../../../src/timetravel/status.ts';
import { seeded } from '../../model/random.ts';
import { planOf, refOf } from '../../support/join-plan.ts';
import {
  arrowSpine,
  checksumsIn,
  sourceOf,
  type SpineRow,
  targetIn,
  testPool,
  windowsOf,
} from '../../support/joins.ts';
import { batchOf, type TestRow, testStore, viewOf } from '../../support/store.ts';

/** A thread takes a while to start: the tests share them. */
const [alone, pool] = [new JoinPool(1), new JoinPool(3)];

afterAll(async () => {
  await Promise.all([alone.close(), pool.close()]);
});

const DIM = 4;
const ENTITIES = 40;

/** A store with late rows, confirmations, deletes, and equal vectors under one id. */
async function filledStore(): Promise<Store> {
  const store = testStore(viewOf('job', DIM));
  const random = seeded(4);
  for (let commit = 0; commit < 5; commit++) {
    const rows = Array.from({ length: 400 }, (): TestRow => {
      const vector = random(10) === 0 ? null : [random(60), 1, 2, 3];
      return { id: `e${random(ENTITIES)}`, event: random(10_000), vector };
    });
    await store.commit('job', 'v1', { rows: batchOf(rows, DIM) });
  }
  return store;
}

function spineOf(rows: number, seed = 1): SpineRow[] {
  const random = seeded(seed);
  return Array.from({ length: rows }, () => ({
    id: random(20) === 0 ? null : `e${random(ENTITIES + 3)}`,
    moment: random(20) === 0 ? null : random(11_000) - 500,
  }));
}

/** What each row must be answered with, by the path of lookups. */
function expectedOf(store: Store, spine: readonly SpineRow[], snapshot = store.snapshot): string[] {
  const version = store.version('job', 'v1');
  const found = resolveSpine(
    version,
    spine.map(({ id }) => id ?? ''),
    Float64Array.from(spine, ({ moment }) => moment ?? Number.NaN),
    { ...planOf(store).question, snapshot, asOf: undefined, maxAge: ANY_AGE },
  );
  const out = new Uint8Array(spine.length * DIM * 4);
  gather(version.vectors, found, out);
  const numbers = new Float32Array(out.buffer);
  return spine.map(({ id, moment }, row) => {
    const isPresent = STATUSES[found.statuses[row]!] === 'PRESENT';
    const vector = isPresent ? Array.from(numbers.subarray(row * DIM, (row + 1) * DIM)) : null;
    const event = isPresent ? found.events[row]! : null;
    return lineOf(id, moment, vector, event, found.statuses[row]!, found.reasons[row]!);
  });
}

function lineOf(
  id: string | null,
  moment: number | null,
  vector: readonly number[] | null,
  event: number | null,
  status: number,
  reason: number,
): string {
  return JSON.stringify([id, moment, vector, event, STATUSES[status], REASONS[reason]]);
}

function linesIn(bytes: Uint8Array): string[] {
  const table = tableFromIPC(bytes);
  const cells = (name: string) => Array.from(table.getChild(name)!) as (number | string | null)[];
  const micros = (name: string) =>
    (cells(name) as (number | null)[]).map((value) => value && Math.round(value * 1_000));
  const [ids, moments, events] = [
    cells('job_id'),
    micros('event_timestamp'),
    micros('job__event_timestamp'),
  ];
  const vectors = Array.from(table.getChild('job__vector')!, (vector: Iterable<number> | null) =>
    vector === null ? null : [...vector],
  );
  const [statuses, reasons] = [cells('job__status'), cells('job__reason')];
  return ids.map((id, row) =>
    JSON.stringify([id, moments[row], vectors[row], events[row], statuses[row], reasons[row]]),
  );
}

function streamed(windows: readonly WindowDone[]): Buffer {
  return Buffer.concat(windows.flatMap(({ chunks }) => chunks ?? []));
}

test.each([1, 7, 64, 1_000])(
  'windows of %d rows come in order, and make exactly one row a spine row, in its order (A11)',
  async (rowsMax) => {
    const store = await filledStore();
    const spine = spineOf(300);
    const source = sourceOf(arrowSpine(spine), rowsMax);
    const windows = await windowsOf({ store, pool, plan: planOf(store), source, target: 'stream' });
    expect(linesIn(streamed(windows))).toEqual(expectedOf(store, spine));
    expect(windows.map(({ index }) => index)).toEqual([...windows.keys()]);
    let firstRow = 0;
    for (const window of windows) {
      expect(window.firstRow).toBe(firstRow);
      firstRow += window.rows;
    }
    expect(firstRow).toBe(spine.length);
    expect(windows.length).toBeGreaterThanOrEqual(spine.length / rowsMax + 1);
    // Each window counts its own rows, and names those that are INVALID as the spine does.
    const counted = windows.slice(0, -1);
    for (const { counts, rows } of counted) {
      expect(counts[0]!.statuses.reduce((sum, count) => sum + count, 0)).toBe(rows);
    }
    const invalid = spine.findIndex(({ id, moment }) => id === null || moment === null);
    expect(counted.flatMap((each) => each.invalid)[0]!.row).toBe(`row ${invalid + 1}`);
  },
);

test('an empty spine has an answer without rows, whole', async () => {
  const store = await filledStore();
  for (const format of ['arrow', 'ndjson', 'parquet'] as const) {
    const plan = planOf(store, { format });
    const source = sourceOf(arrowSpine([]), 10);
    const windows = await windowsOf({ store, pool, plan, source, target: 'stream' });
    expect(windows.map(({ rows }) => rows)).toEqual([0, 0]);
    const bytes = streamed(windows);
    if (format === 'arrow') expect(linesIn(bytes)).toEqual([]);
    if (format === 'ndjson')
      expect(bytes.toString()).toMatch(/^\{"__summary":\{"rows":0,.*\}\}\n$/);
    if (format === 'parquet') expect(bytes.subarray(-4).toString()).toBe('PAR1');
  }
});

const FORMATS: [AnswerFormat, JoinPlan['vectors']][] = [
  ['arrow', 'inline'],
  ['parquet', 'inline'],
  ['ndjson', 'inline'],
  ['safetensors', 'inline'],
  ['arrow', 'ref'],
  ['parquet', 'ref'],
  ['ndjson', 'ref'],
];

test.each(FORMATS)(
  'files in %s with vectors %s are the same whatever the number of threads',
  async (format, vectors) => {
    const store = await filledStore();
    const spine = arrowSpine(spineOf(500));
    const run = async (threads: JoinPool) => {
      const target = targetIn();
      const plan = planOf(store, { format, vectors });
      const source = sourceOf(spine, 40);
      const windows = await windowsOf({ store, pool: threads, plan, source, target });
      // What is told of the files is so.
      const checksums = checksumsIn(target.folder);
      for (const { index, part, shards = [] } of windows) {
        expect(part).toMatchObject({ sha256: checksums[`part-${index}`] });
        if (shards[0] !== undefined) expect(shards[0].sha256).toBe(checksums[`vectors-0-${index}`]);
      }
      return { checksums, windows };
    };
    const one = await run(alone);
    expect(Object.keys(one.checksums).length).toBeGreaterThanOrEqual(13);
    expect(await run(pool)).toEqual(one);
  },
);

test('what is sent is the same whatever the number of threads, in every format of streams', async () => {
  const store = await filledStore();
  const spine = arrowSpine(spineOf(500));
  for (const format of ['arrow', 'ndjson', 'parquet'] as const) {
    const plan = planOf(store, { format });
    const run = async (threads: JoinPool) => {
      const source = sourceOf(spine, 40);
      const windows = await windowsOf({ store, pool: threads, plan, source, target: 'stream' });
      return streamed(windows);
    };
    expect((await run(pool)).equals(await run(alone))).toBe(true);
  }
});

test('what is written while a join runs changes nothing of its answer (A9)', async () => {
  const store = await filledStore();
  const spine = spineOf(400);
  const expected = expectedOf(store, spine);
  const state = { isOver: false, commits: 0 };
  const write = async (): Promise<void> => {
    while (!state.isOver) {
      const rows = Array.from({ length: 50 }, (_, at): TestRow => {
        const event = (state.commits * 37 + at * 211) % 10_000;
        return { id: `e${at % ENTITIES}`, event, vector: [9, state.commits, at, 9] };
      });
      await store.commit('job', 'v1', { rows: batchOf(rows, DIM) });
      if (++state.commits % 40 === 0) await store.compact('job', 'v1');
    }
  };
  const plan = planOf(store);
  const writer = write();
  const source = sourceOf(arrowSpine(spine), 5);
  const windows = await windowsOf({ store, pool, plan, source, target: 'stream' });
  state.isOver = true;
  await writer;
  expect(state.commits).toBeGreaterThan(5);
  expect(linesIn(streamed(windows))).toEqual(expected);
});

test.each(['inline', 'ref'] as const)(
  'a join that goes on behind the windows of an earlier run writes the same files: vectors %s',
  async (vectors) => {
    const store = await filledStore();
    const spine = arrowSpine(spineOf(300));
    const plan = planOf(store, { vectors });
    const whole = targetIn();
    const all = await windowsOf({ store, pool, plan, source: sourceOf(spine, 25), target: whole });
    for (const ended of [1, 5, 11, 12]) {
      const target = targetIn();
      const done: WindowDone[] = [];
      const windows = runJoin({
        store,
        pool,
        plan,
        source: sourceOf(spine, 25),
        target,
        signal: new AbortController().signal,
      });
      for await (const window of windows) {
        // As they are read from a journal.
        done.push(structuredClone(window));
        if (done.length === ended) break;
      }
      const others = await windowsOf({
        store,
        pool,
        plan,
        source: sourceOf(spine, 25),
        target,
        done,
      });
      expect([...done, ...others]).toEqual(all);
      expect(checksumsIn(target.folder)).toEqual(checksumsIn(whole.folder));
    }
  },
);

test('vectors=ref writes each distinct vector once, numbered from 0 in the order of the shards', async () => {
  const store = await filledStore();
  store.createView(viewOf('other', 2));
  await store.commit('other', 'v1', {
    rows: batchOf([{ id: 'e1', event: 1, vector: [5, 6] }]),
  });
  const spine = spineOf(600);
  const refs = [refOf(store), refOf(store, 'other', { idColumn: 'job_id' })];
  const plan = planOf(store, { refs, vectors: 'ref' });
  const target = targetIn();
  const source = sourceOf(arrowSpine(spine), 50);
  const windows = await windowsOf({ store, pool, plan, source, target });
  const table: number[][] = [];
  const ids: number[] = [];
  const rows: (number | null)[] = [];
  const others: (number | null)[] = [];
  for (const { index, shards } of windows) {
    if (shards![0] !== undefined) {
      const shard = tableFromIPC(readFileSync(target.shard(0, index)));
      expect(shard.numRows).toBe(shards![0].rows);
      expect([...shard.getChild('vector_row')!]).toEqual(
        Array.from({ length: shard.numRows }, (_, at) => table.length + at),
      );
      for (const vector of shard.getChild('vector')!) table.push([...(vector as Iterable<number>)]);
      const bytes = readFileSync(idsPathOf(target.shard(0, index)));
      ids.push(...decodeIds(bytes, shard.numRows)!);
    }
    const part = tableFromIPC(readFileSync(target.part(index)));
    rows.push(...(part.getChild('job__vector_row')! as Iterable<number | null>));
    others.push(...(part.getChild('other__vector_row')! as Iterable<number | null>));
  }
  expect(new Set(ids).size).toBe(ids.length);
  expect(table.length).toBe(ids.length);
  expect(new Set(rows.filter((row) => row !== null)).size).toBe(table.length);
  const expected = expectedOf(store, spine).map((line) => (JSON.parse(line) as unknown[])[2]);
  expect(rows.map((row) => (row === null ? null : table[row]))).toEqual(expected);
  // The one vector of the other view, in the first window that has a row of its entity.
  expect(new Set(others)).toEqual(new Set([null, 0]));
  expect(windows.flatMap(({ shards }) => shards![1]?.rows ?? [])).toEqual([1]);
});

test('joins that run at once share the threads, one thread too, and each has the answer that it has alone', async () => {
  const store = await filledStore();
  const plans = [
    planOf(store, { vectors: 'ref' }),
    planOf(store),
    planOf(store, { vectors: 'ref', order: 'entity' }),
    planOf(store, { format: 'parquet', order: 'entity' }),
  ];
  const run = async (plan: JoinPlan, at: number, threads: JoinPool) => {
    const target = targetIn();
    const source = sourceOf(arrowSpine(spineOf(300, at)), 30);
    await windowsOf({ store, pool: threads, plan, source, target });
    return checksumsIn(target.folder);
  };
  const expected = [];
  for (const [at, plan] of plans.entries()) expected.push(await run(plan, at, pool));
  for (const threads of [alone, pool]) {
    const all = await Promise.all(plans.map(async (plan, at) => run(plan, at, threads)));
    expect(all).toEqual(expected);
  }
});

test.each(['arrow', 'parquet'] as const)(
  'an answer in %s is a spine again: its columns pass through, vectors too, and it is answered the same',
  async (format) => {
    const store = await filledStore();
    const source = sourceOf(arrowSpine(spineOf(200)), 1_000);
    const [first, again] = [targetIn(), targetIn()];
    await windowsOf({ store, pool, plan: planOf(store, { format }), source, target: first });
    const limits = { rowsMax: 1_000, bytesMax: 2 ** 24, lineBytesMax: 2 ** 16 };
    const answer = await openSpineFile(first.part(0), format, limits);
    onTestFinished(async () => answer.close());
    for (const order of ['spine', 'entity'] as const) {
      const plan = planOf(store, { refs: [refOf(store, 'job', { name: 'again' })], order });
      await windowsOf({ store, pool, plan, source: answer, target: again });
      const table = tableFromIPC(readFileSync(again.part(0)));
      const cells = (name: string) => JSON.stringify([...table.getChild(name)!]);
      expect(table.numRows).toBe(200);
      for (const column of ['vector', 'event_timestamp', 'status', 'reason']) {
        expect(cells(`again__${column}`)).toBe(cells(`job__${column}`));
      }
    }
  },
);

function failureOf(code: string, row: string): Error {
  return expect.objectContaining({
    code,
    message: expect.stringContaining(row) as string,
  }) as Error;
}

test('a strict join fails with the code of its first row that is INVALID, and with its name', async () => {
  const store = await filledStore();
  await store.advanceHorizon('job', 500);
  const run = async (moments: (number | null)[]) => {
    const spine = arrowSpine(moments.map((moment) => ({ id: 'e1', moment })));
    const plan = planOf(store, { strict: true });
    return windowsOf({ store, pool, plan, source: sourceOf(spine, 2), target: 'stream' });
  };
  await expect(run([600, 700, 500, 499])).rejects.toThrow(failureOf('BEFORE_RETENTION', 'row 4 '));
  await expect(run([600, 700, null])).rejects.toThrow(failureOf('BAD_REQUEST', 'row 3 '));
});

test('a join that is left early releases the store and leaves no file half written', async () => {
  const store = await filledStore();
  for (const vectors of ['inline', 'ref'] as const) {
    const target = targetIn();
    const source = sourceOf(arrowSpine(spineOf(2_000)), 20);
    const plan = planOf(store, { vectors });
    const signal = new AbortController().signal;
    const windows = runJoin({ store, pool, plan, source, target, signal });
    await windows.next();
    await windows.next();
    await windows.return(undefined);
    const names = Object.keys(checksumsIn(target.folder));
    expect(names.filter((name) => name.endsWith('.tmp'))).toEqual([]);
    expect(names.filter((name) => name.startsWith('part')).length).toBeLessThan(10);
  }
  // Whose files nobody holds any more.
  await store.dropView('job');
});

test('a join whose signal is aborted ends with its reason', async () => {
  const store = await filledStore();
  const ending = new AbortController();
  const source = sourceOf(arrowSpine(spineOf(2_000)), 20);
  const plan = planOf(store);
  const { signal } = ending;
  const windows = runJoin({ store, pool, plan, source, target: 'stream', signal });
  await windows.next();
  ending.abort(new Error('cancelled'));
  await expect(windows.next()).rejects.toThrow('cancelled');
  await store.dropView('job');
});

test('a thread that dies fails its join as INTERNAL, and the next join has another one', async () => {
  const store = await filledStore();
  const spine = spineOf(300);
  const threads = testPool();
  const target = targetIn();
  // oxlint-disable-next-line typescript/unbound-method
  const { join: joinWindow } = JoinThread.prototype;
  const dying = vi.spyOn(JoinThread.prototype, 'join').mockImplementationOnce(async function (
    this: JoinThread,
    ...asked
  ) {
    const answer = joinWindow.apply(this, asked);
    void this.end();
    return answer;
  });
  const run = async () =>
    windowsOf({
      store,
      pool: threads,
      plan: planOf(store, { vectors: 'ref' }),
      source: sourceOf(arrowSpine(spine), 30),
      target,
    });
  await expect(run()).rejects.toThrow(
    expect.objectContaining({
      code: 'INTERNAL',
      message: expect.stringContaining('has died') as string,
    }),
  );
  dying.mockRestore();
  expect(await run()).toHaveLength(10);
});

test('a defect in a thread is told to the log alone: it is no error that a caller is shown', async () => {
  const store = await filledStore();
  const plan = planOf(store, { columns: undefined as never });
  const source = sourceOf(arrowSpine(spineOf(10)), 20);
  const failure = await windowsOf({ store, pool, plan, source, target: 'stream' }).catch(
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(Error);
  expect(failure).not.toBeInstanceOf(TidemarkError);
  expect(String(failure)).toMatch(/a window of a join failed: TypeError.*\n +at /);
});

test('a join fails for the first of its windows that cannot be joined, and those before it are there', async () => {
  const store = await filledStore();
  const lines = Array.from({ length: 90 }, (_, at) =>
    at === 66 ? '{"job_id": \n' : `{"job_id":"e${at}","event_timestamp":"2026-01-01T00:00:00Z"}\n`,
  );
  for (const vectors of ['inline', 'ref'] as const) {
    const target = targetIn();
    const plan = planOf(store, { format: 'ndjson', vectors });
    const source = sourceOf(lines.join(''), 10, 'ndjson');
    const windows: number[] = [];
    const signal = new AbortController().signal;
    const run = async () => {
      const running = runJoin({ store, pool, plan, source, target, signal });
      for await (const { index } of running) windows.push(index);
    };
    await expect(run()).rejects.toThrow(/line 67/);
    expect(windows).toEqual([0, 1, 2, 3, 4, 5]);
    const names = Object.keys(checksumsIn(target.folder));
    expect(names.filter((name) => name.endsWith('.tmp'))).toEqual([]);
  }
});

test('a view that is dropped during a join is not found by the windows that come, though it be made anew', async () => {
  for (const isMadeAnew of [false, true]) {
    const store = await filledStore();
    const source = sourceOf(arrowSpine(spineOf(2_000)), 20);
    const plan = planOf(store);
    const signal = new AbortController().signal;
    const windows = runJoin({ store, pool, plan, source, target: 'stream', signal });
    await windows.next();
    await store.dropView('job');
    if (isMadeAnew) store.createView(viewOf('job', DIM));
    const rest = async () => {
      for await (const _ of windows);
    };
    await expect(rest()).rejects.toThrow(expect.objectContaining({ code: 'VERSION_NOT_FOUND' }));
  }
});

test('a disk that has no folder for a part or a shard is told as unavailable, and nothing is held up', async () => {
  const store = await filledStore();
  const { folder, ...target } = targetIn();
  const none = (index: number) => join(folder, 'none', String(index));
  for (const nowhere of [
    { ...target, part: none },
    { ...target, shard: (_: number, index: number) => none(index) },
  ]) {
    const source = sourceOf(arrowSpine(spineOf(100)), 20);
    const plan = planOf(store, { vectors: 'ref' });
    const run = windowsOf({ store, pool, plan, source, target: nowhere });
    await expect(run).rejects.toThrow(expect.objectContaining({ code: 'STORE_UNAVAILABLE' }));
  }
  await store.dropView('job');
});

test('a join that cannot tell how far an earlier run has numbered vectors fails before its first window', async () => {
  const store = await filledStore();
  const target = targetIn();
  const plan = planOf(store, { vectors: 'ref' });
  const asked = { store, pool, plan, target };
  const spine = arrowSpine(spineOf(60));
  const done = (await windowsOf({ ...asked, source: sourceOf(spine, 20) })).slice(0, 2);
  rmSync(idsPathOf(target.shard(0, 0)));
  const again = windowsOf({ ...asked, source: sourceOf(spine, 20), done });
  await expect(again).rejects.toThrow('ENOENT');
});

test('a join of an empty spine that goes on has its one window, and no second one', async () => {
  const store = await filledStore();
  const asked = { store, pool, plan: planOf(store), target: targetIn() };
  const done = await windowsOf({ ...asked, source: sourceOf(arrowSpine([]), 10) });
  expect(done).toHaveLength(1);
  expect(await windowsOf({ ...asked, source: sourceOf(arrowSpine([]), 10), done })).toEqual([]);
});

test('the first rows of a stream are answered while more of the spine is still to come', async () => {
  const store = await filledStore();
  const more = Promise.withResolvers<void>();
  const line = `${JSON.stringify({ job_id: 'e1', event_timestamp: '2026-01-01T00:00:00Z' })}\n`;
  async function* spine() {
    yield Buffer.from(line.repeat(15));
    await more.promise;
    yield Buffer.from(line);
  }
  const limits = { rowsMax: 10, bytesMax: 2 ** 20, lineBytesMax: 2 ** 16 };
  const source = readSpineStream(spine(), 'ndjson', limits);
  const plan = planOf(store, { format: 'ndjson' });
  const { signal } = new AbortController();
  const windows = runJoin({ store, pool, plan, source, target: 'stream', signal });
  expect((await windows.next()).value).toMatchObject({ firstRow: 0, rows: 10 });
  more.resolve();
  const rest: number[] = [];
  for await (const { rows } of windows) rest.push(rows);
  expect(rest).toEqual([6, 0]);
});
