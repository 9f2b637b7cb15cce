import { expect, onTestFinished, test } from 'vitest';

import { openStore } from '../../src/store/store.ts';
import { follow } from '../model/following.ts';
import { batchOf, TestClock, testStore, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { type Answer, type Api, startApi } from './harness.ts';

const MOMENT = '1970-01-01T00:00:00Z';
const ENTITY = '/v1/feature-views/job/entities/a';
const SPINE = { 'content-type': 'application/x-ndjson' };

/** The same entity at a snapshot, asked through every door. */
const DOORS: [string, (api: Api, at: number) => Promise<Answer>][] = [
  ['a get', async (api, at) => api.send('GET', `${ENTITY}?at_snapshot=${at}`)],
  ['a timeline', async (api, at) => api.send('GET', `${ENTITY}/timeline?at_snapshot=${at}`)],
  [
    'a lookup',
    async (api, at) => {
      const lookups = [{ feature_view: 'job', entity_ids: ['a'] }];
      return api.send('POST', '/v1/lookup', { lookups, at_snapshot: at });
    },
  ],
  [
    'an explanation',
    async (api, at) =>
      api.send('POST', '/v1/explain', { feature_view: 'job', entity_id: 'a', at_snapshot: at }),
  ],
  [
    'a diff',
    async (api, at) => {
      const between = { from: MOMENT, to: MOMENT };
      return api.send('POST', '/v1/diff', { feature_view: 'job', ...between, at_snapshot: at });
    },
  ],
  [
    'a training join',
    async (api, at) => {
      const path = `/v1/get-historical-features?feature_views=job&at_snapshot=${at}`;
      const row = JSON.stringify({ job_id: 'a', event_timestamp: MOMENT });
      return api.send('POST', path, `${row}\n`, SPINE);
    },
  ],
];

test.each(DOORS)(
  '%s at a snapshot of the lost leader is refused by what was promoted (A9)',
  async (_door, ask) => {
    const clock = new TestClock();
    const leader = testStore(viewOf('job'), clock);
    const rows = batchOf([{ id: 'a', event: 0, vector: [1, 1] }]);
    const { snapshot: shared } = await leader.commit('job', 'v1', { rows });
    const store = openStore(tempDirectory(), clock.read);
    onTestFinished(async () => store.close());
    await follow(leader, store, 10);
    await store.replica.promote(() => 0);
    const api = await startApi({ store });
    for (const at of [shared, store.snapshot]) expect((await ask(api, at)).status).toBe(200);
    for (const at of [shared + 1, store.snapshot - 1]) {
      const { status, body } = await ask(api, at);
      expect([status, body['code']]).toEqual([409, 'SNAPSHOT_UNAVAILABLE']);
    }
    for (const [path, expected] of [
      [`${ENTITY}?min_snapshot=${shared}`, 200],
      // What was acknowledged there is not here: nobody reads their own write.
      [`${ENTITY}?min_snapshot=${shared + 1}`, 409],
      [`/v1/changes?after=${shared}`, 200],
      [`/v1/changes?after=${shared + 1}`, 409],
      [`/v1/changes?after=${store.snapshot}`, 200],
    ] as const) {
      expect([path, (await api.send('GET', path)).status]).toEqual([path, expected]);
    }
  },
);

test.each(DOORS)(
  '%s at a snapshot of before its view was dropped and made anew is refused (A9)',
  async (_door, ask) => {
    const store = testStore(viewOf('job'));
    const rows = batchOf([{ id: 'a', event: 0, vector: [1, 1] }]);
    const { snapshot } = await store.commit('job', 'v1', { rows });
    const api = await startApi({ store });
    expect((await ask(api, snapshot)).status).toBe(200);
    await store.dropView('job');
    store.createView(viewOf('job'));
    const { status, body } = await ask(api, snapshot);
    expect([status, body['code']]).toEqual([409, 'SNAPSHOT_UNAVAILABLE']);
    expect(body['detail']).toContain('the model version v1 was made at');
    await expect.poll(async () => (await ask(api, store.snapshot)).status).toBe(200);
  },
);
