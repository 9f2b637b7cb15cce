import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { batchOf, TestClock, type TestRow, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

function newStore(clock = new TestClock()): { store: Store; directory: string } {
  const directory = tempDirectory();
  const store = openStore(directory, clock.read);
  onTestFinished(async () => store.close());
  store.createView(viewOf('job'));
  return { store, directory };
}

/** The first number of the vector, or the reason that there is none. */
function ask(store: Store, id: string, asOf?: number, snapshot = store.snapshot) {
  const version = store.version('job', 'v1');
  const resolution = resolveMany(version, [id], {
    asOf,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: 0,
    snapshot,
  });
  const vector = new Float32Array(2);
  gather(version.vectors, resolution, new Uint8Array(vector.buffer));
  return STATUSES[resolution.statuses[0]!] === 'PRESENT'
    ? vector[0]
    : (REASONS[resolution.reasons[0]!] ?? STATUSES[resolution.statuses[0]!]);
}

async function push(store: Store, ...rows: TestRow[]): Promise<number> {
  const { snapshot } = await store.commit('job', 'v1', { rows: batchOf(rows) });
  return snapshot;
}

test('compaction leaves what is below the horizon behind and every answer after it as it was (A10)', async () => {
  const clock = new TestClock(1_000);
  const { store, directory } = newStore(clock);
  for (let event = 1; event <= 300; event++) {
    await push(
      store,
      { id: 'a', event, vector: [event, 0] },
      { id: 'b', event: event * 10, vector: event % 7 === 0 ? null : [event, 1] },
    );
  }
  clock.now = 2_000;
  await store.advanceHorizon('job', 1_500);
  expect(ask(store, 'a', 1_499)).toBe('BEFORE_RETENTION');
  const before = [1_500, 1_600, 2_999, 3_000, undefined].map((asOf) => [
    ask(store, 'a', asOf),
    ask(store, 'b', asOf),
  ]);
  const done = await store.compact('job', 'v1');
  expect(done.revisions_dropped).toBeGreaterThan(400);
  expect(done.bytes_after).toBeLessThan(done.bytes_before);
  const after = [1_500, 1_600, 2_999, 3_000, undefined].map((asOf) => [
    ask(store, 'a', asOf),
    ask(store, 'b', asOf),
  ]);
  expect(after).toEqual(before);
  expect(readdirSync(join(directory, 'views/job/v1'))).toEqual(['g1']);
  await push(store, { id: 'c', event: 5_000, vector: [7, 7] });
  expect(ask(store, 'c')).toBe(7);
  expect((await verifyStore(directory)).problems).toEqual([]);
});

test('nothing that is written while a compaction runs is lost or doubled', async () => {
  const { store, directory } = newStore();
  for (let entity = 0; entity < 400; entity++) {
    await push(
      store,
      ...Array.from({ length: 10 }, (_, event) => ({
        id: `e${entity}`,
        event,
        vector: [entity, event],
      })),
    );
  }
  const state = { done: false, written: 0 };
  const write = async (): Promise<void> => {
    while (!state.done) {
      const at = state.written++;
      await push(store, { id: `e${at % 500}`, event: 100 + at, vector: [at, -1] });
    }
  };
  const writers = [write(), write()];
  for (let run = 1; run <= 3; run++) await store.compact('job', 'v1');
  state.done = true;
  await Promise.all(writers);
  const { revisions } = store.version('job', 'v1').counters();
  expect(revisions).toBe(4_000 + state.written);
  await store.close();
  expect(existsSync(join(directory, 'views/job/v1/data.mdb'))).toBe(false);
  expect((await verifyStore(directory)).problems).toEqual([]);
});

test('an erased entity is gone from every answer at every snapshot, and comes back when that is lifted (A8)', async () => {
  const { store, directory } = newStore();
  const first = await push(
    store,
    { id: 'a', event: 1, vector: [1, 0] },
    { id: 'b', event: 1, vector: [2, 0] },
  );
  const receipt = await store.erase({ entity: 'job' }, ['a', 'nobody']);
  expect(receipt).toMatchObject({ entities: 2, removed: { entities: 1, revisions: 1 } });
  expect([ask(store, 'a'), ask(store, 'a', 1, first), ask(store, 'nobody')]).toEqual([
    'ERASED',
    'ERASED',
    'ERASED',
  ]);
  expect(ask(store, 'b')).toBe(2);
  const again = await store.commit('job', 'v1', {
    rows: batchOf([
      { id: 'a', event: 1, vector: [1, 0] },
      { id: 'b', event: 2, vector: [3, 0] },
    ]),
  });
  expect(again.outcomes).toEqual(['erased', 'latest']);
  expect(store.compactedAt(receipt)).toBeUndefined();
  await store.compact('job', 'v1');
  expect(store.compactedAt(receipt)).toBeDefined();
  await store.liftErasure({ entity: 'job' }, ['a']);
  expect(ask(store, 'a')).toBe('NOT_FOUND');
  await push(store, { id: 'a', event: 1, vector: [1, 0] });
  expect(ask(store, 'a')).toBe(1);
  expect((await verifyStore(directory)).problems).toEqual([]);
});
