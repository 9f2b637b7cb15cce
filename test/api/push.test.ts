import { expect, test, vi } from 'vitest';

import { limitsSchema } from '../../src/api/limits.ts';
import { writeNumbers } from '../../src/store/dtype.ts';
import { type Api, JOB, minutesAgo, NOW, pushTo, startApi, startWithJob } from './harness.ts';

const AT = minutesAgo(10);

async function addVersion(api: Api, version: object): Promise<void> {
  const { status } = await api.send('POST', '/v1/feature-views/job/versions', {
    dim: 2,
    dtype: 'float32',
    ...version,
  });
  expect(status).toBe(201);
}

async function entity(api: Api, id: string, query = ''): Promise<Record<string, unknown>> {
  return (await api.send('GET', `/v1/feature-views/job/entities/${id}${query}`)).body;
}

test('each record becomes latest, history or a duplicate, and a rejected one says why (A4)', async () => {
  const api = await startWithJob();
  const { status, body } = await pushTo(
    api,
    [
      { entity_id: 'a', event_timestamp: AT, vector: [1, 2] },
      { entity_id: 'a', event_timestamp: minutesAgo(20), vector: [3, 4] },
      { entity_id: 'a', event_timestamp: AT, vector: [1, 2] },
      { entity_id: 'a', event_timestamp: 'soon', vector: [1, 2] },
      { entity_id: 'a', event_timestamp: minutesAgo(5), deleted: true },
    ],
    { results: true },
  );
  expect(status).toBe(200);
  expect(body).toEqual({
    feature_view: 'job',
    snapshot: api.deps.store.snapshot,
    versions: { v1: { latest: 2, history: 1, duplicate: 1 } },
    results: [{ v1: 'latest' }, { v1: 'history' }, { v1: 'duplicate' }, null, { v1: 'latest' }],
    rejected: [
      { index: 3, code: 'BAD_TIMESTAMP', message: expect.stringContaining('RFC 3339') as string },
    ],
  });
});

const base = { entity_id: 'a', event_timestamp: AT };

test.each([
  ['an empty id', { ...base, entity_id: '', vector: [1, 2] }, 'BAD_ENTITY_ID'],
  ['null for an id', { ...base, entity_id: null, vector: [1, 2] }, 'BAD_ENTITY_ID'],
  ['no id', { event_timestamp: AT, vector: [1, 2] }, 'BAD_RECORD'],
  ['a fraction for an id', { ...base, entity_id: 1.5, vector: [1, 2] }, 'BAD_ENTITY_ID'],
  ['an id beyond 2^53', { ...base, entity_id: 2 ** 53, vector: [1, 2] }, 'BAD_ENTITY_ID'],
  ['a lone surrogate', { ...base, entity_id: '\ud800', vector: [1, 2] }, 'BAD_ENTITY_ID'],
  ['no time', { entity_id: 'a', vector: [1, 2] }, 'BAD_RECORD'],
  ['a number for a time', { ...base, event_timestamp: 1, vector: [1, 2] }, 'BAD_TIMESTAMP'],
  [
    'a time of nanoseconds',
    { ...base, event_timestamp: '2026-03-01T00:00:00.0000001Z' },
    'BAD_TIMESTAMP',
  ],
  ['a bad known time', { ...base, known_timestamp: null, vector: [1, 2] }, 'BAD_TIMESTAMP'],
  ['another dim', { ...base, vector: [1] }, 'BAD_VECTOR'],
  ['text for a number', { ...base, vector: [1, '2'] }, 'BAD_VECTOR'],
  ['null for a number', { ...base, vector: [1, null] }, 'BAD_VECTOR'],
  ['true for a number', { ...base, vector: [1, true] }, 'BAD_VECTOR'],
  ['a list for a number', { ...base, vector: [1, [2]] }, 'BAD_VECTOR'],
  ['more than float32 holds', { ...base, vector: [1, 1e39] }, 'BAD_VECTOR'],
  ['an object for a vector', { ...base, vector: {} }, 'BAD_VECTOR'],
  ['no base64', { ...base, vector: 'AAAA*AAAAAA=' }, 'BAD_VECTOR'],
  ['too few bytes', { ...base, vector: 'AAAA' }, 'BAD_VECTOR'],
  [
    'a NaN in bytes',
    { ...base, vector: Buffer.from([0, 0, 192, 127, 0, 0, 0, 0]).toString('base64') },
    'BAD_VECTOR',
  ],
  ['nothing', base, 'BAD_RECORD'],
  ['two things', { ...base, vector: [1, 2], deleted: true }, 'BAD_RECORD'],
  ['a null and a text', { ...base, vector: null, text: 'x' }, 'BAD_RECORD'],
  ['deleted: false', { ...base, deleted: false }, 'BAD_RECORD'],
  ['an unknown field', { ...base, vector: [1, 2], embedding: [] }, 'BAD_RECORD'],
  ['no object', 7, 'BAD_RECORD'],
])('a record with %s is rejected alone (A14)', async (_what, record, code) => {
  const api = await startWithJob();
  const { status, body } = await pushTo(api, [
    record,
    { entity_id: 'good', event_timestamp: AT, vector: [1, 2] },
  ]);
  expect(status).toBe(200);
  expect(body.versions).toEqual({ v1: { latest: 1, history: 0, duplicate: 0 } });
  expect(body.rejected).toMatchObject([{ index: 0, code }]);
});

test('an atomic push with a bad record stores nothing and lists what is bad', async () => {
  const api = await startWithJob();
  const records = [
    { ...base, vector: [1, 2] },
    { ...base, vector: [1] },
  ];
  const { status, body } = await pushTo(api, records, { atomic: true });
  expect(status).toBe(422);
  expect(body).toMatchObject({ code: 'BAD_RECORD', rejected: [{ index: 1, code: 'BAD_VECTOR' }] });
  expect(await entity(api, 'a')).toMatchObject({ status: 'NOT_FOUND' });
  const whole = await pushTo(api, records.slice(0, 1), { atomic: true });
  expect(whole.status).toBe(200);
});

test('numbers are rounded once to the dtype, bytes are taken as they are (A14)', async () => {
  const api = await startWithJob();
  const bytes = Buffer.from(new Float32Array([0.1, -2]).buffer);
  await pushTo(api, [
    { entity_id: 'numbers', event_timestamp: AT, vector: [0.1, -2] },
    { entity_id: 'bytes', event_timestamp: AT, vector: bytes.toString('base64') },
  ]);
  const stored = [Math.fround(0.1), -2];
  expect((await entity(api, 'numbers')).vector).toEqual(stored);
  expect((await entity(api, 'bytes')).vector).toEqual(stored);
});

test('a push is known on arrival, at its event on request, or when the record says', async () => {
  const api = await startWithJob();
  await pushTo(api, [{ entity_id: 'arrival', event_timestamp: AT, vector: [1, 2] }]);
  await pushTo(
    api,
    [
      { entity_id: 'event', event_timestamp: AT, vector: [1, 2] },
      { entity_id: 'said', event_timestamp: AT, known_timestamp: minutesAgo(7), vector: [1, 2] },
    ],
    { known: 'event' },
  );
  const known = async (id: string) => Date.parse((await entity(api, id)).known_timestamp as string);
  expect(await known('arrival')).toBe(Date.parse(NOW));
  expect(await known('event')).toBe(Date.parse(AT));
  expect(await known('said')).toBe(Date.parse(minutesAgo(7)));
});

test.each([
  ['an event after it was known', { event_timestamp: minutesAgo(-5.001) }, true],
  ['an event as far ahead as the skew', { event_timestamp: minutesAgo(-5) }, false],
  ['knowledge after now', { event_timestamp: AT, known_timestamp: minutesAgo(-5.001) }, true],
  [
    'knowledge as far ahead as the skew',
    { event_timestamp: AT, known_timestamp: minutesAgo(-5) },
    false,
  ],
])('the future is refused beyond the skew: %s (A13)', async (_what, times, isRefused) => {
  const api = await startWithJob();
  const { body } = await pushTo(api, [{ entity_id: 'a', ...times, vector: [1, 2] }]);
  expect(body.rejected).toMatchObject(isRefused ? [{ code: 'FUTURE_TIMESTAMP' }] : []);
});

test('vectors name their version as soon as the view has two (A14)', async () => {
  const api = await startWithJob();
  await addVersion(api, { version: 'v2' });
  const records = [{ ...base, vector: [1, 2] }];
  const unnamed = await pushTo(api, records);
  expect([unnamed.status, unnamed.body.code]).toEqual([422, 'VERSION_REQUIRED']);
  const named = await pushTo(api, records, { version: 'v2' });
  expect(named.body.versions).toEqual({ v2: { latest: 1, history: 0, duplicate: 0 } });
  const wrong = await pushTo(api, records, { version: 'v3' });
  expect([wrong.status, wrong.body.code]).toEqual([404, 'VERSION_NOT_FOUND']);
});

test('a delete goes to every version, unless one is named (A7)', async () => {
  const api = await startWithJob();
  await addVersion(api, { version: 'v2' });
  for (const version of ['v1', 'v2']) await pushTo(api, [{ ...base, vector: [1, 2] }], { version });
  const deleted = { entity_id: 'a', event_timestamp: minutesAgo(5), deleted: true };
  const one = await pushTo(api, [deleted], { version: 'v1' });
  expect(Object.keys(one.body.versions as object)).toEqual(['v1']);
  expect((await entity(api, 'a', '?version=v2')).status).toBe('PRESENT');
  const all = await pushTo(api, [{ entity_id: 'a', event_timestamp: minutesAgo(4), vector: null }]);
  expect(Object.keys(all.body.versions as object)).toEqual(['v1', 'v2']);
  expect(await entity(api, 'a', '?version=v2')).toMatchObject({
    status: 'NOT_FOUND',
    reason: 'DELETED',
  });
});

test('texts and fields go to every version with a model, and stand among vectors in order', async () => {
  const api = await startWithJob();
  const none = await pushTo(api, [{ ...base, text: 'hello' }]);
  expect(none).toMatchObject({ status: 200, body: { rejected: [{ index: 0, code: 'NO_MODEL' }] } });
  await addVersion(api, { version: 'v2', model: { name: 'mini' } });
  await addVersion(api, { version: 'v3', model: { name: 'mini' } });
  const without = await pushTo(api, [{ ...base, text: 'hello' }], { version: 'v1' });
  expect(without).toMatchObject({ status: 200, body: { rejected: [{ code: 'NO_MODEL' }] } });
  const { body } = await pushTo(
    api,
    [
      { entity_id: 'a', event_timestamp: AT, text: 'hello' },
      { entity_id: 'b', event_timestamp: AT, text: 'unreadable' },
      { entity_id: 'c', event_timestamp: AT, fields: { title: 'x' } },
      { entity_id: 'a', event_timestamp: minutesAgo(5), deleted: true },
    ],
    { results: true },
  );
  expect(body).toMatchObject({
    versions: { v1: { latest: 1 }, v2: { latest: 3 }, v3: { latest: 3 } },
    results: [
      { v2: 'latest', v3: 'latest' },
      null,
      { v2: 'latest', v3: 'latest' },
      { v1: 'latest', v2: 'latest', v3: 'latest' },
    ],
    rejected: [{ index: 1, code: 'BAD_INPUT' }],
  });
  const before = await entity(api, 'a', `?version=v2&as_of=${encodeURIComponent(AT)}`);
  expect(before.vector).toEqual([5, 2]);
});

test('a text that no model is there for is rejected alone, or with the whole of an atomic push', async () => {
  const api = await startWithJob();
  const records = [
    { entity_id: 'a', event_timestamp: AT, text: 'hello' },
    { entity_id: 'b', event_timestamp: AT, vector: [1, 2] },
  ];
  expect((await pushTo(api, records)).body).toMatchObject({
    versions: { v1: { latest: 1 } },
    rejected: [{ index: 0, code: 'NO_MODEL' }],
  });
  const atomic = await pushTo(api, records, { atomic: true });
  expect(atomic).toMatchObject({ status: 422, body: { rejected: [{ code: 'NO_MODEL' }] } });
});

test('a record says in plain words what it lacks, and does not say again all that was sent', async () => {
  const api = await startWithJob();
  const { body } = await pushTo(api, [
    { entity_id: 'a', vector: [1, 2] },
    { entity_id: 'a', event_timestamp: AT, vector: [1, 2], ['k'.repeat(5_000)]: 1 },
  ]);
  const [missing, unknown] = body.rejected as { message: string }[];
  expect(missing!.message).toBe('event_timestamp: is missing');
  expect(unknown!.message).toMatch(/^has "k{79}…", which there is not$/);
  const view = await api.send('PUT', '/v1/feature-views/member', { ...JOB, dim: 1.5 });
  expect(view.body.detail).toBe('body/dim: got 1.5, expected a whole number');
});

function recordOf(id: string, fields: string): string {
  return `{"entity_id": "${id}", "event_timestamp": "${AT}", "fields": ${fields}}`;
}

test('a record whose fields are nested 30,000 deep is rejected alone', async () => {
  const fields = `${'{"a":'.repeat(30_000)}1${'}'.repeat(30_000)}`;
  const api = await startWithJob();
  await addVersion(api, { version: 'v2', model: { name: 'mini' } });
  const records = [recordOf('bad', fields), recordOf('good', '{"title": "x"}')];
  const { status, body } = await api.send(
    'POST',
    '/v1/push',
    `{"feature_view": "job", "records": [${records.join(', ')}]}`,
    { 'content-type': 'application/json' },
  );
  expect(status).toBe(200);
  expect(body).toMatchObject({
    versions: { v2: { latest: 1 } },
    rejected: [{ index: 0, code: 'BAD_INPUT' }],
  });
});

test('a push that the models cannot take now stores nothing and says to come again', async () => {
  const api = await startWithJob();
  await addVersion(api, { version: 'v2', model: { name: 'mini' } });
  const { status, body, headers } = await pushTo(
    api,
    [
      { entity_id: 'a', event_timestamp: AT, vector: [1, 2] },
      { entity_id: 'b', event_timestamp: AT, text: 'flood' },
    ],
    { version: 'v2' },
  );
  expect([status, body.code, headers.get('retry-after')]).toEqual([429, 'OVERLOADED', '1']);
  expect((await entity(api, 'a', '?version=v2')).status).toBe('NOT_FOUND');
});

test('vectors that a model made for a view are not stored in one made anew under its name (A14)', async () => {
  const withModel = { ...JOB, model: { name: 'mini' } };
  const api: Api = await startApi({
    addTexts: async (_view, version, batch, records) => {
      await api.send('DELETE', '/v1/feature-views/job');
      await api.send('PUT', '/v1/feature-views/job', withModel);
      const rows = records.map(({ event, known }) => {
        writeNumbers([1, 2], version.dim, version.dtype, batch.nextPayload());
        return [{ event, known, payload: batch.addFilled() }];
      });
      return { rows, release: () => {} };
    },
  });
  await api.send('PUT', '/v1/feature-views/job', withModel);
  const records = [{ entity_id: 'a', event_timestamp: AT, text: 'x' }];
  const { status, body } = await pushTo(api, records);
  expect([status, body.code]).toEqual([404, 'VERSION_NOT_FOUND']);
  expect((await entity(api, 'a')).status).toBe('NOT_FOUND');
});

test('limits are named with their values', async () => {
  const limits = limitsSchema.parse({ push_records: 2, text_bytes: 4, body_bytes: 2_000 });
  const api = await startWithJob({ limits });
  await addVersion(api, { version: 'v2', model: { name: 'mini' } });
  const record = { ...base, text: 'hello' };
  const long = await pushTo(api, [record]);
  expect(long.body.rejected).toMatchObject([{ code: 'LIMIT_EXCEEDED' }]);
  expect(JSON.stringify(long.body)).toContain('text_bytes is 4');
  const many = await pushTo(api, [record, record, record]);
  expect([many.status, many.body.code]).toEqual([413, 'LIMIT_EXCEEDED']);
  expect(many.body.detail).toContain('push_records is 2');
  const large = await pushTo(api, [{ ...record, text: 'x'.repeat(3_000) }]);
  expect([large.status, large.body.code]).toEqual([413, 'LIMIT_EXCEEDED']);
  expect(large.body.detail).toContain('body_bytes of 2000');
});

test('an empty push is an answer like any other', async () => {
  const api = await startWithJob();
  const { status, body } = await pushTo(api, []);
  expect(status).toBe(200);
  expect(body).toMatchObject({ versions: {}, rejected: [] });
});

test('a push to no view is refused', async () => {
  const api = await startWithJob();
  const none = await pushTo(api, [], { feature_view: 'nobody' });
  expect([none.status, none.body.code]).toEqual([404, 'VIEW_NOT_FOUND']);
  const unsaid = await api.send('POST', '/v1/push', { records: [] });
  expect([unsaid.status, unsaid.body.code]).toEqual([422, 'BAD_REQUEST']);
});

test('records of parts say which, and only fields and deletes are of one', async () => {
  const api = await startWithJob();
  await addVersion(api, { version: 'v2', model: { name: 'mini' } });
  const at = { event_timestamp: AT };
  const { body } = await pushTo(
    api,
    [
      { entity_id: 'a', ...at, part: 'profile', fields: { title: 'x' } },
      { entity_id: 'b', ...at, part: 'profile', deleted: true },
      { entity_id: 'c', ...at, part: 'profile', text: 'x' },
      { entity_id: 'd', ...at, part: 'profile', vector: [1, 2] },
    ],
    { version: 'v2' },
  );
  expect(body).toMatchObject({
    versions: { v2: { latest: 2 } },
    rejected: [
      { index: 2, code: 'BAD_RECORD' },
      { index: 3, code: 'BAD_RECORD' },
    ],
  });
});

test('vectors of pushes at once and one after the other are each stored as they were sent', async () => {
  const api = await startWithJob();
  const pushOf = (name: string, count: number) =>
    pushTo(
      api,
      Array.from({ length: count }, (_, at) => ({
        entity_id: `${name}${at}`,
        event_timestamp: AT,
        // One that is refused half-way has been written to where the next one goes.
        vector: at % 3 === 1 ? [at, 'x'] : [name.charCodeAt(0), at],
      })),
    );
  await pushOf('a', 40);
  const { store } = api.deps;
  const held = Promise.withResolvers<void>();
  const holding = store.alone(() => held.promise);
  const pushes = [pushOf('b', 20), pushOf('c', 60), pushOf('d', 1)];
  await vi.waitUntil(() => store.waitingRows === 13 + 40 + 1);
  held.resolve();
  await Promise.all([holding, ...pushes]);
  await pushOf('e', 3);
  for (const [name, last] of Object.entries({ a: 39, b: 18, c: 57, d: 0, e: 2 })) {
    for (const at of [0, last]) {
      const { vector } = await entity(api, `${name}${at}`);
      expect(vector).toEqual([name.charCodeAt(0), at]);
    }
  }
});
