import { expect, test } from 'vitest';

import { limitsSchema } from '../../src/api/limits.ts';
import { type TimelineAnswer, timelineAnswer } from '../../src/api/schemas/timeline.ts';
import { type Api, microsOf, minutesAgo, NOW, pushTo, startWithJob } from './harness.ts';

/** So many revisions of `a`, one a minute, the last of them one minute ago. */
async function startWithHistory(count: number, rest: Parameters<typeof startWithJob>[0] = {}) {
  const api = await startWithJob(rest);
  const records = Array.from({ length: count }, (_, at) => ({
    entity_id: 'a',
    event_timestamp: minutesAgo(count - at),
    vector: [at, -at],
  }));
  await pushTo(api, records);
  return api;
}

async function page(api: Api, asked: object): Promise<TimelineAnswer> {
  const body = { feature_view: 'job', entity_id: 'a', ...asked };
  const answer = await api.send('POST', '/v1/timeline', body);
  expect(answer.status).toBe(200);
  return timelineAnswer.parse(answer.body);
}

test('a timeline is shown newest first, with its tombstones', async () => {
  const api = await startWithJob();
  await pushTo(api, [
    { entity_id: 'a', event_timestamp: minutesAgo(30), vector: [1, 2] },
    {
      entity_id: 'a',
      event_timestamp: minutesAgo(10),
      known_timestamp: minutesAgo(9),
      vector: [3, 4],
    },
    { entity_id: 'a', event_timestamp: minutesAgo(20), deleted: true },
  ]);
  const answer = await page(api, { include_vectors: true });
  expect(answer).toEqual({
    feature_view: 'job',
    version: 'v1',
    entity_id: 'a',
    snapshot: api.deps.store.snapshot,
    reason: null,
    revisions: [
      {
        event_timestamp: '2026-03-01T11:50:00Z',
        known_timestamp: '2026-03-01T11:51:00Z',
        created_timestamp: NOW,
        seq: answer.revisions[0]!.seq,
        deleted: false,
        vector_id: 1,
        vector: [3, 4],
      },
      expect.objectContaining({
        event_timestamp: '2026-03-01T11:40:00Z',
        deleted: true,
        vector_id: null,
        vector: null,
      }),
      expect.objectContaining({ event_timestamp: '2026-03-01T11:30:00Z', vector: [1, 2] }),
    ],
    next: null,
  });
  const get = await api.send(
    'GET',
    '/v1/feature-views/job/entities/a/timeline?include_vectors=true',
  );
  expect(get.body).toEqual(answer);
});

test('pages are of one state, whatever is written between them (A9)', async () => {
  const api = await startWithHistory(120);
  const whole = await page(api, { limit: 1_000 });
  expect(whole.revisions).toHaveLength(120);
  const seen: unknown[] = [];
  let cursor: string | null = null;
  do {
    const asked = { limit: 50, ...(cursor !== null && { cursor }) };
    const { revisions, next, snapshot }: TimelineAnswer = await page(api, asked);
    expect(snapshot).toBe(whole.snapshot);
    seen.push(...revisions);
    cursor = next;
    // A new newest, and a late one among those not yet shown.
    await pushTo(api, [
      { entity_id: 'a', event_timestamp: NOW, vector: [seen.length, 0] },
      { entity_id: 'a', event_timestamp: minutesAgo(119.5), vector: [seen.length, 1] },
    ]);
  } while (cursor !== null);
  expect(seen).toEqual(whole.revisions);
  expect((await page(api, { limit: 1_000 })).revisions).toHaveLength(126);
  const then = await page(api, { limit: 1_000, at_snapshot: whole.snapshot });
  expect(then.revisions).toEqual(whole.revisions);
});

test('a range has the revisions of its ends too', async () => {
  const api = await startWithHistory(10);
  const { revisions } = await page(api, { from: minutesAgo(5), to: minutesAgo(3) });
  expect(revisions.map((each) => Date.parse(each.event_timestamp))).toEqual(
    [3, 4, 5].map((minutes) => Date.parse(minutesAgo(minutes))),
  );
});

test('a timeline of nobody is empty', async () => {
  const api = await startWithJob();
  expect(await page(api, { entity_id: 7 })).toMatchObject({
    entity_id: '7',
    revisions: [],
    next: null,
  });
});

test('a page with vectors is as long as its limit lets it be', async () => {
  const limits = limitsSchema.parse({ timeline_page: 8, timeline_vectors_page: 3 });
  const api = await startWithHistory(10, { limits });
  const first = await page(api, { limit: 8, include_vectors: true });
  expect(first.revisions).toHaveLength(3);
  const second = await page(api, { limit: 8, include_vectors: true, cursor: first.next });
  expect(second.revisions[0]!.vector).toEqual([6, -6]);
  const over = await api.send('GET', '/v1/feature-views/job/entities/a/timeline?limit=9');
  expect([over.status, over.body.code]).toEqual([413, 'LIMIT_EXCEEDED']);
  expect(over.body.detail).toContain('timeline_page, 8');
});

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

test.each([
  ['no base64url of JSON', '!!'],
  ['nothing', ''],
  ['something else', encoded({ snapshot: 1 })],
  ['too few numbers', encoded(['v1', 1, 2])],
  ['a fraction', encoded(['v1', 1, 2.5, 3, 4])],
])('a cursor of %s is refused', async (_what, cursor) => {
  const api = await startWithHistory(3);
  const body = { feature_view: 'job', entity_id: 'a', cursor };
  const answer = await api.send('POST', '/v1/timeline', body);
  expect([answer.status, answer.body.code]).toEqual([422, 'BAD_REQUEST']);
});

test('a cursor goes on in its own version and snapshot, and nowhere else', async () => {
  const api = await startWithHistory(3);
  const { next, snapshot } = await page(api, { limit: 1 });
  const asked = { feature_view: 'job', entity_id: 'a', cursor: next };
  for (const beside of [{ version: 'v2' }, { at_snapshot: snapshot - 1 }]) {
    const answer = await api.send('POST', '/v1/timeline', { ...asked, ...beside });
    expect([answer.status, answer.body.code]).toEqual([422, 'BAD_REQUEST']);
  }
  const ahead = encoded(['v1', snapshot + 1, 1, 1, 1]);
  const answer = await api.send('POST', '/v1/timeline', { ...asked, cursor: ahead });
  expect([answer.status, answer.body.code]).toEqual([409, 'SNAPSHOT_UNAVAILABLE']);
});

test('a timeline begins where the horizon is, before compaction as after it (A10)', async () => {
  const api = await startWithHistory(10);
  const { store } = api.deps;
  const { snapshot } = await page(api, {});
  await store.advanceHorizon('job', microsOf(minutesAgo(0)) - 1);
  const before = await page(api, {});
  // Nothing was stored yet at the horizon, and nothing is gone.
  expect(before.revisions).toHaveLength(10);
  api.clock.now += 60e6;
  await pushTo(api, [{ entity_id: 'a', event_timestamp: minutesAgo(3.5), vector: [1, 1] }]);
  api.clock.now += 60e6;
  await store.advanceHorizon('job', microsOf(minutesAgo(-1)));
  const known = await page(api, {});
  expect(known.revisions.map((each) => each.event_timestamp)).toEqual(['2026-03-01T11:59:00Z']);
  await store.compact('job', 'v1');
  expect(await page(api, {})).toEqual(known);
  const body = { feature_view: 'job', entity_id: 'a', at_snapshot: snapshot };
  const old = await api.send('POST', '/v1/timeline', body);
  expect([old.status, old.body.code]).toEqual([409, 'SNAPSHOT_UNAVAILABLE']);
  expect(old.body.detail).toContain('2026-03-01T12:01:00Z');
});

test('a timeline of an erased entity is empty and says so, whatever is asked of it (A8)', async () => {
  const api = await startWithHistory(3);
  const { snapshot, next } = await page(api, { limit: 1 });
  await api.deps.store.erase({ entity: 'job' }, ['a']);
  for (const asked of [{}, { at_snapshot: snapshot }, { cursor: next }]) {
    expect(await page(api, asked)).toMatchObject({ reason: 'ERASED', revisions: [], next: null });
  }
});

test.each([
  ['a limit of 0', { limit: 0 }, 422, 'BAD_REQUEST'],
  ['a time without an offset', { from: '2026-03-01T00:00:00' }, 422, 'BAD_TIMESTAMP'],
  ['no view', { feature_view: 'nobody' }, 404, 'VIEW_NOT_FOUND'],
  ['no version', { version: 'v9' }, 404, 'VERSION_NOT_FOUND'],
  ['no entity', { entity_id: null }, 422, 'BAD_ENTITY_ID'],
  ['an unknown field', { order: 'asc' }, 422, 'BAD_REQUEST'],
])('a timeline of %s is refused', async (_what, asked, status, code) => {
  const api = await startWithJob();
  const body = { feature_view: 'job', entity_id: 'a', ...asked };
  const answer = await api.send('POST', '/v1/timeline', body);
  expect([answer.status, answer.body.code]).toEqual([status, code]);
});
