import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { afterEach, expect, onTestFinished, test, vi } from 'vitest';

import { Catalogue } from '../../src/store/catalogue.ts';
import { Environment } from '../../src/store/environment.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { Timelines } from '../../src/store/timelines.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { batchOf, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const ROWS = Array.from({ length: 700 }, (_, at) => ({
  id: `e${at % 8}`,
  event: at,
  vector: [at, 1],
}));

function open(directory: string): Store {
  const store = openStore(directory, new TestClock().read);
  onTestFinished(async () => store.close());
  return store;
}

async function filled(): Promise<{ store: Store; directory: string }> {
  const directory = tempDirectory();
  const store = open(directory);
  store.createView(viewOf('job'));
  await store.commit('job', 'v1', { rows: batchOf(ROWS) });
  return { store, directory };
}

/**
 * Calls `act` at the step of that number, from 0, that a compaction takes in its new files: a commit,
 * a flush, or an entity.
 */
function atStep(step: number, act: () => void): { reached: () => boolean } {
  let steps = 0;
  const { commit, flushed } = Object.getOwnPropertyDescriptors(Environment.prototype);
  const { append } = Object.getOwnPropertyDescriptors(Timelines.prototype);
  const count = (environment?: Environment): void => {
    if (environment?.file.includes('/g1/') === false) return;
    if (steps++ === step) act();
  };
  vi.spyOn(Timelines.prototype, 'append').mockImplementation(function (
    this: Timelines,
    ...timeline
  ) {
    count();
    return append.value!.apply(this, timeline);
  });
  vi.spyOn(Environment.prototype, 'commit').mockImplementation(async function (
    this: Environment,
    work,
  ) {
    count(this);
    return commit.value!.call(this, work);
  });
  vi.spyOn(Environment.prototype, 'flushed').mockImplementation(async function (this: Environment) {
    count(this);
    return flushed.value!.call(this);
  });
  return { reached: () => steps > step };
}

async function requireWhole(store: Store, directory: string): Promise<void> {
  expect(store.version('job', 'v1').counters()).toMatchObject({ revisions: 700, entities: 8 });
  await store.commit('job', 'v1', {
    rows: batchOf([{ id: 'late', event: 1, vector: [7, 7] }]),
  });
  expect(store.version('job', 'v1').counters()).toMatchObject({ revisions: 701, entities: 9 });
  await store.close();
  const { problems, checked } = await verifyStore(directory);
  expect({ problems, revisions: checked.revisions }).toEqual({ problems: [], revisions: 701 });
}

test('a compaction that fails at any step leaves the old files serving, and none of its own', async () => {
  for (let step = 0; ; step++) {
    const { store, directory } = await filled();
    const { reached } = atStep(step, () => {
      throw new Error('ENOSPC: no space left on device');
    });
    const failure: unknown = await store.compact('job', 'v1').catch((error: unknown) => error);
    vi.restoreAllMocks();
    if (!reached()) {
      expect(step).toBeGreaterThan(8);
      return;
    }
    expect(failure).toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringContaining('no space left') as string,
    });
    expect(readdirSync(join(directory, 'views/job/v1'))).not.toContain('g1');
    expect(await store.compact('job', 'v1')).toMatchObject({ revisions_dropped: 0 });
    await requireWhole(store, directory);
  }
});

test('a compaction that the store is closed on at any step leaves the old files, and none of its own', async () => {
  for (let step = 0; ; step++) {
    const { store, directory } = await filled();
    let closed: Promise<void> | undefined;
    const { reached } = atStep(step, () => void (closed = store.close()));
    const ended: unknown = await store.compact('job', 'v1').catch((error: unknown) => error);
    vi.restoreAllMocks();
    await closed;
    if (!reached()) {
      expect(step).toBeGreaterThan(8);
      return;
    }
    const isDone = existsSync(join(directory, 'views/job/v1/g1'));
    expect(ended).toMatchObject(isDone ? { feature_view: 'job' } : { code: 'SHUTTING_DOWN' });
    expect(existsSync(join(directory, 'views/job/v1/data.mdb'))).toBe(!isDone);
    await requireWhole(open(directory), directory);
  }
});

test('a view that is dropped at any step of its compaction is gone, with all its files', async () => {
  for (let step = 0; ; step++) {
    const { store, directory } = await filled();
    let dropped: Promise<void> | undefined;
    const { reached } = atStep(step, () => void (dropped = store.dropView('job')));
    const ended: unknown = await store.compact('job', 'v1').catch((error: unknown) => error);
    vi.restoreAllMocks();
    await dropped;
    if (!reached()) {
      expect(step).toBeGreaterThan(8);
      return;
    }
    if (ended instanceof Error) {
      expect(ended).toMatchObject({ code: expect.stringMatching(/^(VIEW|VERSION)_NOT_FOUND$/) });
    }
    expect(existsSync(join(directory, 'views/job'))).toBe(false);
    store.createView(viewOf('job'));
    await store.commit('job', 'v1', { rows: batchOf(ROWS) });
    await requireWhole(store, directory);
  }
});

test('a compaction whose files the catalogue cannot name serves the old ones', async () => {
  const { store, directory } = await filled();
  vi.spyOn(Catalogue.prototype, 'putGeneration').mockImplementation(() => {
    throw new Error('EIO: i/o error');
  });
  await expect(store.compact('job', 'v1')).rejects.toThrow('EIO');
  vi.restoreAllMocks();
  expect(readdirSync(join(directory, 'views/job/v1'))).not.toContain('g1');
  await requireWhole(store, directory);
});

test('where it is open whether the catalogue names the new files, nothing more is written until a restart', async () => {
  const { store, directory } = await filled();
  const { putGeneration } = Object.getOwnPropertyDescriptors(Catalogue.prototype);
  vi.spyOn(Catalogue.prototype, 'putGeneration').mockImplementation(function (
    this: Catalogue,
    ...generation
  ) {
    putGeneration.value!.apply(this, generation);
    throw new Error('EIO: the flush failed');
  });
  await expect(store.compact('job', 'v1')).rejects.toThrow('the flush failed');
  vi.restoreAllMocks();
  expect(store.failure).toContain('the flush failed');
  const late = { rows: batchOf([{ id: 'late', event: 1, vector: [7, 7] }]) };
  await expect(store.commit('job', 'v1', late)).rejects.toThrow('the flush failed');
  expect(store.version('job', 'v1').counters().revisions).toBe(700);
  await store.close();
  await requireWhole(open(directory), directory);
});
