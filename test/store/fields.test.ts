import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';

import { expect, onTestFinished, test } from 'vitest';

import { ChangesEncoder, encodeFrame, readFrames } from '../../src/store/change-frames.ts';
import { type FieldRow, keptAt } from '../../src/store/fields.ts';
import type { LeaderItem } from '../../src/store/leader.ts';
import { restoreBackup } from '../../src/store/restore.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { batchOf, TestClock, testStore, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const clock = new TestClock(1_000);

function row(
  entityId: string,
  part: string,
  event: number,
  fields: FieldRow['fields'],
  known = event,
): FieldRow {
  return { entityId, part, event, known, fields };
}

/** Commits rows of fields, each with a revision whose vector is its event time. */
async function say(store: Store, rows: readonly FieldRow[]): Promise<void> {
  await store.commit('job', 'v1', {
    rows: batchOf(rows.map(({ entityId: id, event }) => ({ id, event, vector: [event, 1] }))),
    fields: rows,
  });
}

/** A copy may take but a few turns of the event loop: each of them is looked at. */
async function untilCopying(store: Store): Promise<void> {
  while (store.version('job', 'v1').fields.journal === undefined) await setImmediate();
}

function all(store: Store): FieldRow[] {
  return [...store.version('job', 'v1').fields.entries(3)];
}

test('what was said of a part is read back, the newest first, and another part’s is apart', async () => {
  const store = testStore();
  const rows = [-5, 0, 7, 2 ** 50].map((event) => row('ada', 'profile', event, { at: event }));
  await say(store, [
    ...rows,
    row('ada', 'resume', 9, { text: 'x' }),
    row('adam', 'profile', 1, null),
  ]);
  const { fields } = store.version('job', 'v1');
  expect(fields.newest('ada', 'profile', 9)).toEqual(rows.toReversed());
  expect(fields.newest('ada', 'profile', 2, rows[2])).toEqual([rows[1], rows[0]]);
  expect(fields.newest('ada', 'resume', 9)).toEqual([row('ada', 'resume', 9, { text: 'x' })]);
  expect(fields.newest('adam', 'profile', 9)).toEqual([row('adam', 'profile', 1, null)]);
  expect(fields.newest('ad', 'profile', 9)).toEqual([]);
});

test('of one moment of a part the last word counts', async () => {
  const store = testStore();
  await say(store, [row('ada', 'profile', 1, { a: 1 })]);
  await say(store, [row('ada', 'profile', 1, { a: 2 })]);
  expect(all(store)).toEqual([row('ada', 'profile', 1, { a: 2 })]);
});

test('what was put together of fields may be again what it was before a correction (A4)', async () => {
  const store = testStore();
  const outcomes = [];
  for (const value of [1, 2, 1, 1]) {
    const done = await store.commit('job', 'v1', {
      rows: batchOf([{ id: 'ada', event: 5, vector: [value, 0] }]),
      fields: [row('ada', 'profile', 5, { value })],
    });
    outcomes.push(...done.outcomes);
  }
  expect(outcomes).toEqual(['latest', 'latest', 'latest', 'duplicate']);
});

test('an erased entity’s fields are gone, and none are taken of it (A8)', async () => {
  const store = testStore();
  await say(store, [row('ada', 'profile', 1, { a: 1 }), row('bob', 'profile', 1, { a: 1 })]);
  await store.erase({ entity: 'job' }, ['ada']);
  expect(all(store)).toEqual([row('bob', 'profile', 1, { a: 1 })]);
  await say(store, [row('ada', 'profile', 2, { a: 1 })]);
  expect(all(store)).toHaveLength(1);
});

test('compaction keeps what still tells a field at the horizon, and all above it (A10)', async () => {
  const store = testStore();
  const rows = [
    row('ada', 'profile', 10, { a: 1, b: 1 }),
    row('ada', 'profile', 20, { a: 2, b: 2 }),
    row('ada', 'profile', 30, { a: 3 }),
    row('ada', 'profile', 50, { a: 5, b: 5 }),
    row('bob', 'profile', 10, { a: 1, b: 1 }),
    row('bob', 'profile', 20, null),
  ];
  await say(store, rows);
  await store.advanceHorizon('job', 40);
  await store.compact('job', 'v1');
  expect(all(store)).toEqual([...rows.slice(1, 4), rows[5]]);
});

test('that a part is gone at the horizon is kept, and what was said of it before goes (A10)', () => {
  const rows = [
    row('ada', 'p', 30, { a: 3 }),
    row('ada', 'p', 20, null),
    row('ada', 'p', 15, { a: 2 }, 50),
    row('ada', 'p', 10, { a: 1 }),
  ];
  expect([...keptAt(rows, { moment: 25 })]).toEqual(rows.slice(0, 3));
});

test('what is below the horizon and was known only above it is kept', () => {
  const rows = [
    row('ada', 'p', 10, { a: 3 }, 50),
    row('ada', 'p', 10, { a: 2 }),
    row('ada', 'p', 5, { a: 1 }),
  ];
  expect([...keptAt(rows, { moment: 40 })]).toEqual(rows.slice(0, 2));
});

test('rows that come while a compaction runs are in its files', async () => {
  const store = testStore();
  await say(store, [row('ada', 'profile', 1, { a: 1 })]);
  const compaction = store.compact('job', 'v1');
  for (let event = 2; event < 9; event++)
    await say(store, [row('ada', 'profile', event, { event })]);
  await compaction;
  expect(all(store)).toHaveLength(8);
});

test('a backup has what was said up to its snapshot; what is restored verifies', async () => {
  const store = testStore();
  await say(store, [row('ada', 'profile', 1, { a: 1 })]);
  const target = tempDirectory();
  const backup = store.backup(target);
  for (let event = 2; event < 5; event++)
    await say(store, [row('ada', 'profile', event, { event })]);
  await backup;
  const directory = tempDirectory();
  const settings = { replace: false, erasedFrom: undefined, noNewerErasures: true };
  await restoreBackup(target, directory, settings, clock.read, Math.random);
  expect((await verifyStore(directory)).problems).toEqual([]);
  const restored = openStore(directory, clock.read);
  onTestFinished(async () => restored.close());
  const { revisions } = restored.version('job', 'v1').counters();
  expect(all(restored)).toHaveLength(revisions);
});

test('fields of an entity that has no timeline are found by verify', async () => {
  const directory = tempDirectory();
  const store = openStore(directory, clock.read);
  store.createView(viewOf('job'));
  await store.commit('job', 'v1', { rows: batchOf([]), fields: [row('ada', 'profile', 1, null)] });
  await store.close();
  expect((await verifyStore(directory)).problems).toEqual([
    { where: 'job@v1: the fields of "ada"', what: 'it has no timeline' },
  ]);
});

test('what was said again while a backup was made is in it, and in the files of a compaction', async () => {
  const store = testStore();
  const rows = Array.from({ length: 600 }, (_, at) => row(`e${at}`, 'profile', 1, { at }));
  await say(store, rows);
  for (const work of ['backup', 'compact'] as const) {
    const target = tempDirectory();
    const done = work === 'backup' ? store.backup(target) : store.compact('job', 'v1');
    await untilCopying(store);
    await say(store, [rows[599]!]);
    await done;
    if (work === 'compact') continue;
    const settings = { replace: false, erasedFrom: undefined, noNewerErasures: true };
    const directory = tempDirectory();
    await restoreBackup(target, directory, settings, clock.read, Math.random);
    const restored = openStore(directory, clock.read);
    onTestFinished(async () => restored.close());
    expect(all(restored)).toHaveLength(600);
  }
  expect(all(store)).toHaveLength(600);
});

test('what is said of an entity while a compaction runs that erases it is in no file (A8)', async () => {
  const store = testStore();
  const rows = Array.from({ length: 3_000 }, (_, at) => row(`e${at}`, 'profile', 1, { at }));
  await say(store, [...rows, row('zzz', 'profile', 1, { secret: 'SECRET' })]);
  const done = store.compact('job', 'v1');
  await untilCopying(store);
  await say(store, [row('zzz', 'profile', 1, { secret: 'SECRET' })]);
  await store.erase({ entity: 'job' }, ['zzz']);
  await done;
  await store.maintenance.run(undefined, async () => {});
  expect(all(store)).toHaveLength(3_000);
  await store.liftErasure({ entity: 'job' }, ['zzz']);
  expect(store.version('job', 'v1').fields.newest('zzz', 'profile', 9)).toEqual([]);
});

test('a replica is told what was said of the parts, and goes on from there when it is promoted', async () => {
  const leader = testStore();
  const rows = [row('ada', 'profile', 1, { a: 1 }), row('ada', 'resume', 2, { b: [1, 'x', null] })];
  await say(leader, rows);
  const replica = openStore(tempDirectory(), clock.read);
  onTestFinished(async () => replica.close());
  const encoder = new ChangesEncoder();
  const { items, upTo } = leader.changes({ after: 0, upTo: leader.snapshot, limit: 100 });
  const frames = items.map((item) =>
    'event' in item
      ? encodeFrame({ type: 'event', event: item.event })
      : encoder.encode(item.version, item.changes, ['profile', 'resume']),
  );
  await replica.replica.follow({
    url: 'http://leader.example',
    lineage: leader.catalogue.lineage(),
    erasureKey: leader.catalogue.erasureKey(),
  });
  const told: LeaderItem[] = [];
  for await (const { frame } of readFrames(Readable.from(frames))) {
    if (frame.type === 'event' || frame.type === 'changes') told.push(frame);
  }
  await replica.replica.apply(told, upTo, leader.catalogue.seqReserved());
  await replica.replica.promote(Math.random);
  expect(all(replica)).toEqual(rows);
});
