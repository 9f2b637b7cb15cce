import { expect, test } from 'vitest';

import type { Pinned } from '../../src/store/environment.ts';
import type { Store } from '../../src/store/store.ts';
import { resolveMany } from '../../src/timetravel/lookup.ts';
import { SkewCheck } from '../../src/timetravel/skew.ts';
import { type Api, JOB, minutesAgo, pushTo, startApi } from './harness.ts';

const NONE = { retention: 0, erased: 0, dropped: 0 };

/** A server that asks every answer again; what it found stands in `found`. */
async function startWatched(wrap: (store: Store) => Store = (store) => store) {
  const found: object[] = [];
  const api = await startApi();
  const skew = new SkewCheck({
    store: wrap(api.deps.store),
    sample: 1,
    queueMax: 1_000,
    random: () => 0.5,
    onMismatch: (row) => found.push(row),
  });
  const watched = await startApi({ store: api.deps.store, skew });
  await watched.send('PUT', '/v1/feature-views/job', { ...JOB, max_age: 'PT2H' });
  return { api: watched, skew, found };
}

async function lookUp(api: Api, accept: string, more: object = {}) {
  const answer = await api.send(
    'POST',
    '/v1/lookup',
    { lookups: [{ feature_view: 'job', entity_ids: ['a', 'b', 'c'] }], ...more },
    { accept },
  );
  expect(answer.status).toBe(200);
}

const TYPES = ['application/json', 'application/vnd.msgpack', 'application/vnd.safetensors'];

test('served answers are asked again through the join path, and are the same under late writes and compactions (A3, A9)', async () => {
  const { api, skew, found } = await startWatched();
  for (let round = 0; round < 60; round++) {
    const at = minutesAgo(110 - ((round * 37) % 100));
    await pushTo(
      api,
      ['a', 'b'].map((entity_id) => ({
        entity_id,
        event_timestamp: at,
        ...(round % 9 === 8 ? { deleted: true } : { vector: [round, 1] }),
      })),
    );
    const pushing = pushTo(api, [
      { entity_id: 'b', event_timestamp: minutesAgo(150 - round), vector: [round, 2] },
    ]);
    const compacting = round % 20 === 10 && api.deps.store.compact('job', 'v1');
    await lookUp(api, TYPES[round % 3]!);
    await lookUp(api, TYPES[round % 3]!, { as_of: minutesAgo(round), knowledge: 'input' });
    await lookUp(api, TYPES[round % 3]!, { max_age: 'PT30M', boundary: 'exclusive' });
    await Promise.all([pushing, compacting]);
  }
  await expect
    .poll(() => skew.counts)
    .toEqual({
      checked: 180,
      mismatches: 0,
      dropped: 0,
      passed_by: NONE,
    });
  expect(found).toEqual([]);
});

test('answers that are not as stored, of int8 and as float32, are asked again as they are stored', async () => {
  const { api, skew, found } = await startWatched();
  await api.send('PUT', '/v1/feature-views/small', { ...JOB, dtype: 'int8' });
  const record = { event_timestamp: minutesAgo(5), vector: [1, -2], scale: 0.5 };
  const records = ['a', 'b'].map((entity_id) => ({ ...record, entity_id }));
  await pushTo(api, records, { feature_view: 'small' });
  const lookups = [{ feature_view: 'small', entity_ids: ['a', 'b', 'c'] }];
  for (const accept of TYPES) {
    await lookUp(api, accept, { lookups });
    await lookUp(api, accept, { lookups, dtype: 'float32' });
  }
  await expect
    .poll(() => skew.counts)
    .toEqual({ checked: 6, mismatches: 0, dropped: 0, passed_by: NONE });
  expect(found).toEqual([]);
});

test('an answer that a join answers otherwise is counted and told (A3)', async () => {
  // The store that is asked again lacks what was served: as if two stores had drifted apart.
  const { api, skew, found } = await startWatched((store) => {
    const wrong = Object.create(store) as Store;
    wrong.version = (view, version) => {
      const right = store.version(view, version);
      const pin = (): Pinned => {
        const pinned = right.environment.pin();
        const timeline = { ...pinned.trees.get('timeline')!, root: undefined };
        return { ...pinned, trees: new Map([...pinned.trees, ['timeline', timeline]]) };
      };
      return Object.create(right, { environment: { value: { pin } } }) as typeof right;
    };
    return wrong;
  });
  await pushTo(api, [{ entity_id: 'b', event_timestamp: minutesAgo(1), vector: [1, 1] }]);
  await lookUp(api, TYPES[0]!);
  await expect.poll(() => skew.counts.mismatches).toBe(1);
  expect(found).toMatchObject([{ view: 'job', version: 'v1' }]);
});

test('an answer that an erasure or a drop has overtaken is no mismatch (A8)', async () => {
  const { api, skew } = await startWatched();
  await pushTo(api, [{ entity_id: 'b', event_timestamp: minutesAgo(1), vector: [1, 1] }]);
  const { store } = api.deps;
  const question = {
    asOf: undefined,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: Number.POSITIVE_INFINITY,
    now: 0,
    snapshot: store.snapshot,
  } as const;
  const view = store.catalogue.mustGetView('job');
  const remember = () =>
    skew.remember({
      view,
      version: 'v1',
      entityId: 'b',
      question,
      resolution: resolveMany(store.version('job', 'v1'), ['b'], question),
      row: 0,
      bytes: new Uint8Array(new Float32Array([1, 1]).buffer),
    });
  remember();
  await expect.poll(() => skew.counts).toMatchObject({ checked: 1, mismatches: 0 });
  remember();
  await store.erase({ entity: 'job' }, ['b']);
  await expect
    .poll(() => skew.counts)
    .toMatchObject({ passed_by: { ...NONE, erased: 1 }, mismatches: 0 });
});
