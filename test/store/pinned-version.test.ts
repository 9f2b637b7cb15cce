import { existsSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';

import { expect, onTestFinished, test } from 'vitest';

import {
  openPinned,
  type Pin,
  type PinnedVersion,
  pinVersion,
} from '../../src/store/pinned-version.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { batchOf, TestClock, type TestRow, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const ENTITIES = 150;
const EVENTS = 60;

interface World {
  store: Store;
  clock: TestClock;
}

/** A store whose timelines and vectors have several levels of pages. */
async function newWorld(): Promise<World> {
  const clock = new TestClock();
  const store = openStore(tempDirectory(), clock.read);
  onTestFinished(async () => store.close());
  store.createView(viewOf('job', 4));
  for (let from = 0; from < EVENTS; from += 20) await pushAll(store, from, 1);
  return { store, clock };
}

async function pushAll(store: Store, from: number, value: number): Promise<void> {
  const rows = Array.from({ length: ENTITIES * 20 }, (_, at): TestRow => {
    const event = from + Math.floor(at / ENTITIES);
    return { id: `e${at % ENTITIES}`, event, vector: [value, event, at % ENTITIES, 0] };
  });
  await store.commit('job', 'v1', { rows: batchOf(rows, 4) });
}

function pin({ store }: World): Pin {
  return pinVersion(store.version('job', 'v1'));
}

/** What the pinned pages say of every entity: whatever is below their snapshot, now and then. */
function answersOf(pinned: PinnedVersion, snapshot = Number.MAX_SAFE_INTEGER): string[] {
  const version = openPinned(structuredClone(pinned));
  const ids = Array.from({ length: ENTITIES + 1 }, (_, at) => `e${at}`);
  return [undefined, EVENTS - 1, 7].flatMap((asOf) => {
    const found = resolveMany(version, ids, {
      asOf,
      boundary: 'inclusive',
      knowledge: 'event',
      knownAt: undefined,
      maxAge: ANY_AGE,
      now: 0,
      snapshot,
    });
    const present = Int32Array.from(ids.keys()).filter(
      (row) => STATUSES[found.statuses[row]!] === 'PRESENT',
    );
    const out = new Uint8Array(ids.length * 16);
    version.vectors.copy(
      found.vectorIds,
      present,
      out,
      Uint32Array.from(ids, (_, row) => row * 16),
    );
    const numbers = new Float32Array(out.buffer);
    return ids.map((id, row) => {
      const reason = REASONS[found.reasons[row]!];
      const why = STATUSES[found.statuses[row]!] === 'PRESENT' ? '' : String(reason);
      return `${id} at ${String(asOf)}: ${why} ${numbers.slice(row * 4, row * 4 + 4).join(' ')}`;
    });
  });
}

test('commits of hundreds of transactions leave pinned pages as they were; a new pin sees them', async () => {
  const world = await newWorld();
  const { version, release } = pin(world);
  const before = answersOf(version);
  expect(before[EVENTS]).toContain(`1 ${EVENTS - 1} ${EVENTS}`);
  for (let round = 0; round < 150; round++) {
    const rows = Array.from({ length: 40 }, (_, at): TestRow => {
      const vector = at % 7 === 0 ? null : [2, round, at, 0];
      return { id: `e${(round * 17 + at) % ENTITIES}`, event: 100 + round, vector };
    });
    await world.store.commit('job', 'v1', { rows: batchOf(rows, 4) });
    if (round % 50 === 49) await world.store.version('job', 'v1').environment.flushed();
  }
  expect(answersOf(version)).toEqual(before);
  const later = pin(world);
  expect(answersOf(later.version)).not.toEqual(before);
  expect(answersOf(version)).toEqual(before);
  release();
  later.release();
});

test('what was committed a moment ago is in the pin, whatever this turn has read before', async () => {
  const world = await newWorld();
  const { store } = world;
  const version = store.version('job', 'v1');
  for (let event = 1_000; event < 1_020; event++) {
    resolveMany(version, ['e1'], {
      asOf: undefined,
      boundary: 'inclusive',
      knowledge: 'event',
      knownAt: undefined,
      maxAge: ANY_AGE,
      now: 0,
      snapshot: store.snapshot,
    });
    await store.commit('job', 'v1', {
      rows: batchOf([{ id: 'e1', event, vector: [3, event, 1, 0] }], 4),
    });
    const { version: pinned, release } = pin(world);
    expect(answersOf(pinned)[1]).toContain(`3 ${event} 1`);
    release();
  }
});

test('a pin taken while commits are on their way shows one of them whole, never half of one', async () => {
  const world = await newWorld();
  const { store } = world;
  const seen = new Set<string>();
  const state = { isOver: false };
  // One after another: those that wait together would be one transaction.
  async function writeAll(): Promise<void> {
    for (let event = 0; event < 60; event++) {
      const rows = Array.from({ length: ENTITIES }, (_, at): TestRow => {
        return { id: `e${at}`, event: 1_000 + event, vector: [4, event, at, 0] };
      });
      await store.commit('job', 'v1', { rows: batchOf(rows, 4) });
    }
  }
  const written = writeAll().finally(() => (state.isOver = true));
  while (!state.isOver) {
    const { version: pinned, release } = pin(world);
    const latest = answersOf(pinned).slice(0, ENTITIES);
    const commitsSeen = new Set(latest.map((line) => line.split(' ').slice(4, 6).join(' ')));
    expect(commitsSeen.size).toBe(1);
    for (const each of commitsSeen) seen.add(each);
    release();
    await setImmediate();
  }
  await written;
  expect(seen.size).toBeGreaterThan(1);
});

test('a compaction puts other files in place while the old ones are pinned, and unlinks them afterwards', async () => {
  const world = await newWorld();
  const { store, clock } = world;
  const { version, release } = pin(world);
  const before = answersOf(version);
  const { file } = store.version('job', 'v1').environment;
  clock.now = 5_000;
  await store.advanceHorizon('job', 4_000);
  await store.erase({ entity: 'job' }, ['e3']);
  const compacted = store.compact('job', 'v1');
  await expect.poll(() => store.version('job', 'v1').environment.file).not.toBe(file);
  await pushAll(store, 2_000, 5);
  expect(answersOf(version)).toEqual(before);
  const after = pin(world);
  expect(answersOf(after.version)[3]).toContain('ERASED');
  expect(answersOf(after.version)[1]).toContain('5 2019 1');
  after.release();
  release();
  await compacted;
  await expect.poll(() => existsSync(file)).toBe(false);
});

test('a view that is dropped keeps its files while they are pinned', async () => {
  const world = await newWorld();
  const { store } = world;
  const { version, release } = pin(world);
  const before = answersOf(version);
  const { file } = store.version('job', 'v1').environment;
  let isGone = false;
  const dropped = store.dropView('job').then(() => (isGone = true));
  for (let turn = 0; turn < 20; turn++) await setImmediate();
  expect(() => store.version('job', 'v1')).toThrow('there is no model version job@v1');
  expect(answersOf(version)).toEqual(before);
  expect([isGone, existsSync(file)]).toEqual([false, true]);
  release();
  await dropped;
  expect(existsSync(file)).toBe(false);
});

test('a store closes when the last pin is released, those that came meanwhile too', async () => {
  const world = await newWorld();
  const { store } = world;
  const { environment } = store.version('job', 'v1');
  const [first, second] = [pin(world), pin(world)];
  const before = answersOf(first.version);
  let isClosed = false;
  const closed = store.close().then(() => (isClosed = true));
  for (let turn = 0; turn < 20; turn++) await setImmediate();
  first.release();
  // As a join does, which goes from one window to the next.
  const third = environment.pin();
  second.release();
  for (let turn = 0; turn < 20; turn++) await setImmediate();
  expect(isClosed).toBe(false);
  third.release();
  const fourth = environment.pin();
  for (let turn = 0; turn < 20; turn++) await setImmediate();
  expect(isClosed).toBe(false);
  expect(answersOf({ ...first.version, file: fourth.file })).toEqual(before);
  fourth.release();
  await closed;
});

test('a pin of a file that cannot be read holds nothing up', async () => {
  const world = await newWorld();
  const { environment } = world.store.version('job', 'v1');
  const { file } = environment;
  Object.assign(environment, { file: `${file}.not-there` });
  expect(() => environment.pin()).toThrow('ENOENT');
  Object.assign(environment, { file });
  await world.store.close();
});
