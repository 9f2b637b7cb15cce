import { setImmediate } from 'node:timers/promises';

import { expect, test } from 'vitest';

import { Maintenance } from '../../src/store/maintenance.ts';
import { openStore } from '../../src/store/store.ts';
import { batchOf, TestClock, testStore, viewOf } from '../support/store.ts';
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
