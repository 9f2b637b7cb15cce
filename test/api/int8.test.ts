import fc from 'fast-check';
import { pack, unpack } from 'msgpackr';
import { expect, test } from 'vitest';

import { limitsSchema } from '../../src/api/limits.ts';
import { feastAnswer } from '../../src/api/schemas/feast.ts';
import { entityAnswer, lookupAnswer } from '../../src/api/schemas/lookup.ts';
import { timelineAnswer } from '../../src/api/schemas/timeline.ts';
import { numbersOf } from '../../src/store/dtype.ts';
import { parseSafetensors } from '../../src/timetravel/formats/safetensors.ts';
import { type Api, JOB, minutesAgo, pushTo, startApi } from './harness.ts';

const MSGPACK = 'application/vnd.msgpack';
const SAFETENSORS = 'application/vnd.safetensors';

async function startWithInt8(overrides: Parameters<typeof startApi>[0] = {}): Promise<Api> {
  const api = await startApi(overrides);
  const created = await api.send('PUT', '/v1/feature-views/job', { ...JOB, dim: 3, dtype: 'int8' });
  expect(created.status).toBe(201);
  await api.send('PUT', '/v1/feature-views/member', { ...JOB, dim: 3, dtype: 'float16' });
  return api;
}

async function startFilled(): Promise<Api> {
  const api = await startWithInt8();
  const bytes = Buffer.from(Int8Array.of(-128, 0, 127).buffer).toString('base64');
  await pushTo(api, [
    { entity_id: 1, event_timestamp: minutesAgo(30), vector: [1, -2, 3], scale: 0.5 },
    { entity_id: 2, event_timestamp: minutesAgo(20), vector: bytes, scale: 0.1 },
    { entity_id: 3, event_timestamp: minutesAgo(5), vector: null },
  ]);
  const halves = { entity_id: 'm', event_timestamp: minutesAgo(1), vector: [0.1, -2, 8] };
  const { status } = await pushTo(api, [halves], { feature_view: 'member' });
  expect(status).toBe(200);
  return api;
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, number, at) => sum + number * b[at]!, 0);
}

function zeros(count: number): string {
  return Buffer.alloc(count).toString('base64');
}

const LOOKUPS = [
  { feature_view: 'job', entity_ids: [1, 2, 3, 'none'] },
  { feature_view: 'member', entity_ids: ['m'] },
];

function lookup(api: Api, body: object, accept = 'application/json') {
  return api.send('POST', '/v1/lookup', body, { accept });
}

test('int8 vectors are answered as they were sent, with their scales beside them', async () => {
  const api = await startFilled();
  const { body } = await lookup(api, { lookups: LOOKUPS });
  expect(lookupAnswer.parse(body)).toEqual(body);
  expect(body).toMatchObject({
    results: [
      {
        dtype: 'int8',
        statuses: ['PRESENT', 'PRESENT', 'NOT_FOUND', 'NOT_FOUND'],
        vectors: [[1, -2, 3], [-128, 0, 127], null, null],
        scales: [0.5, Math.fround(0.1), null, null],
      },
      { dtype: 'float16', vectors: [[Math.f16round(0.1), -2, 8]] },
    ],
  });
  expect((body as { results: object[] }).results[1]).not.toHaveProperty('scales');
});

test('int8 comes in MessagePack and safetensors with zeros where there is nothing', async () => {
  const api = await startFilled();
  const numbers = Buffer.from(Int8Array.of(1, -2, 3, -128, 0, 127, 0, 0, 0, 0, 0, 0).buffer);
  const scales = Buffer.from(Float32Array.of(0.5, 0.1, 0, 0).buffer);
  const packed = unpack((await lookup(api, { lookups: LOOKUPS }, MSGPACK)).bytes);
  expect(packed.results[0]).toMatchObject({ dtype: 'int8', vectors: numbers, scales });
  expect(packed.results[1]).not.toHaveProperty('scales');
  const { bytes } = await lookup(api, { lookups: LOOKUPS }, SAFETENSORS);
  const { tensors } = parseSafetensors(bytes);
  expect(tensors.get('job.vector')).toMatchObject({ dtype: 'I8', shape: [4, 3] });
  expect(tensors.get('job.scale')).toMatchObject({ dtype: 'F32', shape: [4] });
  expect(Buffer.from(tensors.get('job.vector')!.bytes)).toEqual(numbers);
  expect(Buffer.from(tensors.get('job.scale')!.bytes)).toEqual(scales);
  expect([...tensors.get('job.status')!.bytes]).toEqual([0, 0, 1, 1]);
  expect(tensors.has('member.scale')).toBe(false);
});

test('any version is answered in float32 on request: halves exactly, int8 times its scale', async () => {
  const api = await startFilled();
  const asked = { lookups: LOOKUPS, dtype: 'float32' };
  const { body } = await lookup(api, asked);
  const tenth = Math.fround(0.1);
  const second = [-128 * tenth, 0, 127 * tenth].map(Math.fround);
  expect(lookupAnswer.parse(body)).toEqual(body);
  expect(body).toMatchObject({
    results: [
      { dtype: 'float32', vectors: [[0.5, -1, 1.5], second, null, null] },
      { dtype: 'float32', vectors: [[Math.f16round(0.1), -2, 8]] },
    ],
  });
  expect((body as { results: object[] }).results[0]).not.toHaveProperty('scales');
  const { bytes } = await lookup(api, asked, SAFETENSORS);
  const { tensors, metadata } = parseSafetensors(bytes);
  const none = Array<number>(6).fill(Number.NaN);
  expect([...numbersOf(tensors.get('job.vector')!.bytes, 'float32')]).toEqual([
    0.5,
    -1,
    1.5,
    ...second,
    ...none,
  ]);
  expect([...numbersOf(tensors.get('member.vector')!.bytes, 'float32')]).toEqual([
    Math.f16round(0.1),
    -2,
    8,
  ]);
  expect(tensors.has('job.scale')).toBe(false);
  expect(JSON.parse(metadata['results']!)).toMatchObject([{ dtype: 'float32' }, {}]);
  const packed = unpack((await lookup(api, asked, MSGPACK)).bytes);
  expect(packed.results[1].vectors).toEqual(Buffer.from(tensors.get('member.vector')!.bytes));
  const other = await lookup(api, { ...asked, dtype: 'float16' });
  expect(other.body).toMatchObject({ code: 'BAD_REQUEST' });
});

test('limits of an answer are held against what it is answered as', async () => {
  const ids = Array.from({ length: 100 }, () => 'm');
  const limits = { ...limitsSchema.parse({}), answer_bytes: 100 * 3 * 2 };
  const api = await startWithInt8({ limits });
  const lookups = [{ feature_view: 'member', entity_ids: ids }];
  expect((await lookup(api, { lookups })).status).toBe(200);
  const wide = await lookup(api, { lookups, dtype: 'float32' });
  expect(wide.body).toMatchObject({ code: 'LIMIT_EXCEEDED' });
  const int8 = [{ feature_view: 'job', entity_ids: ids.slice(0, 85) }];
  expect((await lookup(api, { lookups: int8 })).status).toBe(200);
  const more = [{ feature_view: 'job', entity_ids: ids.slice(0, 86) }];
  expect((await lookup(api, { lookups: more })).body).toMatchObject({ code: 'LIMIT_EXCEEDED' });
});

test('one entity, its timeline and the changes show the scale beside the numbers', async () => {
  const api = await startFilled();
  const path = '/v1/feature-views/job/entities/1';
  const one = await api.send('GET', path);
  expect(entityAnswer.parse(one.body)).toEqual(one.body);
  expect(one.body).toMatchObject({ dtype: 'int8', vector: [1, -2, 3], scale: 0.5 });
  const wide = await api.send('GET', `${path}?dtype=float32`);
  expect(wide.body).toMatchObject({ dtype: 'float32', vector: [0.5, -1, 1.5] });
  expect(wide.body).not.toHaveProperty('scale');
  const none = await api.send('GET', '/v1/feature-views/job/entities/3');
  expect(none.body).toMatchObject({ vector: null, scale: null });
  const timeline = await api.send('GET', `${path}/timeline?include_vectors=true`);
  expect(timelineAnswer.parse(timeline.body)).toEqual(timeline.body);
  expect(timeline.body).toMatchObject({ revisions: [{ vector: [1, -2, 3], scale: 0.5 }] });
  const changes = await api.send('GET', '/v1/changes?feature_view=job&vectors=true', undefined, {
    accept: 'application/x-ndjson',
  });
  const lines = changes.bytes.toString().trim().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ entity_id: '2', vector: [-128, 0, 127], scale: Math.fround(0.1) }),
      expect.objectContaining({ entity_id: '3', vector: null }),
    ]),
  );
});

test('Feast is answered with the values that numbers and scale stand for', async () => {
  const api = await startFilled();
  const { body } = await api.send('POST', '/get-online-features', {
    features: ['job:vector'],
    entities: { job_id: [1, 3] },
  });
  expect(feastAnswer.parse(body)).toEqual(body);
  expect(body).toMatchObject({ results: [{}, { values: [[0.5, -1, 1.5], null] }] });
});

test('scores count numbers of int8 times their scale, on either side', async () => {
  const api = await startFilled();
  const score = async (query: object, more: object = {}) => {
    const asked = { query, feature_view: 'job', entity_ids: [1, 2, 3], ...more };
    return (await api.send('POST', '/v1/score', asked)).body;
  };
  const tenth = Math.fround(0.1);
  const first = [0.5, -1, 1.5];
  const second = [-128 * tenth, 0, 127 * tenth];
  const scores = (query: number[]) => [dot(query, first), dot(query, second)].map(Math.fround);
  expect(await score({ vector: [1, 2, 3.25] })).toMatchObject({
    scores: [...scores([1, 2, 3.25]), null],
  });
  expect(await score({ vector: [1, 2, 3], scale: 0.25 })).toMatchObject({
    scores: [...scores([0.25, 0.5, 0.75]), null],
  });
  expect(await score({ feature_view: 'job', entity_id: 2 })).toMatchObject({
    scores: [...scores(second), null],
  });
  const cosine = dot(first, second) / Math.sqrt(dot(first, first) * dot(second, second));
  const told = await score({ feature_view: 'job', entity_id: 2 }, { metric: 'cosine' });
  const [close, same] = (told as { scores: number[] }).scores;
  expect(close).toBeCloseTo(cosine, 6);
  expect(same).toBeCloseTo(1, 6);
  expect(await score({ vector: [1, 2, 300], scale: 1 })).toMatchObject({ code: 'BAD_VECTOR' });
  const members = { feature_view: 'member', entity_ids: ['m'] };
  const refused = await score({ vector: [1, 2, 3], scale: 1 }, members);
  expect(refused).toMatchObject({ code: 'BAD_VECTOR' });
});

test('what is no int8 vector with its scale is refused, record by record (A14)', async () => {
  const api = await startWithInt8();
  const refused: [object, string, string][] = [
    [{ vector: [0.5, 1, 2], scale: 1 }, 'BAD_VECTOR', 'quantised by who sends them'],
    [{ vector: [1, 2, 3] }, 'BAD_VECTOR', 'got no scale'],
    [{ vector: zeros(3) }, 'BAD_VECTOR', 'got no scale'],
    [{ vector: zeros(7), scale: 1 }, 'BAD_VECTOR', 'got 7 bytes'],
    [{ vector: [1, 2, 3], scale: '1' }, 'BAD_VECTOR', 'got string for the scale'],
    [{ vector: [1, 2, 3], scale: null }, 'BAD_VECTOR', 'got null for the scale'],
    [{ vector: [1, 2, 3], scale: 0 }, 'BAD_VECTOR', 'got the scale 0'],
    [{ deleted: true, scale: 1 }, 'BAD_RECORD', 'got a scale, expected a vector beside it'],
    [{ vector: null, scale: 1 }, 'BAD_RECORD', 'got a scale, expected a vector beside it'],
  ];
  const records = refused.map(([record]) => ({
    entity_id: 1,
    event_timestamp: minutesAgo(1),
    ...record,
  }));
  const { body } = await pushTo(api, records);
  expect(body['rejected']).toEqual(
    refused.map(([, code, message], index) => ({
      index,
      code,
      message: expect.stringContaining(message),
    })),
  );
});

test('a scale for a version of floats is refused (A14)', async () => {
  const api = await startWithInt8();
  const record = { entity_id: 1, event_timestamp: minutesAgo(1), vector: [1, 2, 3], scale: 1 };
  const { body } = await pushTo(api, [record], { feature_view: 'member' });
  expect(body).toMatchObject({ rejected: [{ code: 'BAD_VECTOR' }] });
});

test('equal numbers of another scale are another vector; equal ones with it a duplicate (A4)', async () => {
  const api = await startWithInt8();
  const record = { entity_id: 1, event_timestamp: minutesAgo(1), vector: [1, 2, 3] };
  const outcome = async (scale: number) =>
    (await pushTo(api, [{ ...record, scale }])).body['versions'];
  expect(await outcome(0.5)).toMatchObject({ v1: { latest: 1 } });
  expect(await outcome(0.5)).toMatchObject({ v1: { duplicate: 1 } });
  expect(await outcome(0.25)).toMatchObject({ v1: { latest: 1 } });
});

test('random int8 vectors come back from every answer as they were pushed', async () => {
  const api = await startWithInt8();
  const one = fc.record({
    numbers: fc.int8Array({ minLength: 3, maxLength: 3 }),
    scale: fc.float({ min: Math.fround(2 ** -149), max: 2 ** 100, noNaN: true }),
    form: fc.constantFrom('numbers', 'base64', 'bytes', 'line'),
  });
  let next = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(one, { minLength: 1, maxLength: 5 }), async (given) => {
      const ids = given.map(() => `e${next++}`);
      for (const [at, { numbers, scale, form }] of given.entries()) {
        const bytes = Buffer.from(numbers.buffer);
        const vector =
          form === 'bytes' ? bytes : form === 'base64' ? bytes.toString('base64') : [...numbers];
        const record = { entity_id: ids[at], event_timestamp: minutesAgo(1), vector, scale };
        const { status, body } =
          form === 'line'
            ? await api.send('POST', '/v1/push?feature_view=job', JSON.stringify(record), {
                'content-type': 'application/x-ndjson',
              })
            : await api.send(
                'POST',
                '/v1/push',
                form === 'bytes'
                  ? pack({ feature_view: 'job', records: [record] })
                  : { feature_view: 'job', records: [record] },
                form === 'bytes' ? { 'content-type': MSGPACK } : {},
              );
        expect({ status, rejected: body['rejected'] ?? [] }).toEqual({ status: 200, rejected: [] });
      }
      const lookups = [{ feature_view: 'job', entity_ids: ids }];
      const json = (await lookup(api, { lookups })).body;
      const scales = given.map(({ scale }) => scale);
      const vectors = given.map(({ numbers }) => [...numbers]);
      expect(json).toMatchObject({ results: [{ vectors, scales }] });
      const { tensors } = parseSafetensors((await lookup(api, { lookups }, SAFETENSORS)).bytes);
      expect([...numbersOf(tensors.get('job.vector')!.bytes, 'int8')]).toEqual(vectors.flat());
      expect([...numbersOf(tensors.get('job.scale')!.bytes, 'float32')]).toEqual(scales);
      const wide = await lookup(api, { lookups, dtype: 'float32' }, SAFETENSORS);
      const floats = numbersOf(
        parseSafetensors(wide.bytes).tensors.get('job.vector')!.bytes,
        'float32',
      );
      expect([...floats]).toEqual(
        given.flatMap(({ numbers, scale }) => Array.from(numbers, (n) => Math.fround(n * scale))),
      );
    }),
    { numRuns: 15 },
  );
});
