import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

import { tableFromIPC } from 'apache-arrow';
import { afterAll, expect, onTestFinished, test, vi } from 'vitest';

import { openStore, type Store } from '../../../src/store/store.ts';
import type { JoinPlan, Vectors } from '../../../src/timetravel/join/plan.ts';
import { JoinPool } from '../../../src/timetravel/join/pool.ts';
import { runJoin } from '../../../src/timetravel/join/run.ts';
import { JoinThread, type Turns } from '../../../src/timetravel/join/thread.ts';
import { planOf } from '../../support/join-plan.ts';
import { arrowSpine, checksumsIn, sourceOf, targetIn } from '../../support/joins.ts';
import { batchOf, TestClock, testStore, viewOf } from '../../support/store.ts';
import { tempDirectory } from '../../support/temp.ts';

/** One thread: a window begins when the one before it was asked for, and not earlier. */
const pool = new JoinPool(1);

afterAll(async () => pool.close());

const NUMBERS = [1, 2, 3, 4];
const EVENTS = [10, 20, 30];

/** Entities e1 to e4 with a vector `[entity, event]` at each of the events. */
async function filledStore(clock = new TestClock(100)): Promise<Store> {
  const store = testStore(viewOf('job'), clock);
  const rows = EVENTS.flatMap((event) =>
    NUMBERS.map((entity) => ({ id: `e${entity}`, event, vector: [entity, event] })),
  );
  await store.commit('job', 'v1', { rows: batchOf(rows) });
  return store;
}

/** The rows of every window, and what they are answered with as long as nothing happens. */
const ROWS = [
  { id: 'e1', moment: 15 },
  { id: 'e2', moment: 25 },
  { id: 'e3', moment: 35 },
  { id: 'e1', moment: 35 },
];
const ANSWERS = ['1 10', '2 20', '3 30', '1 30'];
const WINDOWS = 4;
const SPINE = arrowSpine(Array.from({ length: WINDOWS }, () => ROWS).flat());

/** A join of which one window after the other is asked for: what its files answer each row with. */
function joining(store: Store, changes: Parameters<typeof planOf>[1] = {}) {
  const plan = planOf(store, changes);
  const target = targetIn();
  const source = plan.revisions === undefined ? sourceOf(SPINE, ROWS.length) : undefined;
  const signal = new AbortController().signal;
  const windows = runJoin({ store, pool, plan, source, target, signal });
  const table: string[] = [];
  const next = async (): Promise<string[]> => {
    const { value, done } = await windows.next();
    if (done === true) return [];
    if (value.shards?.[0] !== undefined) {
      table.push(...vectorsIn(target.shard(0, value.index), 'vector'));
    }
    return answersIn(target.part(value.index), plan, table);
  };
  const rest = async (): Promise<string[][]> => {
    const all: string[][] = [];
    for (let own = await next(); own.length > 0; own = await next()) all.push(own);
    return all;
  };
  return { plan, target, next, rest };
}

function vectorsIn(path: string, column: string): string[] {
  const vectors = tableFromIPC(readFileSync(path)).getChild(column)!;
  return Array.from(vectors, (vector) => [...((vector ?? []) as Iterable<number>)].join(' '));
}

function answersIn(path: string, { vectors, revisions }: JoinPlan, table: string[]): string[] {
  const rows = tableFromIPC(readFileSync(path));
  const cells = (name: string): unknown[] => [...rows.getChild(name)!];
  const prefix = revisions === undefined ? 'job__' : '';
  const own =
    vectors === 'inline'
      ? vectorsIn(path, `${prefix}vector`)
      : cells(`${prefix}vector_row`).map((row) => (row === null ? '' : table[Number(row)]!));
  if (revisions !== undefined) return own;
  const [statuses, reasons] = [cells('job__status'), cells('job__reason')];
  return own.map((vector, row) =>
    statuses[row] === 'PRESENT' ? vector : String(reasons[row] ?? statuses[row]),
  );
}

/**
 * Holds the next window of `vectors=ref` where its rows are resolved and its vectors are not yet
 * gathered: what happens in `meanwhile` happens while it is read.
 */
function holdNext(meanwhile: () => Promise<void>): void {
  // oxlint-disable-next-line typescript/unbound-method
  const { join } = JoinThread.prototype;
  const held = vi.spyOn(JoinThread.prototype, 'join').mockImplementationOnce(async function (
    this: JoinThread,
    task,
    turns,
  ) {
    const late: Turns = {
      get numbered() {
        return meanwhile().then(async () => turns.numbered);
      },
      onNumbered: (numbered) => turns.onNumbered(numbered),
      onScanned: (rows, next) => turns.onScanned(rows, next),
    };
    return join.call(this, task, late);
  });
  onTestFinished(() => held.mockRestore());
}

/** Where the files of all views are. */
function viewsOf(store: Store): string {
  const { file } = store.version('job', 'v1').environment;
  return file.slice(0, file.indexOf('/job/v1/'));
}

/** Files in the folder that this process has open, those that are unlinked among them. */
function openIn(folder: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((name) => {
    try {
      const file = readlinkSync(`/proc/self/fd/${name}`);
      return file.startsWith(folder) ? [file] : [];
    } catch {
      // That of the listing itself.
      return [];
    }
  });
}

const BOTH: Vectors[] = ['inline', 'ref'];

test.each(BOTH)(
  'an entity that is erased during a join is in no window that begins after it: vectors %s (A8)',
  async (vectors) => {
    const store = await filledStore();
    const { next, rest, target } = joining(store, { vectors });
    expect(await next()).toEqual(ANSWERS);
    await store.erase({ entity: 'job' }, ['e1']);
    expect(await next()).toEqual(['ERASED', '2 20', '3 30', 'ERASED']);
    const before = checksumsIn(target.folder);
    await store.compact('job', 'v1');
    expect(await rest()).toEqual([
      ['ERASED', '2 20', '3 30', 'ERASED'],
      ['ERASED', '2 20', '3 30', 'ERASED'],
    ]);
    // What was written before it stays: it left the store with the file.
    expect(checksumsIn(target.folder)).toMatchObject(before);
  },
);

test('a window that is read while an entity is erased is of the moment it began at, the next one is not (A8)', async () => {
  const store = await filledStore();
  const { next, target } = joining(store, { vectors: 'ref' });
  holdNext(async () => {
    await store.erase({ entity: 'job' }, ['e2']);
  });
  expect(await next()).toEqual(ANSWERS);
  expect(await next()).toEqual(['1 10', 'ERASED', '3 30', '1 30']);
  // Of the second window nothing is new, and nothing of the erased entity is in it.
  expect(existsSync(target.shard(0, 1))).toBe(false);
});

test('what is erased before a table of vectors is written is not in it (A8)', async () => {
  const store = await filledStore();
  const { next, target } = joining(store, { vectors: 'ref' });
  await store.erase({ entity: 'job' }, ['e2', 'e3']);
  expect(await next()).toEqual(['1 10', 'ERASED', 'ERASED', '1 30']);
  expect(vectorsIn(target.shard(0, 0), 'vector')).toEqual(['1 10', '1 30']);
});

test.each(BOTH)(
  'a horizon that advances during a join marks the rows before it from the next window on: vectors %s (A10)',
  async (vectors) => {
    const clock = new TestClock(20);
    const store = await filledStore(clock);
    const { next, rest } = joining(store, { vectors });
    expect(await next()).toEqual(ANSWERS);
    clock.now = 100;
    await store.advanceHorizon('job', 25);
    const after = ['BEFORE_RETENTION', '2 20', '3 30', '1 30'];
    expect(await next()).toEqual(after);
    // Whether what is before it is still stored changes nothing.
    await store.compact('job', 'v1');
    expect(store.version('job', 'v1').counters().revisions).toBe(8);
    expect(await rest()).toEqual([after, after]);
  },
);

test('a strict join ends with the first row that has come to lie before the horizon (A10)', async () => {
  const store = await filledStore();
  const { next } = joining(store, { strict: true });
  expect(await next()).toEqual(ANSWERS);
  await store.advanceHorizon('job', 25);
  await expect(next()).rejects.toThrow(
    expect.objectContaining({
      code: 'BEFORE_RETENTION',
      message: expect.stringContaining('row 5 ') as string,
    }),
  );
});

test('a horizon that passes the snapshot of a join leaves it no answer (A10)', async () => {
  const clock = new TestClock(100);
  const store = await filledStore(clock);
  const { next } = joining(store);
  expect(await next()).toEqual(ANSWERS);
  clock.now = 200;
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'e1', event: 12, vector: [9, 9] }]) });
  clock.now = 300;
  await store.advanceHorizon('job', 250);
  expect(await next()).toEqual(ROWS.map(() => 'BEFORE_RETENTION'));
});

test('compaction while a window is read waits with the old files for it alone, and changes no file of the join (A9)', async () => {
  const store = await filledStore();
  const undisturbed = joining(store, { vectors: 'ref' });
  await undisturbed.rest();
  const { environment } = store.version('job', 'v1');
  const before = openIn(viewsOf(store));
  const joined = joining(store, { vectors: 'ref' });
  let compacted: Promise<unknown> | undefined;
  for (let window = 0; window < WINDOWS; window++) {
    const { file } = store.version('job', 'v1').environment;
    holdNext(async () => {
      await store.commit('job', 'v1', {
        rows: batchOf([{ id: 'e1', event: 11 + window, vector: [7, window] }]),
      });
      await compacted;
      compacted = store.compact('job', 'v1');
      await expect.poll(() => store.version('job', 'v1').environment.file).not.toBe(file);
      expect(existsSync(file)).toBe(true);
    });
    expect(await joined.next()).toEqual(ANSWERS);
    await compacted;
    await expect.poll(() => existsSync(file)).toBe(false);
  }
  expect(await joined.next()).toEqual([]);
  expect(checksumsIn(joined.target.folder)).toEqual(checksumsIn(undisturbed.target.folder));
  expect(existsSync(environment.file)).toBe(false);
  expect(openIn(viewsOf(store))).toHaveLength(before.length);
});

test('a view that is dropped while a window is read ends the join behind it, and its files go with the window', async () => {
  const store = await filledStore();
  const { file } = store.version('job', 'v1').environment;
  const views = viewsOf(store);
  const { next } = joining(store, { vectors: 'ref' });
  let dropped: Promise<unknown> | undefined;
  holdNext(async () => {
    dropped = store.dropView('job');
    await expect.poll(() => store.catalogue.views()).toEqual([]);
    expect(existsSync(file)).toBe(true);
  });
  expect(await next()).toEqual(ANSWERS);
  await dropped;
  expect(existsSync(file)).toBe(false);
  await expect(next()).rejects.toThrow(expect.objectContaining({ code: 'VERSION_NOT_FOUND' }));
  await expect.poll(() => openIn(views)).toEqual([]);
});

test('joins that end, fail or are left open no file for longer than their windows', async () => {
  const store = await filledStore();
  await joining(store).rest();
  const before = openIn(viewsOf(store));
  for (let round = 0; round < 5; round++) {
    for (const vectors of BOTH) {
      await joining(store, { vectors }).rest();
      const failing = joining(store, { vectors, timeColumn: 'nowhere' });
      await expect(failing.rest()).rejects.toThrow('nowhere');
      const source = sourceOf(SPINE, 1);
      const signal = new AbortController().signal;
      const asked = { store, pool, source, target: targetIn(), signal };
      const left = runJoin({ ...asked, plan: planOf(store, { vectors }) });
      await left.next();
      await left.return(undefined);
    }
    await store.compact('job', 'v1');
  }
  expect(openIn(viewsOf(store))).toHaveLength(before.length);
});

const ALL = { from: -1e9, to: 1e9, rowsMax: 3 };
/** Entities in the order of the store, of each its events. */
const REVISIONS = NUMBERS.flatMap((entity) => EVENTS.map((event) => `${entity} ${event}`));

test.each(BOTH)(
  'of revisions those of an entity that is erased meanwhile end where its next window begins: vectors %s (A8)',
  async (vectors) => {
    const store = await filledStore();
    const joined = joining(store, { vectors, revisions: { ...ALL, rowsMax: 2 } });
    expect(await joined.next()).toEqual(['1 10', '1 20']);
    // The place behind which the second window begins is of a timeline that is gone by then.
    await store.erase({ entity: 'job' }, ['e1', 'e3']);
    await store.compact('job', 'v1');
    const others = REVISIONS.filter((each) => each.startsWith('2') || each.startsWith('4'));
    expect((await joined.rest()).flat()).toEqual(others);
  },
);

test.each(BOTH)(
  'of revisions what a horizon lets go meanwhile is in no window behind it, compacted or not: vectors %s (A10)',
  async (vectors) => {
    for (const isCompacted of [false, true]) {
      const clock = new TestClock(20);
      const store = await filledStore(clock);
      const joined = joining(store, { vectors, revisions: ALL });
      expect(await joined.next()).toEqual(REVISIONS.slice(0, 3));
      clock.now = 100;
      await store.advanceHorizon('job', 25);
      if (isCompacted) await store.compact('job', 'v1');
      const kept = REVISIONS.slice(3).filter((each) => !each.endsWith(' 10'));
      expect((await joined.rest()).flat()).toEqual(kept);
    }
  },
);

test('what comes late into timelines that are yet to be scanned is not of the snapshot (A9)', async () => {
  const store = await filledStore();
  const joined = joining(store, { vectors: 'ref', revisions: ALL });
  const windows = [await joined.next()];
  for (let own = windows; own.at(-1)!.length > 0; windows.push(await joined.next())) {
    const event = 5 + windows.length;
    const rows = NUMBERS.map((entity) => ({ id: `e${entity}`, event, vector: [8, event] }));
    await store.commit('job', 'v1', { rows: batchOf([...rows, { ...rows[0]!, id: 'a new one' }]) });
    await store.compact('job', 'v1');
  }
  expect(windows.flat()).toEqual(REVISIONS);
});

test('revisions of a snapshot that a horizon has passed are refused, as a timeline is (A10)', async () => {
  const clock = new TestClock(100);
  const store = await filledStore(clock);
  const { next } = joining(store, { revisions: ALL });
  expect(await next()).toEqual(REVISIONS.slice(0, 3));
  clock.now = 200;
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'e3', event: 40, vector: [9, 9] }]) });
  clock.now = 300;
  await store.advanceHorizon('job', 250);
  await expect(next()).rejects.toThrow(expect.objectContaining({ code: 'SNAPSHOT_UNAVAILABLE' }));
});

/** A read replica that has all of its leader, whose commits are whole up to `whole`. */
async function replicaOf(leader: Store, whole: number): Promise<Store> {
  const url = 'http://leader.example';
  const store = openStore(tempDirectory(), new TestClock().read);
  onTestFinished(async () => store.close());
  const { catalogue, snapshot } = leader;
  store.replica.aim(url);
  const [lineage, erasureKey] = [catalogue.lineage(), catalogue.erasureKey()];
  await store.replica.follow({ url, lineage, erasureKey });
  const events = catalogue.events(0, snapshot).map((event) => ({ event }));
  const changes = leader.version('job', 'v1').log.read(0, snapshot, 1_000);
  const vectors = new Map(
    changes.map(({ vectorId }): [number, Uint8Array] => {
      const bytes = new Uint8Array(8);
      leader.version('job', 'v1').vectors.copyInto(vectorId, bytes, 0);
      return [vectorId, bytes];
    }),
  );
  const items = [...events, { view: 'job', version: 'v1', changes, vectors }];
  await store.replica.apply(items, snapshot, catalogue.seqReserved(), whole);
  return store;
}

test('a join goes on over a promotion that keeps its snapshot, with the same answers (A9)', async () => {
  const leader = await filledStore();
  const store = await replicaOf(leader, leader.snapshot);
  const { next, rest } = joining(store, { vectors: 'ref' });
  expect(await next()).toEqual(ANSWERS);
  await store.replica.promote(Math.random);
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'e1', event: 12, vector: [9, 9] }]) });
  expect(await rest()).toEqual([ANSWERS, ANSWERS, ANSWERS]);
});

test.each(['between windows', 'while a window is read'])(
  'a join at a snapshot that a promotion gives up ends with it: %s (A9)',
  async (when) => {
    const leader = await filledStore();
    const whole = leader.snapshot;
    await leader.commit('job', 'v1', { rows: batchOf([{ id: 'e1', event: 12, vector: [9, 9] }]) });
    const store = await replicaOf(leader, whole);
    const { next } = joining(store, { vectors: 'ref' });
    expect(await next()).toEqual(ANSWERS.with(0, '9 9'));
    const promote = async () => store.replica.promote(Math.random);
    if (when === 'between windows') await promote();
    else holdNext(promote);
    await expect(next()).rejects.toThrow(expect.objectContaining({ code: 'SNAPSHOT_UNAVAILABLE' }));
  },
);
