import { pack, unpack } from 'msgpackr';
import { expect, test } from 'vitest';

import { limitsSchema } from '../../src/api/limits.ts';
import { lookupAnswer } from '../../src/api/schemas/lookup.ts';
import { parseSafetensors } from '../../src/timetravel/formats/safetensors.ts';
import { type Api, JOB, minutesAgo, NOW, pushTo, startWithJob } from './harness.ts';

async function startFilled(): Promise<Api> {
  const api = await startWithJob();
  await api.send('PUT', '/v1/feature-views/member', { ...JOB, dim: 3, dtype: 'float16' });
  await pushTo(api, [
    { entity_id: 1, event_timestamp: minutesAgo(30), vector: [1, 1] },
    { entity_id: 1, event_timestamp: minutesAgo(10), vector: [0.1, -2] },
    { entity_id: 2, event_timestamp: minutesAgo(20), vector: [3, 4] },
    { entity_id: 2, event_timestamp: minutesAgo(5), deleted: true },
  ]);
  const member = { entity_id: 'm', event_timestamp: minutesAgo(1), vector: [0.5, 0.25, 8] };
  await pushTo(api, [member], { feature_view: 'member' });
  return api;
}

const LOOKUPS = [
  { feature_view: 'member', entity_ids: ['m'] },
  { feature_view: 'job', entity_ids: [1, '2', 'none', '', 1.5, null, '1'] },
];

function lookup(api: Api, body: object, accept?: string) {
  return api.send('POST', '/v1/lookup', body, accept === undefined ? {} : { accept });
}

/** As an answer says it. */
function minute(minutes: number): string {
  return minutesAgo(minutes).replace('.000', '');
}

test('several views are looked up at once, one row an id in order', async () => {
  const api = await startFilled();
  const { status, body } = await lookup(api, { lookups: LOOKUPS });
  expect(status).toBe(200);
  expect(lookupAnswer.parse(body)).toEqual(body);
  expect(body).toEqual({
    snapshot: api.deps.store.snapshot,
    question: { as_of: null, boundary: 'inclusive', knowledge: 'event', known_at: null, now: null },
    results: [
      {
        name: 'member',
        feature_view: 'member',
        version: 'v1',
        dim: 3,
        dtype: 'float16',
        max_age: null,
        statuses: ['PRESENT'],
        reasons: [null],
        event_timestamps: [minute(1)],
        vectors: [[0.5, 0.25, 8]],
      },
      {
        name: 'job',
        feature_view: 'job',
        version: 'v1',
        dim: 2,
        dtype: 'float32',
        max_age: null,
        statuses: ['PRESENT', 'NOT_FOUND', 'NOT_FOUND', 'INVALID', 'INVALID', 'INVALID', 'PRESENT'],
        reasons: [null, 'DELETED', null, 'BAD_ENTITY_ID', 'BAD_ENTITY_ID', 'BAD_ENTITY_ID', null],
        event_timestamps: [minute(10), minute(5), null, null, null, null, minute(10)],
        vectors: [[Math.fround(0.1), -2], null, null, null, null, null, [Math.fround(0.1), -2]],
      },
    ],
  });
});

test.each([
  [{ as_of: minutesAgo(10) }, [Math.fround(0.1), -2]],
  [{ as_of: minutesAgo(10), boundary: 'exclusive' }, [1, 1]],
  [{ as_of: minutesAgo(10.01) }, [1, 1]],
  [{ as_of: minutesAgo(31) }, null],
  [{ as_of: minutesAgo(10), knowledge: 'input' }, null],
  [{ as_of: NOW, knowledge: 'input' }, [Math.fround(0.1), -2]],
  [{ as_of: minutesAgo(10), knowledge: 'served' }, null],
  [{ known_at: minutesAgo(1) }, null],
  [{ known_at: NOW, as_of: null }, [Math.fround(0.1), -2]],
])('as of a moment: %j (A1, A5)', async (question, vector) => {
  const api = await startFilled();
  const { body } = await lookup(api, {
    lookups: [{ feature_view: 'job', entity_ids: ['1'] }],
    ...question,
  });
  expect(body.results).toMatchObject([{ vectors: [vector] }]);
  const query = new URLSearchParams(
    Object.entries(question).filter(([, value]) => value !== null) as [string, string][],
  );
  const one = await api.send('GET', `/v1/feature-views/job/entities/1?${query.toString()}`);
  expect(one.body).toMatchObject({ vector, question: body.question });
});

test('the same question at the same snapshot has the same answer, whatever came since (A9)', async () => {
  const api = await startFilled();
  const asked = { lookups: LOOKUPS, as_of: NOW };
  const first = await lookup(api, asked);
  await pushTo(api, [{ entity_id: 1, event_timestamp: minutesAgo(2), vector: [9, 9] }]);
  const after = await lookup(api, asked);
  expect(after.body.results).not.toEqual(first.body.results);
  const again = await lookup(api, { ...asked, at_snapshot: first.body.snapshot });
  expect(again.bytes.equals(first.bytes)).toBe(true);
  const echoed = await lookup(api, {
    lookups: LOOKUPS,
    ...(first.body.question as object),
    at_snapshot: first.body.snapshot,
  });
  expect(echoed.bytes.equals(first.bytes)).toBe(true);
});

test('a snapshot above what is durable is unavailable, one below the least a contradiction', async () => {
  const api = await startFilled();
  const lookups = [{ feature_view: 'job', entity_ids: ['1'] }];
  const { snapshot } = api.deps.store;
  for (const over of [{ at_snapshot: snapshot + 1 }, { min_snapshot: snapshot + 1 }]) {
    const { status, body } = await lookup(api, { lookups, ...over });
    expect([status, body.code]).toEqual([409, 'SNAPSHOT_UNAVAILABLE']);
    expect(body.detail).toContain(String(snapshot));
  }
  expect((await lookup(api, { lookups, min_snapshot: snapshot })).status).toBe(200);
  const { status } = await lookup(api, { lookups, at_snapshot: 1, min_snapshot: 2 });
  expect(status).toBe(422);
});

test('each result has its own name', async () => {
  const api = await startFilled();
  const job = { feature_view: 'job', entity_ids: ['1'] };
  const twice = await lookup(api, { lookups: [job, job] });
  expect([twice.status, twice.body.code]).toEqual([422, 'NAME_COLLISION']);
  const { body } = await lookup(api, { lookups: [job, { ...job, name: 'again', entity_ids: [] }] });
  expect(body.results).toMatchObject([{ name: 'job' }, { name: 'again', vectors: [] }]);
});

test.each([
  ['no lookup', { lookups: [] }, 422, 'BAD_REQUEST'],
  ['no view', { lookups: [{ feature_view: 'nobody', entity_ids: [] }] }, 404, 'VIEW_NOT_FOUND'],
  [
    'no version',
    { lookups: [{ feature_view: 'job', version: 'v9', entity_ids: [] }] },
    404,
    'VERSION_NOT_FOUND',
  ],
  [
    'ids that are no list',
    { lookups: [{ feature_view: 'job', entity_ids: 'a' }] },
    422,
    'BAD_REQUEST',
  ],
  [
    'a name that no file can have',
    { lookups: [{ feature_view: 'job', entity_ids: [], name: 'a b' }] },
    422,
    'BAD_REQUEST',
  ],
  [
    'a time without an offset',
    { lookups: LOOKUPS, as_of: '2026-03-01T12:00:00' },
    422,
    'BAD_TIMESTAMP',
  ],
  ['a field that there is not', { lookups: LOOKUPS, max_ages: 'P1D' }, 422, 'BAD_REQUEST'],
  ['knowledge that there is not', { lookups: LOOKUPS, knowledge: 'all' }, 422, 'BAD_REQUEST'],
])('a lookup of %s is refused', async (_what, body, status, code) => {
  const api = await startFilled();
  const answer = await lookup(api, body);
  expect([answer.status, answer.body.code]).toEqual([status, code]);
});

function manyJobs(ids: number, name = 'job'): object {
  return { feature_view: 'job', name, entity_ids: Array.from({ length: ids }, (_, at) => at) };
}

test('limits are named with their values', async () => {
  const limits = limitsSchema.parse({ lookups: 2, lookup_ids: 5, answer_json_numbers: 8 });
  const api = await startWithJob({ limits });
  const asked: [object, string][] = [
    [{ lookups: [manyJobs(1), manyJobs(1, 'b'), manyJobs(1, 'c')] }, 'lookups, the limit is 2'],
    [{ lookups: [manyJobs(3), manyJobs(3, 'b')] }, 'lookup_ids, the limit is 5'],
    [{ lookups: [manyJobs(5)] }, 'answer_json_numbers is 8'],
  ];
  for (const [body, detail] of asked) {
    const answer = await lookup(api, body);
    expect([answer.status, answer.body.code]).toEqual([413, 'LIMIT_EXCEEDED']);
    expect(answer.body.detail).toContain(detail);
  }
  const binary = await lookup(api, { lookups: [manyJobs(5)] }, 'application/vnd.safetensors');
  expect(binary.status).toBe(200);
});

interface PackedResult {
  name: string;
  dim: number;
  statuses: string[];
  reasons: (string | null)[];
  event_timestamps: (bigint | null)[];
  vectors: Buffer;
}

const STATUSES = ['PRESENT', 'NOT_FOUND', 'OUTSIDE_MAX_AGE', 'INVALID'];

test('JSON, MessagePack and safetensors have the same answer', async () => {
  const api = await startFilled();
  const asked = { lookups: LOOKUPS };
  const { body } = await lookup(api, asked);
  const answer = lookupAnswer.parse(body);
  const packed = await lookup(api, asked, 'application/vnd.msgpack');
  expect(packed.type).toBe('application/vnd.msgpack');
  const message = unpack(packed.bytes) as { results: PackedResult[] } & Record<string, unknown>;
  const file = await lookup(api, asked, 'application/vnd.safetensors');
  expect(file.type).toBe('application/vnd.safetensors');
  const { metadata, tensors } = parseSafetensors(file.bytes);
  expect(Number(metadata.snapshot)).toBe(answer.snapshot);
  expect(JSON.parse(metadata.question!)).toEqual(answer.question);
  expect(JSON.parse(metadata.statuses!)).toEqual(STATUSES);
  const reasons = JSON.parse(metadata.reasons!) as (string | null)[];
  expect([message.snapshot, message.question]).toEqual([answer.snapshot, answer.question]);
  answer.results.forEach((result, at) => {
    const { vectors, event_timestamps, ...same } = result;
    const { vectors: matrix, event_timestamps: times, ...packedSame } = message.results[at]!;
    expect(packedSame).toEqual(same);
    const { statuses: _words, reasons: _why, ...described } = same;
    expect((JSON.parse(metadata.results!) as unknown[])[at]).toEqual(described);
    const micros = event_timestamps.map((text) =>
      text === null ? null : BigInt(Date.parse(text)) * 1_000n,
    );
    expect(times).toEqual(micros);

    const tensor = tensors.get(`${result.name}.vector`)!;
    expect(tensor.shape).toEqual([vectors.length, result.dim]);
    expect(tensor.dtype).toBe(result.dtype === 'float32' ? 'F32' : 'F16');
    expect(Buffer.from(tensor.bytes).equals(matrix)).toBe(true);
    const copy = tensor.bytes.slice().buffer;
    const numbers = result.dtype === 'float32' ? new Float32Array(copy) : new Float16Array(copy);
    vectors.forEach((vector, row) => {
      const expected = vector ?? Array.from({ length: result.dim }, () => Number.NaN);
      const found = Array.from(
        { length: result.dim },
        (_, column) => numbers[row * result.dim + column],
      );
      expect(found).toEqual(expected);
    });
    const codes = [...tensors.get(`${result.name}.status`)!.bytes];
    expect(codes.map((code) => STATUSES[code])).toEqual(result.statuses);
    const whys = [...tensors.get(`${result.name}.reason`)!.bytes];
    expect(whys.map((code) => reasons[code])).toEqual(result.reasons);
    const events = new BigInt64Array(
      tensors.get(`${result.name}.event_timestamp`)!.bytes.slice().buffer,
    );
    expect([...events]).toEqual(micros.map((time) => time ?? -(2n ** 63n)));
  });
});

test('times before the epoch come out of safetensors as they went in', async () => {
  const api = await startWithJob();
  await pushTo(api, [
    { entity_id: 'a', event_timestamp: '1969-12-31T23:59:59.999999Z', vector: [1, 2] },
    { entity_id: 'b', event_timestamp: '1700-01-01T00:00:00.000001Z', vector: [1, 2] },
  ]);
  const lookups = [{ feature_view: 'job', entity_ids: ['a', 'b'] }];
  const { bytes } = await lookup(api, { lookups }, 'application/vnd.safetensors');
  const times = parseSafetensors(bytes).tensors.get('job.event_timestamp')!.bytes.slice().buffer;
  const first = BigInt(Date.UTC(1700, 0, 1)) * 1_000n + 1n;
  expect([...new BigInt64Array(times)]).toEqual([-1n, first]);
});

test('a lookup may be asked in MessagePack', async () => {
  const api = await startFilled();
  const asked = await api.send('POST', '/v1/lookup', pack({ lookups: LOOKUPS }), {
    'content-type': 'application/x-msgpack',
    accept: 'application/json',
  });
  expect(asked.body).toEqual((await lookup(api, { lookups: LOOKUPS })).body);
});

test.each([
  ['text/html', 406],
  ['application/json;q=0', 406],
  ['text/html, */*;q=0.1', 200],
  ['application/*', 200],
])('an Accept of %s is answered with %d', async (accept, status) => {
  const api = await startFilled();
  const answer = await lookup(api, { lookups: LOOKUPS }, accept);
  expect(answer.status).toBe(status);
  expect(answer.body.code).toBe(status === 406 ? 'NOT_ACCEPTABLE' : undefined);
});

test('what a lookup has read is resident, and the next one says the same; a push is seen at once', async () => {
  const api = await startFilled();
  const asked = { lookups: LOOKUPS };
  const first = (await lookup(api, asked)).body;
  expect(api.deps.store.residentBytes).toBeGreaterThan(0);
  expect((await lookup(api, asked)).body).toEqual(first);
  const metrics = (await api.send('GET', '/metrics')).bytes.toString();
  expect(metrics).toContain(`tidemark_store_resident_bytes ${api.deps.store.residentBytes}\n`);
  await pushTo(api, [{ entity_id: 1, event_timestamp: minutesAgo(1), vector: [7, 8] }]);
  const after = await lookup(api, { lookups: [{ feature_view: 'job', entity_ids: [1] }] });
  expect(after.body).toMatchObject({ results: [{ vectors: [[7, 8]] }] });
});

test('a large answer is whole while the memory of the one before is used again', async () => {
  const api = await startWithJob();
  await api.send('PUT', '/v1/feature-views/wide', { ...JOB, dim: 2_048 });
  const records = Array.from({ length: 20 }, (_, id) => ({
    entity_id: id,
    event_timestamp: minutesAgo(1),
    vector: Array.from({ length: 2_048 }, () => id),
  }));
  await pushTo(api, records, { feature_view: 'wide' });
  const ask = async (from: number) => {
    const ids = Array.from({ length: 20 }, (_, at) => (from + at) % 20);
    const body = { lookups: [{ feature_view: 'wide', entity_ids: ids }] };
    const { bytes } = await lookup(api, body, 'application/vnd.safetensors');
    const { bytes: numbers } = parseSafetensors(bytes).tensors.get('wide.vector')!;
    const rows = new Float32Array(new Uint8Array(numbers).buffer);
    return ids.every((id, row) =>
      rows.subarray(row * 2_048, (row + 1) * 2_048).every((x) => x === id),
    );
  };
  for (let round = 0; round < 3; round++) {
    const wholes = await Promise.all(Array.from({ length: 8 }, (_, at) => ask(at)));
    expect(wholes).toEqual(wholes.map(() => true));
  }
});
