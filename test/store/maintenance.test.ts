import { setImmediate } from 'node:timers/promises';

import { expect, test, vi } from 'vitest';

import { TidemarkError } from '../../src/ground/errors.ts';
import { maintain } from '../../src/store/maintain.ts';
import { Maintenance } from '../../src/store/maintenance.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { batchOf, modelVersion, TestClock, testStore, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

test('works run one at a time, in the order in which they were asked for', async () => {
  const maintenance = new Maintenance();
  const said: string[] = [];
  const work = (name: string) =>
    maintenance.run(undefined, async () => {
      said.push(`${name} begins`);
      await Promise.resolve();
      said.push(`${name} ends`);
    });
  const first = work('a');
  expect(maintenance.busy).toBe(true);
  await Promise.all([first, work('b')]);
  expect(said).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
  expect(maintenance.busy).toBe(false);
});

test('a work that fails does not hold up those after it', async () => {
  const maintenance = new Maintenance();
  const failing = maintenance.run('job', async () => {
    throw new Error('no');
  });
  const next = maintenance.run('job', async () => 'done');
  await expect(failing).rejects.toThrow('no');
  expect(await next).toBe('done');
});

test('a view made anew while others are being worked on can be compacted', async () => {
  const store = testStore();
  store.createView(viewOf('member'));
  await store.commit('member', 'v1', { rows: batchOf([{ id: 'a', event: 1, vector: [1, 0] }]) });
  const busy = [store.compact('member', 'v1')];
  const drop = store.dropView('job');
  for (let run = 0; run < 5; run++) busy.push(store.compact('member', 'v1'));
  await drop;
  store.createView(viewOf('job'));
  expect(await store.compact('job', 'v1')).toMatchObject({ feature_view: 'job' });
  await Promise.all(busy);
});

test('a version retired in a round of maintenance is left out of it, and fails nothing', async () => {
  const store = testStore();
  store.addVersion('job', modelVersion('v2'));
  await store.erase({ entity: 'job' }, ['b']);
  const versions = ['v1', 'v2'].map((version) => store.version('job', version));
  const settings = { deadShare: 0.5, erasedWithin: 1e12 };
  const done = await maintain(store, () => versions, settings, {
    removeErased: async ({ version }) => {
      if (version === 'v1') await store.retire('job', 'v2', {});
    },
    unlink: async () => {},
  });
  expect(done).toEqual([{ feature_view: 'job', version: 'v1', dead_share: 0 }]);
});

test('an entity erased while another one’s erasure is being lifted is erased whole (A8)', async () => {
  const store = testStore();
  const { timelines } = store.version('job', 'v1');
  await store.commit('job', 'v1', {
    rows: batchOf(['a', 'b', 'c'].map((id) => ({ id, event: 1, vector: [1, 0] }))),
  });
  // While another work goes on, removals wait: that of c is then the lift's to do first.
  const work = store.maintenance.run(undefined, async () => {});
  await store.erase({ entity: 'job' }, ['b']);
  const lifted = store.liftErasure({ entity: 'job' }, ['a', 'b']);
  await store.erase({ entity: 'job' }, ['c']);
  await work;
  while (timelines.ids(undefined, 10).includes('c')) await setImmediate();
  await Promise.all([store.erase({ entity: 'job' }, ['a']), lifted]);
  await store.maintenance.run(undefined, async () => {});
  expect(timelines.ids(undefined, 10)).toEqual([]);
});

test('a receipt that a crash left open is completed at the next start (A8)', async () => {
  const directory = tempDirectory();
  const clock = new TestClock().read;
  let store = openStore(directory, clock);
  store.createView(viewOf('job'));
  const { removed_at: _gone, ...receipt } = await store.erase({ entity: 'job' }, ['a']);
  // All is removed, and the receipt does not say so yet.
  store.catalogue.putReceipt(receipt);
  await store.close();
  store = openStore(directory, clock);
  await store.maintenance.run(undefined, async () => {});
  expect(store.catalogue.mustGetReceipt(receipt.id).removed_at).toBeDefined();
  await store.close();
});

const DAY = 86_400e6;

/** Two views of one entity type with an old and a new revision each; the first is damaged. */
async function halfDamaged(clock: TestClock): Promise<Store> {
  const store = testStore({ ...viewOf('damaged'), entity: 'job', retention: 30 * DAY }, clock);
  store.createView({ ...viewOf('whole'), entity: 'job', retention: 30 * DAY });
  for (const view of ['damaged', 'whole']) {
    const rows = ['a', 'b'].flatMap((id) =>
      [0, 1].map((event) => ({ id, event, vector: [event, 1] })),
    );
    await store.commit(view, 'v1', { rows: batchOf(rows) });
  }
  vi.spyOn(store.version('damaged', 'v1').timelines, 'readAll').mockImplementation(() => {
    throw new TidemarkError('STORE_CORRUPT', 'a chunk is damaged');
  });
  return store;
}

test('a damaged version keeps no other from its removals, its retention and its compaction (A8, A10)', async () => {
  const clock = new TestClock(1_000 * DAY);
  const store = await halfDamaged(clock);
  await store.erase({ entity: 'job' }, ['a']);
  const whole = store.version('whole', 'v1');
  expect(whole.timelines.ids(undefined, 9)).toEqual(['b']);
  clock.now += 40 * DAY;
  const done = await store.maintain({ deadShare: 0.1, erasedWithin: DAY });
  expect(done).toMatchObject([
    { feature_view: 'damaged', failure: { code: 'STORE_CORRUPT' } },
    { feature_view: 'whole', compaction: { revisions_dropped: 1 } },
  ]);
  expect(store.catalogue.mustGetView('whole').horizon?.moment).toBe(1_010 * DAY);
  await expect(store.compact('damaged', 'v1')).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  await store.compact('whole', 'v1');
});

test('files that could not be unlinked after a compaction are, at the next maintenance (A8)', async () => {
  const clock = new TestClock();
  const store = testStore(viewOf('job'), clock);
  await store.commit('job', 'v1', {
    rows: batchOf(['a', 'b'].map((id) => ({ id, event: 1, vector: [1, 0] }))),
  });
  const receipt = await store.erase({ entity: 'job' }, ['a']);
  vi.spyOn(store.catalogue, 'unlinkOldFiles').mockRejectedValueOnce(new Error('EBUSY'));
  await store.compact('job', 'v1');
  expect(store.compactedAt(receipt)).toBeUndefined();
  expect(store.catalogue.oldFiles('job', 'v1')).not.toEqual([]);
  clock.now += 5;
  await store.maintain({ deadShare: 1, erasedWithin: DAY });
  expect(store.catalogue.oldFiles('job', 'v1')).toEqual([]);
  expect(store.compactedAt(receipt)).toBe(clock.now);
});

test('a horizon moves on in steps of a hundredth of the retention (A10)', async () => {
  const clock = new TestClock(1_000 * DAY);
  const store = testStore({ ...viewOf('job'), retention: 100 * DAY }, clock);
  const moments: unknown[] = [];
  for (let hour = 0; hour < 49; hour++) {
    await store.maintain({ deadShare: 1, erasedWithin: DAY });
    moments.push(store.catalogue.mustGetView('job').horizon?.moment);
    clock.now += DAY / 24;
  }
  expect([...new Set(moments)]).toEqual([900 * DAY, 901 * DAY, 902 * DAY]);
});
