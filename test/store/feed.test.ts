import { expect, test } from 'vitest';

import type { FeedPage } from '../../src/store/feed.ts';
import type { Store } from '../../src/store/store.ts';
import { seeded } from '../model/random.ts';
import { batchOf, TestClock, testStore, viewOf } from '../support/store.ts';

/** The changes of a page, each as one text. */
function shown({ items }: FeedPage): string[] {
  return items.flatMap((item) =>
    'event' in item
      ? [`${item.event.seq} ${item.event.type}`]
      : item.changes.map(({ seq, entityId }) => `${seq} ${item.version.view} ${entityId}`),
  );
}

function readAll(store: Store, after = 0, limit = 1_000_000): string[] {
  const all: string[] = [];
  for (let at = after; ;) {
    const page = store.changes({ after: at, upTo: store.snapshot, limit });
    expect(shown(page).length).toBeLessThanOrEqual(limit);
    all.push(...shown(page));
    if (page.upTo === store.snapshot) return all;
    expect(page.upTo).toBeGreaterThan(at);
    at = page.upTo;
  }
}

async function push(store: Store, view: string, ...ids: string[]): Promise<void> {
  const rows = ids.map((id, at) => ({ id, event: store.snapshot + at, vector: [at, 1] }));
  await store.commit(view, 'v1', { rows: batchOf(rows) });
}

test('revisions of all versions and events of the catalogue are one sequence, by seq', async () => {
  const store = testStore();
  store.createView(viewOf('member'));
  await push(store, 'job', 'a', 'b');
  await push(store, 'member', 'm');
  await store.erase({ entity: 'member' }, ['n']);
  await push(store, 'job', 'c');
  expect(readAll(store)).toEqual([
    '1 view',
    '2 view',
    '3 job a',
    '4 job b',
    '5 member m',
    '6 erased',
    '7 job c',
  ]);
});

test('what is about one view is its revisions, its events, and the erasures that reach it', async () => {
  const store = testStore();
  store.createView(viewOf('member'));
  await push(store, 'job', 'a');
  await push(store, 'member', 'm');
  await store.erase({ entity: 'job', view: 'other' }, ['x']);
  await store.erase({ entity: 'job' }, ['x']);
  store.changeView('member', { max_age: 5 });
  await store.dropView('job');
  const about = { name: 'job', entity: 'job' };
  const page = store.changes({ after: 0, upTo: 100, limit: 100, about });
  // Of a view that was dropped the revisions are gone.
  expect(shown(page)).toEqual(['1 view', '6 erased', '8 view_dropped']);
  expect(page.upTo).toBe(store.snapshot);
});

test('what was erased is not told, also while it is still being removed (A8)', async () => {
  const store = testStore();
  await push(store, 'job', 'a', 'b', 'a');
  const release = Promise.withResolvers<void>();
  const busy = store.maintenance.run(undefined, async () => release.promise);
  await store.erase({ entity: 'job' }, ['a']);
  expect(store.version('job', 'v1').log.count()).toBe(3);
  await expect.poll(() => readAll(store)).toEqual(['1 view', '3 job b', '5 erased']);
  release.resolve();
  await busy;
});

test('going on after any seq, with pages of any size, gives the rest, once each and in order', async () => {
  const random = seeded(5);
  const store = testStore(viewOf('v0'), new TestClock());
  const views = ['v0', 'v1', 'v2', 'v3'];
  for (const view of views.slice(1)) store.createView(viewOf(view));
  for (let step = 0; step < 120; step++) {
    const view = views[random(4)]!;
    const kind = random(12);
    if (kind === 0) await store.erase({ entity: view }, [`gone${step}`]);
    else if (kind === 1) store.changeView(view, { max_age: step + 1 });
    else await push(store, view, ...Array.from({ length: 1 + random(40) }, (_, at) => `e${at}`));
  }
  const all = readAll(store);
  const seqs = all.map((text) => Number(text.split(' ')[0]));
  expect(seqs).toEqual(Array.from(seqs.keys(), (at) => at + 1));
  for (const limit of [1, 2, 15, 16, 17, 100, 1_000]) {
    expect(readAll(store, 0, limit), `in pages of ${limit}`).toEqual(all);
  }
  for (let after = 0; after <= store.snapshot; after += 7) {
    expect(readAll(store, after, 50), `after ${after}`).toEqual(all.slice(after));
  }
});

test('a page has few erasures where these are long, and what comes after is in the next', async () => {
  const store = testStore();
  const ids = Array.from({ length: 3_000 }, (_, at) => `id-${at}`);
  for (let count = 0; count < 40; count++) await store.erase({ entity: 'job' }, ids);
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'x', event: 1, vector: [1, 1] }]) });
  const sizes: number[] = [];
  const told: unknown[] = [];
  for (let after = 0; after < store.snapshot;) {
    const { items, upTo } = store.changes({ after, upTo: store.snapshot, limit: 1_000 });
    sizes.push(items.length);
    told.push(...items.map((item) => ('event' in item ? item.event.type : item.changes.length)));
    after = upTo;
  }
  expect(Math.max(...sizes)).toBeLessThan(20);
  expect(told).toEqual(['view', ...Array<string>(40).fill('erased'), 1]);
});
