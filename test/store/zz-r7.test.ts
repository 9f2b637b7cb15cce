import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { batchOf, modelVersion, testStore } from '../support/store.ts';

test('what a closed environment does to a reader', async () => {
  const store = testStore();
  store.addVersion('job', modelVersion('v2'));
  await store.commit('job', 'v2', { rows: batchOf([{ id: 'a', event: 1, vector: [1, 0] }]) });
  const held = store.version('job', 'v2');
  await store.retire('job', 'v2', {});
  for (const f of [() => held.timelines.ids(undefined, 10), () => held.log.read(0, 100, 10), () => held.counters(), () => held.environment.pin(), () => held.vectors.count(), () => held.environment.bytes()]) {
    try { console.log(String(f), f()); } catch (e) { console.log(String(f), 'threw', String(e)); }
  }
  try { await held.environment.commit(() => {}); console.log('committed'); } catch (e) { console.log('threw', String(e)); }
});

test('retire while upkeep is on its way', async () => {
  const store = testStore();
  for (const v of ['v2', 'v3']) {
    store.addVersion('job', modelVersion(v));
    await store.commit('job', v, { rows: batchOf(Array.from({ length: 300 }, (_, i) => ({ id: `a${i}`, event: 1, vector: [1, i] }))) });
  }
  await store.erase({ entity: 'job' }, ['a1']);
  const going = store.maintain({ deadShare: 0.9, erasedWithin: 1e12 });
  await turn();
  await store.retire('job', 'v3', {});
  await store.erase({ entity: 'job' }, ['a2']);
  console.log(await going);
});

test('a microtask watcher of snapshot and alias', async () => {
  const store = testStore();
  store.addVersion('job', modelVersion('v2'));
  await store.commit('job', 'v2', { rows: batchOf([{ id: 'a', event: 1, vector: [1, 0] }]) });
  const bad: unknown[] = [];
  let done = false;
  const p = (async () => { await store.promote('job', 'v2', { kept_until: undefined }); done = true; })();
  const commits = store.commit('job', 'v1', { rows: batchOf([{ id: 'a', event: 1, vector: [1, 0] }]) });
  let n = 0;
  while (!done) {
    for (let i = 0; i < 2000 && !done; i++) {
      await Promise.resolve();
      n++;
      const view = store.catalogue.mustGetView('job');
      const last = store.catalogue.lastEvent();
      if (last > store.snapshot) bad.push([view.aliases.current, last, store.snapshot]);
    }
    await turn();
  }
  await p; await commits;
  console.log('microtasks', n, 'bad', bad.length, bad[0]);
  expect(1).toBe(1);
});
