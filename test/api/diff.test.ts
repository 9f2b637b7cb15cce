import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';

import { expect, test } from 'vitest';

import { batchOf } from '../support/store.ts';
import { type Answer, type Api, microsOf, minutesAgo, pushTo, startWithJob } from './harness.ts';

const NDJSON = 'application/x-ndjson';
const BETWEEN = { from: minutesAgo(25), to: minutesAgo(15) };

async function startFilled(rest: Parameters<typeof startWithJob>[0] = {}): Promise<Api> {
  const api = await startWithJob(rest);
  await pushTo(
    api,
    [
      { entity_id: 'a', event_timestamp: minutesAgo(30), vector: [1, 0] },
      { entity_id: 'a', event_timestamp: minutesAgo(20), vector: [0, 1] },
      { entity_id: 'b', event_timestamp: minutesAgo(20), vector: [1, 1] },
      { entity_id: 'c', event_timestamp: minutesAgo(30), vector: [1, 1] },
    ],
    { known: 'event' },
  );
  return api;
}

function diff(api: Api, asked: object = {}, headers = {}): Promise<Answer> {
  return api.send('POST', '/v1/diff', { feature_view: 'job', ...BETWEEN, ...asked }, headers);
}

function linesOf(text: string): Record<string, unknown>[] {
  expect(text.endsWith('\n')).toBe(true);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('a diff is a line an entity that differs, and a summary', async () => {
  const api = await startFilled();
  const answer = await diff(api);
  expect([answer.status, answer.type]).toEqual([200, NDJSON]);
  expect(linesOf(answer.bytes.toString())).toEqual([
    {
      entity_id: 'a',
      change: 'changed',
      cosine_similarity: 0,
      from: { status: 'PRESENT', reason: null, event_timestamp: '2026-03-01T11:30:00Z' },
      to: { status: 'PRESENT', reason: null, event_timestamp: '2026-03-01T11:40:00Z' },
    },
    {
      entity_id: 'b',
      change: 'added',
      cosine_similarity: null,
      from: { status: 'NOT_FOUND', reason: null, event_timestamp: null },
      to: { status: 'PRESENT', reason: null, event_timestamp: '2026-03-01T11:40:00Z' },
    },
    {
      __summary: {
        entities: 3,
        added: 1,
        removed: 0,
        changed: 1,
        below_min_distance: 0,
        unchanged: 1,
        feature_view: 'job',
        version: 'v1',
        dim: 2,
        dtype: 'float32',
        snapshot: api.deps.store.snapshot,
        question: {
          from: '2026-03-01T11:35:00Z',
          to: '2026-03-01T11:45:00Z',
          boundary: 'inclusive',
          knowledge: 'event',
          known_at: null,
          max_age: null,
          min_distance: 0,
        },
      },
    },
  ]);
});

test('what the summary says was asked can be asked again, with the same bytes (A9)', async () => {
  const api = await startFilled();
  const first = await diff(api, { knowledge: 'input', known_at: minutesAgo(1), min_distance: 0.5 });
  const { snapshot, question } = linesOf(first.bytes.toString()).at(-1)!['__summary'] as {
    snapshot: number;
    question: object;
  };
  await pushTo(api, [{ entity_id: 'd', event_timestamp: minutesAgo(20), vector: [1, 1] }], {
    known: 'event',
  });
  const again = await diff(api, { ...question, at_snapshot: snapshot });
  expect(again.bytes.toString()).toBe(first.bytes.toString());
});

test('a view’s own limit of age holds, unless the question has another (A6)', async () => {
  const api = await startFilled();
  api.deps.store.changeView('job', { max_age: 6 * 60e6 });
  const changes = async (asked: object) =>
    linesOf((await diff(api, asked)).bytes.toString()).map(
      ({ entity_id, change }) => [entity_id, change] as const,
    );
  expect((await changes({})).slice(0, -1)).toEqual([
    ['a', 'changed'],
    ['b', 'added'],
    ['c', 'removed'],
  ]);
  expect((await changes({ max_age: 'none' })).slice(0, -1)).toEqual([
    ['a', 'changed'],
    ['b', 'added'],
  ]);
});

test.each([
  ['moments the wrong way round', { from: minutesAgo(1), to: minutesAgo(2) }, 422, 'BAD_REQUEST'],
  ['one moment', { to: undefined }, 422, 'BAD_REQUEST'],
  ['a time without an offset', { from: '2026-03-01T00:00:00' }, 422, 'BAD_TIMESTAMP'],
  ['an age of a month', { max_age: 'P1M' }, 422, 'BAD_DURATION'],
  ['a distance that no two vectors have', { min_distance: 2.1 }, 422, 'BAD_REQUEST'],
  ['no view', { feature_view: 'nobody' }, 404, 'VIEW_NOT_FOUND'],
  ['no version', { version: 'v9' }, 404, 'VERSION_NOT_FOUND'],
  ['a snapshot of the future', { at_snapshot: 1e9 }, 409, 'SNAPSHOT_UNAVAILABLE'],
  ['an unknown field', { as_of: minutesAgo(1) }, 422, 'BAD_REQUEST'],
])('a diff of %s is refused', async (_what, asked, status, code) => {
  const api = await startFilled();
  const answer = await diff(api, asked);
  expect([answer.status, answer.body.code]).toEqual([status, code]);
});

test('a diff is answered in lines, and in nothing else', async () => {
  const api = await startFilled();
  const answer = await diff(api, {}, { accept: 'application/json' });
  expect([answer.status, answer.body.code]).toEqual([406, 'NOT_ACCEPTABLE']);
});

test('a moment before the horizon is a plain problem that names it (A10)', async () => {
  const api = await startFilled();
  await api.deps.store.advanceHorizon('job', microsOf(minutesAgo(20)));
  const answer = await diff(api);
  expect([answer.status, answer.body.code]).toEqual([409, 'BEFORE_RETENTION']);
  expect(answer.body.detail).toContain('2026-03-01T11:40:00Z');
});

/** So many entities that a diff of them is not made in one go. */
async function startWithMany(count: number): Promise<Api> {
  const api = await startWithJob();
  for (let from = 0; from < count; from += 10_000) {
    const rows = Array.from({ length: 10_000 }, (_, each) => ({
      id: `e${from + each}`,
      event: microsOf(minutesAgo(20)),
      vector: [from + each, 1],
    }));
    await api.deps.store.commit('job', 'v1', { rows: batchOf(rows) });
  }
  return api;
}

test('a diff that breaks off says why in its last line and does not end like a whole one', async () => {
  const api = await startWithMany(30_000);
  const { store } = api.deps;
  const response = await fetch(`${api.url}/v1/diff`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ feature_view: 'job', ...BETWEEN }),
  });
  expect(response.status).toBe(200);
  let text = '';
  const read = async () => {
    for await (const chunk of response.body!) {
      if (text === '') await store.advanceHorizon('job', microsOf(minutesAgo(20)));
      text += Buffer.from(chunk).toString();
    }
  };
  await expect(read()).rejects.toThrow('terminated');
  expect(text).not.toContain('__summary');
  expect(linesOf(text).at(-1)).toMatchObject({ __error: { code: 'BEFORE_RETENTION' } });
});

test('a diff ends with the time that its caller waits', async () => {
  const api = await startWithMany(20_000);
  const { timelines } = api.deps.store.version('job', 'v1');
  const ids = timelines.ids.bind(timelines);
  let pages = 0;
  timelines.ids = (...args) => {
    const end = performance.now() + (++pages === 2 ? 450 : 0);
    while (performance.now() < end);
    return ids(...args);
  };
  const response = await fetch(`${api.url}/v1/diff`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-timeout-ms': '400' },
    body: JSON.stringify({ feature_view: 'job', ...BETWEEN }),
  });
  let text = '';
  const read = async () => {
    for await (const chunk of response.body!) text += Buffer.from(chunk).toString();
  };
  await expect(read()).rejects.toThrow('terminated');
  expect(linesOf(text).at(-1)).toMatchObject({ __error: { code: 'DEADLINE_EXCEEDED' } });
  expect(pages).toBeLessThan(150);
});

test('a diff that nobody waits for any more ends, though nothing differs', async () => {
  const api = await startWithMany(100_000);
  const version = api.deps.store.version('job', 'v1');
  let pages = 0;
  const ids = version.timelines.ids.bind(version.timelines);
  version.timelines.ids = (...args) => {
    pages++;
    return ids(...args);
  };
  const { hostname, port } = new URL(api.url);
  const body = JSON.stringify({ feature_view: 'job', from: minutesAgo(1), to: minutesAgo(1) });
  const ended = Promise.withResolvers<void>();
  const socket = connect(Number(port), hostname);
  api.server.server.once('request', (_request, response: ServerResponse) => {
    response.once('close', () => ended.resolve());
  });
  socket.write(
    `POST /v1/diff HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  await expect.poll(() => pages, { interval: 1 }).toBeGreaterThan(3);
  socket.destroy();
  await ended.promise;
  const seen = pages;
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  expect(pages).toBeLessThanOrEqual(seen + 1);
  expect(pages).toBeLessThan(300);
});
