import { expect, onTestFinished, test } from 'vitest';

import { RevisionBatch } from '../../src/store/batch.ts';
import type { CatalogueEvent } from '../../src/store/catalogue.ts';
import { TOMBSTONE } from '../../src/store/chunk.ts';
import type { LeaderItem } from '../../src/store/leader.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { batchOf, TestClock, testStore, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const URL = 'http://leader.example';

async function newReplica(leader: Store): Promise<{ store: Store; directory: string }> {
  const directory = tempDirectory();
  const store = openStore(directory, new TestClock().read);
  onTestFinished(async () => store.close());
  store.replica.aim(URL);
  await greet(leader, store);
  return { store, directory };
}

async function greet({ catalogue }: Store, replica: Store): Promise<void> {
  const [lineage, erasureKey] = [catalogue.lineage(), catalogue.erasureKey()];
  await replica.replica.follow({ url: URL, lineage, erasureKey });
}

/** What a leader would send now: its events, then the revisions in (`after`, `upTo`]. */
function sent(
  leader: Store,
  after: number,
  upTo = leader.snapshot,
): { events: LeaderItem[]; changes: LeaderItem[] } {
  const events = leader.catalogue.events(after, Number.MAX_SAFE_INTEGER);
  const { items } = leader.changes({ after, upTo, limit: 10_000 });
  const changes = items.flatMap((item): LeaderItem[] => {
    if ('event' in item) return [];
    const { version, changes: run } = item;
    const vectors = new Map<number, Uint8Array>();
    for (const { vectorId } of run) {
      const bytes = new Uint8Array(version.vectors.vectorBytes);
      if (vectorId !== TOMBSTONE) version.vectors.copyInto(vectorId, bytes, 0);
      vectors.set(vectorId, bytes);
    }
    return [{ view: version.view, version: version.version, changes: run, vectors }];
  });
  return { events: events.map((event: CatalogueEvent) => ({ event })), changes };
}

async function follow(leader: Store, replica: Store, upTo = leader.snapshot): Promise<void> {
  const { events, changes } = sent(leader, replica.snapshot, upTo);
  await replica.replica.apply([...events, ...changes], upTo, leader.catalogue.seqReserved());
}

function seqsOf(store: Store, view = 'job'): number[] {
  return store
    .version(view, 'v1')
    .log.read(0, Number.MAX_SAFE_INTEGER, 10_000)
    .map(({ seq }) => seq);
}

async function push(store: Store, view: string, ...ids: string[]): Promise<void> {
  const event = store.snapshot;
  const rows = ids.map((id, at) => ({ id, event: event + at, vector: [event, at] }));
  await store.commit(view, 'v1', { rows: batchOf(rows) });
}

/** Why the entity has no vector, or whether it has one. */
function reasonOf(store: Store, id: string, asOf?: number): string {
  const { reasons, statuses } = resolveMany(store.version('job', 'v1'), [id], {
    asOf,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: 0,
    snapshot: store.snapshot,
  });
  return REASONS[reasons[0]!] ?? STATUSES[statuses[0]!]!;
}

test('what was stored before is passed by, so that doing it again changes nothing', async () => {
  const leader = testStore();
  const { store, directory } = await newReplica(leader);
  await push(leader, 'job', 'a', 'b', 'a');
  const { events, changes } = sent(leader, 0);
  for (let time = 0; time < 3; time++) {
    await store.replica.apply([...events, ...changes], leader.snapshot, 100);
  }
  expect(seqsOf(store)).toEqual(seqsOf(leader));
  expect(store.snapshot).toBe(leader.snapshot);
  await store.close();
  expect((await verifyStore(directory)).problems).toEqual([]);
});

test('a replica that is opened again stands where it stood, and its snapshot never goes back (A9)', async () => {
  const leader = testStore();
  const { store, directory } = await newReplica(leader);
  await push(leader, 'job', 'a');
  await follow(leader, store);
  const { snapshot } = store;
  expect(snapshot).toBe(leader.snapshot);
  await store.close();
  const again = openStore(directory, new TestClock().read);
  onTestFinished(async () => again.close());
  expect(again.snapshot).toBe(snapshot);
  expect(again.following).toEqual({ leader: URL, applied: snapshot });
  // A leader that is told of again, with what it told before.
  await again.replica.apply([], snapshot - 1, 1);
  expect(again.snapshot).toBe(snapshot);
});

/** A replica in which some changes of the leader are stored, and no snapshot holds them yet. */
async function withLeftovers(): Promise<{ leader: Store; store: Store; directory: string }> {
  const leader = testStore();
  leader.createView(viewOf('member'));
  const fromKafka = async (offset: number, ...ids: string[]): Promise<void> => {
    const rows = new RevisionBatch(8);
    for (const [at, id] of ids.entries()) rows.addRow(id, offset + at, 1, TOMBSTONE, offset + at);
    const partition = { source: 'jobs', topic: 'changes', partition: 1 };
    const expected = leader.version('job', 'v1').offsets.next(partition);
    const next = BigInt(offset + ids.length + 3);
    await leader.commit('job', 'v1', { rows, offset: { ...partition, expected, next } });
  };
  await fromKafka(10, 'a', 'b');
  await push(leader, 'member', 'm');
  const { store, directory } = await newReplica(leader);
  await follow(leader, store);
  await fromKafka(20, 'a', 'c', 'c');
  await push(leader, 'member', 'n');
  const { changes } = sent(leader, store.snapshot);
  const [first, second] = changes as Extract<LeaderItem, { changes: unknown }>[];
  const broken = { ...second!, vectors: new Map() };
  await expect(
    store.replica.apply([first!, broken], leader.snapshot, leader.catalogue.seqReserved()),
  ).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  expect(seqsOf(store)).toEqual(seqsOf(leader));
  expect(store.snapshot).toBeLessThan(leader.snapshot - 3);
  return { leader, store, directory };
}

const PARTITION = { source: 'jobs', topic: 'changes', partition: 1 };

test('compaction puts no other files in place before what was stored is in a snapshot', async () => {
  const leader = testStore();
  const { store, directory } = await newReplica(leader);
  for (let step = 0; step < 100; step++) await push(leader, 'job', `e${step % 9}`, 'a', 'b');
  const { events, changes } = sent(leader, 0);
  await store.replica.apply(events, 1, 1);
  const [whole] = changes;
  if (whole === undefined || !('changes' in whole)) throw new Error('there are changes');
  const each = whole.changes.map((change) => ({ ...whole, changes: [change] }));
  const state = { isDone: false, compactions: 0 };
  const compacting = (async () => {
    for (; !state.isDone; state.compactions++) await store.compact('job', 'v1');
  })();
  for (let from = 0; from < each.length; from += 75) {
    const page = each.slice(from, from + 75);
    await store.replica.apply(page, page.at(-1)!.changes[0]!.seq, 1_000);
  }
  state.isDone = true;
  await compacting;
  expect(state.compactions).toBeGreaterThan(1);
  expect(seqsOf(store)).toEqual(seqsOf(leader));
  await store.close();
  expect((await verifyStore(directory)).problems).toEqual([]);
});

test('what was half stored is no answer, and is whole when it is sent again', async () => {
  const { leader, store, directory } = await withLeftovers();
  expect(reasonOf(store, 'c')).toBe('NOT_FOUND');
  await follow(leader, store);
  expect(seqsOf(store, 'member')).toEqual(seqsOf(leader, 'member'));
  expect(reasonOf(store, 'c')).toBe('DELETED');
  await store.close();
  expect((await verifyStore(directory)).problems).toEqual([]);
});

test('a promoted replica is its leader as of one snapshot: what was half stored is taken back', async () => {
  const { leader, store, directory } = await withLeftovers();
  const { snapshot } = store;
  await store.replica.promote(Math.random);
  expect(seqsOf(store)).toEqual(seqsOf(leader).filter((seq) => seq <= snapshot));
  expect(store.version('job', 'v1').counters()).toMatchObject({ revisions: 2, entities: 2 });
  expect(reasonOf(store, 'a')).toBe('DELETED');
  expect(reasonOf(store, 'c')).toBe('NOT_FOUND');
  expect(store.catalogue.lineage().parents).toEqual([
    { id: leader.catalogue.lineage().id, up_to: snapshot, from: store.snapshot },
  ]);
  await push(store, 'job', 'c');
  expect(seqsOf(store).at(-1)).toBeGreaterThan(leader.catalogue.seqReserved());
  await store.close();
  expect((await verifyStore(directory)).problems).toEqual([]);
});

test('a promoted replica’s sources go on after the last record that left a revision there (A12)', async () => {
  const { store } = await withLeftovers();
  const { offsets } = store.version('job', 'v1');
  // The leader's own is 26: it knows of records that left nothing.
  expect(offsets.next(PARTITION)).toBe(23n);
  await store.replica.promote(Math.random);
  expect(offsets.next(PARTITION)).toBe(20n);
});

test('a source that began anew on the leader goes on there on the replica, too (A12)', async () => {
  const leader = testStore();
  const { store } = await newReplica(leader);
  const offsets: (bigint | undefined)[] = [];
  for (const offset of [70, 71, 3]) {
    const rows = batchOf([]);
    rows.addRow('a', offset, 1, TOMBSTONE, offset);
    const expected = leader.version('job', 'v1').offsets.next(PARTITION);
    const next = BigInt(offset + 1);
    await leader.commit('job', 'v1', { rows, offset: { ...PARTITION, expected, next } });
    await follow(leader, store);
    offsets.push(store.version('job', 'v1').offsets.next(PARTITION));
  }
  expect(offsets).toEqual([71n, 72n, 4n]);
});

test('what the leader let go or erased is not asked of a replica that is still behind (A8, A10)', async () => {
  const clock = new TestClock(100);
  const leader = testStore(viewOf('job'), clock);
  const { store } = await newReplica(leader);
  await push(leader, 'job', 'a', 'b');
  await follow(leader, store);
  clock.now = 200;
  await push(leader, 'job', 'a', 'b');
  const between = leader.snapshot;
  await push(leader, 'job', 'a');
  clock.now = 300;
  await push(leader, 'job', 'a');
  await leader.erase({ entity: 'job' }, ['b']);
  await leader.advanceHorizon('job', 250);
  await leader.compact('job', 'v1');
  // The revisions of b, and those of a that are below the horizon, are not among these any more.
  await follow(leader, store, between);
  expect(store.snapshot).toBe(between);
  expect([reasonOf(store, 'a'), reasonOf(store, 'b')]).toEqual(['BEFORE_RETENTION', 'ERASED']);
  await follow(leader, store);
  expect([reasonOf(store, 'a'), reasonOf(store, 'b')]).toEqual(['PRESENT', 'ERASED']);
  expect(reasonOf(store, 'a', 249)).toBe('BEFORE_RETENTION');
});

test('revisions of a version that is not there are refused rather than left out', async () => {
  const leader = testStore();
  const { store } = await newReplica(leader);
  await push(leader, 'job', 'a');
  const { changes } = sent(leader, 0);
  await expect(store.replica.apply(changes, leader.snapshot, 1)).rejects.toMatchObject({
    code: 'VERSION_NOT_FOUND',
  });
  expect(store.snapshot).toBe(0);
});

test('events that a store has beyond the past it shares must be its leader’s, too', async () => {
  const leader = testStore();
  await push(leader, 'job', 'a');
  const { store } = await newReplica(leader);
  await follow(leader, store);
  // As a backup that was restored, with what was erased since.
  store.catalogue.branch(store.snapshot);
  await leader.erase({ entity: 'job' }, ['gone']);
  const [erased] = leader.catalogue.events(store.snapshot, 100);
  if (erased?.type === 'erased') store.catalogue.putErasure(erased);
  const own = testStore();
  await expect(greet(own, store)).rejects.toMatchObject({ code: 'REPLICA_DIVERGED' });
  await greet(leader, store);
  await push(leader, 'job', 'b');
  await follow(leader, store);
  expect(seqsOf(store)).toEqual(seqsOf(leader));
  expect(store.catalogue.lineage()).toEqual(leader.catalogue.lineage());

  store.catalogue.branch(store.snapshot);
  if (erased?.type === 'erased') store.catalogue.putErasure({ ...erased, seq: store.snapshot + 5 });
  await push(leader, 'job', 'c');
  await greet(leader, store);
  await expect(follow(leader, store)).rejects.toMatchObject({
    code: 'REPLICA_DIVERGED',
    message: expect.stringContaining(`up to seq ${store.snapshot + 5}`) as string,
  });
});
