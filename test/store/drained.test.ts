import { expect, test } from 'vitest';

import { RevisionBatch } from '../../src/store/batch.ts';
import { deadShare } from '../../src/store/dead-share.ts';
import { drainedUpTo, lettersKey, sinkKey } from '../../src/store/drained.ts';
import type { Store } from '../../src/store/store.ts';
import { batchOf, TestClock, testStore, viewOf } from '../support/store.ts';

/** Says that a sink has published up to the seq. */
async function drain(store: Store, name: string, expected: bigint | undefined, seq: number) {
  const offset = { ...sinkKey(name, 'topic'), expected, next: BigInt(seq) };
  await store.commit('job', 'v1', { rows: new RevisionBatch(8, 0), offset });
}

function eventsOf(store: Store): number[] {
  const { log } = store.version('job', 'v1');
  return log.read(0, store.snapshot, 100).map(({ event }) => event);
}

async function storeWithHistory(): Promise<Store> {
  const clock = new TestClock(10);
  const store = testStore(viewOf('job'), clock);
  for (const event of [1, 2, 3, 4]) {
    const rows = batchOf([{ id: 'a', event, vector: [event, 0] }]);
    await store.commit('job', 'v1', { rows });
  }
  clock.now = 100;
  await store.advanceHorizon('job', 50);
  return store;
}

test('without a sink compaction leaves behind what retention has let go (A10)', async () => {
  const store = await storeWithHistory();
  await store.compact('job', 'v1');
  expect(eventsOf(store)).toEqual([4]);
});

test('compaction keeps what a sink has not published yet, until it has', async () => {
  const store = await storeWithHistory();
  const [, second] = store.version('job', 'v1').log.read(0, store.snapshot, 2);
  await drain(store, 'fast', undefined, store.snapshot);
  await drain(store, 'slow', undefined, second!.seq);
  await store.compact('job', 'v1');
  expect(eventsOf(store)).toEqual([3, 4]);
  // What is kept for the sink is not worth another compaction.
  const signal = new AbortController().signal;
  expect(await deadShare(store.version('job', 'v1'), signal)).toBe(0);
  await drain(store, 'slow', BigInt(second!.seq), store.snapshot);
  await store.compact('job', 'v1');
  expect(eventsOf(store)).toEqual([4]);
});

test('a sink that has published nothing yet keeps all', async () => {
  const store = await storeWithHistory();
  await drain(store, 'new', undefined, 0);
  await store.compact('job', 'v1');
  expect(eventsOf(store)).toEqual([1, 2, 3, 4]);
});

test('only the positions of sinks count, and they survive compaction', async () => {
  const store = await storeWithHistory();
  const letters = lettersKey({ source: 's', topic: 't', partition: 0 });
  const offset = { ...letters, expected: undefined, next: 1n };
  await store.commit('job', 'v1', { rows: new RevisionBatch(8, 0), offset });
  expect(drainedUpTo(store.version('job', 'v1').offsets)).toBe(Infinity);
  await drain(store, 'out', undefined, 7);
  await store.compact('job', 'v1');
  expect(drainedUpTo(store.version('job', 'v1').offsets)).toBe(7);
});
