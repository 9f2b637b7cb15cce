import { join } from 'node:path';

import { expect, onTestFinished, test, vi } from 'vitest';

import { resolveSnapshot } from '../../src/api/question.ts';
import type { LeaderItem } from '../../src/store/leader.ts';
import { restoreBackup } from '../../src/store/restore.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { follow } from '../model/following.ts';
import { answersOf, differences } from '../support/answers.ts';
import { batchOf, TestClock, testStore, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const clock = new TestClock();
const AS_IT_WAS = { replace: false, erasedFrom: undefined, noNewerErasures: true };
/** No chance: two that go on from one past do so at the same seq. */
const SAME = () => 0;

/** A store that can be opened again, as one that is told to follow is. */
class Branch {
  readonly directory: string;
  store: Store;

  constructor(directory = tempDirectory()) {
    this.directory = directory;
    this.store = openStore(directory, clock.read);
    onTestFinished(async () => this.store.close());
  }

  async reopen(): Promise<void> {
    await this.store.close();
    this.store = openStore(this.directory, clock.read);
  }

  async follow(leader: Store): Promise<void> {
    await this.reopen();
    this.store.replica.aim('http://leader.example');
    await follow(leader, this.store, 1_000);
  }
}

test('a promoted store does not follow the leader that it left, whatever its settings say', async () => {
  const leader = testStore(viewOf('job'), clock);
  const replica = new Branch();
  await follow(leader, replica.store, 1_000);
  await replica.store.replica.promote(SAME);
  await replica.reopen();
  const refusal = { code: 'REPLICA_DIVERGED', message: expect.stringContaining('without follow') };
  await expect(follow(leader, replica.store, 1_000)).rejects.toMatchObject(refusal);
  expect(replica.store.catalogue.following()).toBeUndefined();
});

async function push(store: Store, id: string, event: number, view = 'job'): Promise<number> {
  const rows = batchOf([{ id, event, vector: [event, 1] }]);
  return (await store.commit(view, 'v1', { rows })).snapshot;
}

function expectAlike(one: Store, other: Store): void {
  expect(other.snapshot).toBe(one.snapshot);
  const asked = { ids: ['a', 'b', 'c'], moments: [0, 1, 2, 3], snapshot: one.snapshot };
  expect(differences(answersOf(one, asked), answersOf(other, asked))).toEqual([]);
}

/** Two replicas of a lost leader, both promoted. */
async function promotedTwice(random: () => number): Promise<[Branch, Branch]> {
  const leader = testStore({ ...viewOf('job'), retention: 500 }, clock);
  await push(leader, 'a', 1);
  const both: [Branch, Branch] = [new Branch(), new Branch()];
  for (const { store } of both) {
    await follow(leader, store, 1_000);
    await store.replica.promote(random);
  }
  return both;
}

test('an erasure of the leader is not taken for another event with its seq (A8)', async () => {
  const [one, other] = await promotedTwice(SAME);
  await other.store.advanceHorizon('job', 100);
  await one.store.erase({ entity: 'job' }, ['a']);
  expect(other.store.catalogue.lastEvent()).toBe(one.store.catalogue.lastEvent());
  await expect(other.follow(one.store)).rejects.toMatchObject({
    code: 'REPLICA_DIVERGED',
    message: expect.stringContaining('is another one here') as string,
  });
  expect(other.store.catalogue.following()).toBeUndefined();
});

test('a replica does not pass an event by that it has another one for', async () => {
  const leader = testStore(viewOf('job'), clock);
  const replica = new Branch();
  await follow(leader, replica.store, 1_000);
  await leader.erase({ entity: 'job' }, ['a']);
  const [event] = leader.catalogue.events(replica.store.snapshot, 1e9);
  if (event?.type !== 'erased') throw new Error('there is an erasure');
  await replica.store.replica.apply([{ event }, { event }], 0, 1);
  const changed = { ...event, hashes: new Uint8Array(event.hashes.byteLength) };
  await expect(replica.store.replica.apply([{ event: changed }], 0, 1)).rejects.toMatchObject({
    code: 'REPLICA_DIVERGED',
  });
});

test('two stores that go on from one past do so at other seqs', async () => {
  const chances = [0.25, 0.5];
  const [one, other] = await promotedTwice(() => chances.shift()!);
  expect(one.store.snapshot + 2 ** 32).toBeLessThan(other.store.snapshot);
  await other.store.advanceHorizon('job', 100);
  await one.store.erase({ entity: 'job' }, ['a']);
  await expect(other.follow(one.store)).rejects.toMatchObject({ code: 'REPLICA_DIVERGED' });

  const backup = tempDirectory();
  await one.store.backup(backup);
  const snapshots: number[] = [];
  for (const chance of [0.25, 0.5]) {
    const directory = tempDirectory();
    await restoreBackup(backup, directory, AS_IT_WAS, clock.read, () => chance);
    snapshots.push(new Branch(directory).store.snapshot);
  }
  expect(snapshots[0]! + 2 ** 32).toBeLessThan(snapshots[1]!);
});

/** A replica that holds the beginning of what its leader stored last, and another one that does not. */
async function withHalf(): Promise<{ half: Branch; whole: Branch }> {
  const leader = testStore(viewOf('job'), clock);
  await push(leader, 'a', 1);
  const [half, whole] = [new Branch(), new Branch()];
  for (const { store } of [half, whole]) await follow(leader, store, 1_000);
  await push(leader, 'a', 2);
  await push(leader, 'b', 1);
  const crash = vi.spyOn(half.store.catalogue, 'putApplied').mockRejectedValue(new Error('killed'));
  await expect(follow(leader, half.store, 1_000)).rejects.toThrow('killed');
  crash.mockRestore();
  await half.reopen();
  return { half, whole };
}

test('what a promotion took back leaves no vector under an id that another leader gives', async () => {
  const { half, whole } = await withHalf();
  await half.store.replica.promote(SAME);
  await whole.store.replica.promote(SAME);
  const { vectors } = half.store.version('job', 'v1');
  expect([...vectors.ids()]).toEqual([0]);
  await push(whole.store, 'c', 3);
  await half.follow(whole.store);
  expectAlike(whole.store, half.store);
  await half.store.close();
  expect((await verifyStore(half.directory)).problems).toEqual([]);
});

test('a vector that was stored before a half of a commit is kept when that is taken back', async () => {
  const leader = testStore(viewOf('job'), clock);
  await push(leader, 'a', 1);
  const replica = new Branch();
  await follow(leader, replica.store, 1_000);
  // A confirmation: it points to the vector that is there.
  const rows = batchOf([{ id: 'a', event: 2, vector: [1, 1] }]);
  await leader.commit('job', 'v1', { rows });
  const crash = vi
    .spyOn(replica.store.catalogue, 'putApplied')
    .mockRejectedValue(new Error('killed'));
  await expect(follow(leader, replica.store, 1_000)).rejects.toThrow('killed');
  crash.mockRestore();
  await replica.reopen();
  expect(replica.store.version('job', 'v1').counters().revisions).toBe(2);
  await replica.store.replica.promote(SAME);
  expect(replica.store.version('job', 'v1').counters().revisions).toBe(1);
  await replica.store.close();
  expect((await verifyStore(replica.directory)).problems).toEqual([]);
});

test('a vector of the leader is not taken for another one with its id', async () => {
  const { half, whole } = await withHalf();
  await whole.store.replica.promote(SAME);
  await push(whole.store, 'c', 3);
  // As one that was left without its revision.
  const { environment, files } = half.store.version('job', 'v1');
  for (const seq of files.log.read(half.store.snapshot, 1e15, 9).map((change) => change.seq)) {
    await environment.commit(() => files.log.remove(seq));
  }
  await half.store.catalogue.putApplied(half.store.snapshot, 1, 0);
  await expect(half.follow(whole.store)).rejects.toMatchObject({
    code: 'REPLICA_DIVERGED',
    message: expect.stringContaining('the vector 1 of job@v1') as string,
  });
});

test('events that a replica has above what it shares are told it again by who was promoted', async () => {
  const leader = testStore(viewOf('job'), clock);
  await push(leader, 'a', 1);
  const [behind, ahead] = [new Branch(), new Branch()];
  for (const { store } of [behind, ahead]) await follow(leader, store, 1_000);
  await leader.erase({ entity: 'job' }, ['b']);
  const [event] = leader.catalogue.events(behind.store.snapshot, 1e9);
  // One has heard of the erasure, and the other one of all that is up to there.
  await behind.store.replica.apply([{ event: event! }], 0, leader.catalogue.seqReserved());
  await follow(leader, ahead.store, 1_000);
  expect(ahead.store.snapshot).toBeGreaterThan(behind.store.snapshot);
  await behind.store.replica.promote(SAME);
  expect(ahead.store.replica.after).toBeLessThan(event!.seq);
  await ahead.follow(behind.store);
  expectAlike(behind.store, ahead.store);
});

test('a snapshot of the lost leader is no snapshot of what was promoted or restored (A9)', async () => {
  const leader = testStore(viewOf('job'), clock);
  const shared = await push(leader, 'a', 1);
  const replica = new Branch();
  await follow(leader, replica.store, 1_000);
  const backup = tempDirectory();
  const { snapshot: cut } = await leader.backup(backup);
  const lost = await push(leader, 'a', 2);
  await replica.store.replica.promote(SAME);
  const directory = tempDirectory();
  await restoreBackup(backup, directory, AS_IT_WAS, clock.read, SAME);
  const restored = new Branch(directory);
  const last = new Branch();
  await follow(replica.store, last.store, 1_000);
  for (const { store, upTo } of [
    { store: replica.store, upTo: shared },
    { store: restored.store, upTo: cut },
    { store: last.store, upTo: shared },
  ]) {
    const first = store.snapshot;
    expect(resolveSnapshot({ at_snapshot: upTo, min_snapshot: upTo }, store, [])).toBe(upTo);
    expect(resolveSnapshot({ at_snapshot: first }, store, [])).toBe(first);
    expect(resolveSnapshot({ min_snapshot: first }, store, [])).toBe(first);
    for (const asked of [upTo + 1, lost + 1, first - 1]) {
      for (const question of [{ at_snapshot: asked }, { min_snapshot: asked }]) {
        expect(() => resolveSnapshot(question, store, [])).toThrow(`up to ${upTo} alone`);
      }
    }
  }
});

test('a snapshot of before a version was made is none of it: another one may have had its name (A9)', async () => {
  const leader = testStore(viewOf('job'), clock);
  const snapshot = await push(leader, 'a', 1);
  await leader.dropView('job');
  leader.createView(viewOf('job'));
  leader.addVersion('job', { ...viewOf('job').versions['v1']!, version: 'v2' });
  await push(leader, 'b', 1);
  const replica = new Branch();
  await follow(leader, replica.store, 1_000);
  await replica.reopen();
  for (const store of [leader, replica.store]) {
    const { v1, v2 } = store.catalogue.mustGetView('job').versions;
    const ask = (at: number, ...versions: (typeof v1)[]) =>
      resolveSnapshot({ at_snapshot: at }, store, versions as NonNullable<typeof v1>[]);
    expect(() => ask(snapshot, v1)).toThrow('the model version v1 was made at');
    const made = v2!.created_seq!;
    expect(ask(made - 1, v1)).toBe(made - 1);
    expect(() => ask(made - 1, v1, v2)).toThrow('the model version v2 was made at');
    expect(ask(made, v1, v2)).toBe(made);
  }
});

test('a replica that has not come as far as its leader’s horizon is not promoted, nor backed up (A10)', async () => {
  const time = new TestClock();
  const leader = testStore(viewOf('job'), time);
  await push(leader, 'a', 1);
  await push(leader, 'b', 1);
  time.now = 2_000;
  await push(leader, 'a', 2);
  time.now = 5_000;
  await leader.advanceHorizon('job', 3_000);
  await leader.compact('job', 'v1');
  const { store } = new Branch();
  const { catalogue } = leader;
  const [lineage, erasureKey] = [catalogue.lineage(), catalogue.erasureKey()];
  await store.replica.follow({ url: 'http://leader.example', lineage, erasureKey });
  const items: LeaderItem[] = catalogue.events(0, 1e9).map((event) => ({ event }));
  // The first revision of a is no longer sent: at this snapshot there is b alone.
  await store.replica.apply(items, 3, catalogue.seqReserved());
  const { seq } = catalogue.mustGetView('job').horizon!;
  await expect(store.replica.promote(SAME)).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: expect.stringContaining(`at snapshot 3, and is whole from ${seq} on`) as string,
  });
  const backup = join(tempDirectory(), 'backup');
  await expect(store.backup(backup)).rejects.toMatchObject({ code: 'BACKUP_REFUSED' });
  await follow(leader, store, 1_000);
  await store.backup(backup);
  await store.replica.promote(SAME);
});

test('a replica goes on while a long work keeps the files of a view that its leader dropped', async () => {
  const leader = testStore(viewOf('job'), clock);
  leader.createView(viewOf('old'));
  const replica = new Branch();
  await follow(leader, replica.store, 1_000);
  const work = Promise.withResolvers<void>();
  const working = replica.store.maintenance.run(undefined, async () => work.promise);
  await leader.dropView('old');
  await push(leader, 'a', 1);
  await follow(leader, replica.store, 1_000);
  expectAlike(leader, replica.store);
  // One that is made anew under its name waits for the files of the first.
  leader.createView(viewOf('old'));
  await push(leader, 'b', 1, 'old');
  const following = follow(leader, replica.store, 1_000);
  const isDone = vi.fn();
  void following.then(isDone);
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  expect(isDone).not.toHaveBeenCalled();
  work.resolve();
  await Promise.all([working, following]);
  expect(replica.store.version('old', 'v1').counters().revisions).toBe(1);
  // Whoever closes the store waits for what is still to be unlinked.
  await leader.dropView('old');
  await follow(leader, replica.store, 1_000);
  await replica.reopen();
  expect(replica.store.catalogue.views().map(({ name }) => name)).toEqual(['job']);
});

test('of a commit that is stored in one there is no half in what is promoted', async () => {
  const leader = testStore(viewOf('job'), clock);
  await push(leader, 'a', 1);
  const branch = new Branch();
  await follow(leader, branch.store, 1_000);
  const whole = branch.store.snapshot;
  const rows = batchOf(['a', 'b', 'c'].map((id) => ({ id, event: 2, vector: [2, 2] })));
  await leader.commit('job', 'v1', { rows, isAtomic: true });
  const { items } = leader.changes({ after: whole, upTo: leader.snapshot, limit: 2 });
  const [half] = items;
  if (half === undefined || !('changes' in half)) throw new Error('there are changes');
  const vectors = new Map([
    [1, new Uint8Array(new Float32Array([2, 2]).buffer)],
    [2, new Uint8Array(new Float32Array([2, 2]).buffer)],
  ]);
  const item = { view: 'job', version: 'v1', changes: half.changes, vectors };
  const upTo = whole + 2;
  await branch.store.replica.apply([item], upTo, leader.catalogue.seqReserved(), whole);
  await branch.reopen();
  expect(branch.store.snapshot).toBe(upTo);
  // Another connection that begins in the middle knows of no such snapshot.
  await branch.store.replica.follow({
    url: 'http://leader.example',
    lineage: leader.catalogue.lineage(),
    erasureKey: leader.catalogue.erasureKey(),
  });
  await branch.store.replica.apply([], upTo, leader.catalogue.seqReserved() + 1, 0);
  await branch.store.replica.promote(SAME);
  expect(branch.store.catalogue.lineage().parents).toMatchObject([{ up_to: whole }]);
  const { log } = branch.store.version('job', 'v1');
  expect(log.read(0, 1e15, 9).map(({ seq }) => seq)).toEqual([whole]);
  await branch.store.close();
  expect((await verifyStore(branch.directory)).problems).toEqual([]);
});

test.each(['constructor', 'toString', 'valueOf', 'hasOwnProperty'])(
  'a model version can be called %s, on a replica as well',
  async (version) => {
    const leader = testStore(viewOf('job'), clock);
    const replica = new Branch();
    await follow(leader, replica.store, 1_000);
    leader.addVersion('job', { ...viewOf('job').versions['v1']!, version });
    const rows = batchOf([{ id: 'a', event: 1, vector: [1, 1] }]);
    await leader.commit('job', version, { rows });
    await follow(leader, replica.store, 1_000);
    expect(replica.store.version('job', version).counters().revisions).toBe(1);
  },
);
