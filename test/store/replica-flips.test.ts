import { expect, test } from 'vitest';

import { type Micros, micros } from '../../src/ground/time.ts';
import type { GateResult } from '../../src/store/catalogue.ts';
import type { Store } from '../../src/store/store.ts';
import { caughtUp, expectAlike, Node } from '../support/replica.ts';
import { batchOf, modelVersion, TestClock, viewOf } from '../support/store.ts';

/** Numbers and texts that come out of some encodings as others. */
const GATES: GateResult[] = [
  { gate: 'a', ok: true, value: Number.NaN, bound: Number.POSITIVE_INFINITY, message: 'x\ud800y' },
  { gate: 'b', ok: true, value: -0, bound: 0.1 + 0.2, message: '' },
  { gate: 'c', ok: false, value: 1e21, bound: 2 ** 40, message: 'é' },
  { gate: 'd', ok: false, value: null, bound: -1.5, message: 'z'.repeat(70_000) },
];
const FOR_EVER = { kept_until: undefined };

async function push(store: Store, version: string, ...ids: string[]): Promise<void> {
  const rows = ids.map((id, at) => ({ id, event: store.snapshot + at, vector: [at, 1] }));
  await store.commit('job', version, { rows: batchOf(rows) });
}

/** v1 and v2 with revisions of both. */
async function startLeader(node: Node): Promise<string> {
  const url = await node.serve();
  node.store.createView(viewOf('job'));
  node.store.addVersion('job', modelVersion('v2'));
  await push(node.store, 'v1', 'a', 'b');
  await push(node.store, 'v2', 'a', 'b');
  return url;
}

/** v1 goes, another one has its name, is promoted, and rolled back. */
async function flip(store: Store): Promise<void> {
  const kept_until: Micros = micros(5);
  await store.promote('job', 'v2', { kept_until, gates: GATES, reason: 'better' });
  await push(store, 'v1', 'c');
  await store.retire('job', 'v1', { reason: 'worse' });
  store.addVersion('job', modelVersion('v1'));
  await push(store, 'v1', 'd');
  await store.promote('job', 'v1', { ...FOR_EVER, gates: GATES, forced: true });
  await store.rollBack('job', {});
}

test('flips and retirements reach a replica that was behind, one that is new, and its own, and are known again', async () => {
  const clock = new TestClock();
  const [leader, early, late, second] = Array.from({ length: 4 }, () => new Node(clock.read));
  const url = await startLeader(leader!);
  early!.follow(url);
  await caughtUp(leader!.store, early!.store);
  await early!.follower!.stop();
  await flip(leader!.store);
  early!.follow(url);
  late!.follow(url);
  second!.follow(await early!.serve());
  for (const replica of [early!, late!, second!]) {
    await caughtUp(leader!.store, replica.store);
    expectAlike(leader!.store, replica.store);
  }
  // Who connects again is told the events again, and holds them against its own.
  await late!.follower!.stop();
  await push(leader!.store, 'v1', 'e');
  late!.follow(url);
  await caughtUp(leader!.store, late!.store);
  expectAlike(leader!.store, late!.store);
  expect(late!.store.catalogue.mustGetView('job').aliases).toEqual({
    current: 'v2',
    candidate: 'v1',
  });
});

test('a replica takes no flip of its own, and goes on with the history when it leads', async () => {
  const clock = new TestClock();
  const [leader, replica, next] = Array.from({ length: 3 }, () => new Node(clock.read));
  const follower = replica!.follow(await startLeader(leader!));
  await flip(leader!.store);
  await caughtUp(leader!.store, replica!.store);
  const { store } = replica!;
  const refusal = { code: 'READ_ONLY_REPLICA' };
  await expect(store.promote('job', 'v1', FOR_EVER)).rejects.toMatchObject(refusal);
  await expect(store.rollBack('job', {})).rejects.toMatchObject(refusal);
  await expect(store.retire('job', 'v1', {})).rejects.toMatchObject(refusal);
  await follower.promote(Math.random);
  await store.promote('job', 'v1', FOR_EVER);
  await store.retire('job', 'v2', {});
  next!.follow(await replica!.serve());
  await caughtUp(store, next!.store);
  expectAlike(store, next!.store);
  const types = next!.store.catalogue.history('job').map(({ type }) => type);
  expect(types.slice(2)).toEqual([
    'promoted',
    'version_retired',
    'view',
    'promoted',
    'rolled_back',
    'promoted',
    'version_retired',
  ]);
});
