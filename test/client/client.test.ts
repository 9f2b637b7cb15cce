import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

import { expect, onTestFinished, test } from 'vitest';

import { TidemarkClient, TidemarkRefused, TidemarkUnreachable } from '../../src/client/index.ts';
import { waitMs } from '../../src/client/retry.ts';
import { type Api, JOB, minutesAgo, startWithJob } from '../api/harness.ts';

function clientOf(url: string, options: object = {}): TidemarkClient {
  const client = new TidemarkClient({ url, random: () => 0, ...options });
  onTestFinished(() => client.close());
  return client;
}

async function startFilled(): Promise<{ api: Api; client: TidemarkClient }> {
  const api = await startWithJob();
  await api.send('PUT', '/v1/feature-views/member', { ...JOB, dtype: 'float16', dim: 3 });
  const client = clientOf(api.url);
  const pushed = await client.push({
    feature_view: 'job',
    records: [
      { entity_id: 1, event_timestamp: minutesAgo(30), vector: [1, 1] },
      { entity_id: 1, event_timestamp: minutesAgo(10), vector: [0.5, -2] },
      { entity_id: 'gone', event_timestamp: minutesAgo(5), deleted: true },
    ],
  });
  expect(pushed.versions).toEqual({ v1: { latest: 3, history: 0, duplicate: 0 } });
  const member = { entity_id: 'm', event_timestamp: minutesAgo(1), vector: [0.5, 0.25, 8] };
  await client.push({ feature_view: 'member', records: [member] });
  return { api, client };
}

/** A server that answers as it is told; how often it was asked. */
async function startStub(listener: RequestListener): Promise<{ url: string; asked: () => number }> {
  let asked = 0;
  const server = createServer((request, response) => {
    asked++;
    listener(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked: () => asked };
}

test('a lookup shows vectors, statuses and times of several views, on the bytes that came', async () => {
  const { api, client } = await startFilled();
  using answer = await client.lookup({
    lookups: [
      { feature_view: 'job', entity_ids: [1, 'gone', 'none'] },
      { feature_view: 'member', entity_ids: ['m'], name: 'reader' },
    ],
  });
  expect(answer.snapshot).toBe(api.deps.store.snapshot);
  const job = answer.result('job');
  expect([...job.vector(0)!]).toEqual([0.5, -2]);
  expect([job.vector(1), job.vector(2)]).toEqual([undefined, undefined]);
  expect([0, 1, 2].map((row) => [job.status(row), job.reason(row)])).toEqual([
    ['PRESENT', null],
    ['NOT_FOUND', 'DELETED'],
    ['NOT_FOUND', null],
  ]);
  expect(job.event_timestamps[0]).toBe(BigInt(Date.parse(minutesAgo(10))) * 1_000n);
  expect(job.event_timestamps[2]).toBe(-(2n ** 63n));
  const reader = answer.result('reader');
  expect([...reader.vectors]).toEqual([0.5, 0.25, 8]);
  expect(reader.vectors).toBeInstanceOf(Float16Array);
  expect(reader.vectors.buffer).toBe(job.vectors.buffer);
  expect(() => answer.result('none')).toThrow('no result none');
});

test('int8 vectors have their scales, and any vector is float32 on request', async () => {
  const { api, client } = await startFilled();
  await api.send('PUT', '/v1/feature-views/small', { ...JOB, dtype: 'int8' });
  const record = { entity_id: 's', event_timestamp: minutesAgo(1), vector: [4, -6], scale: 0.25 };
  await client.push({ feature_view: 'small', records: [record] });
  const lookups = [
    { feature_view: 'small', entity_ids: ['s', 'none'] },
    { feature_view: 'member', entity_ids: ['m'] },
  ];
  const stored = await client.lookup({ lookups });
  const small = stored.result('small');
  expect(small.vectors).toEqual(Int8Array.of(4, -6, 0, 0));
  expect(small.scales).toEqual(Float32Array.of(0.25, 0));
  expect([small.scale(0), small.scale(1)]).toEqual([0.25, undefined]);
  expect(stored.result('member').scales).toBeUndefined();
  const wide = await client.lookup({ lookups, dtype: 'float32' });
  expect(wide.result('small').vector(0)).toEqual(Float32Array.of(1, -1.5));
  expect(wide.result('member').vectors).toEqual(Float32Array.of(0.5, 0.25, 8));
  expect(wide.result('small')).toMatchObject({ dtype: 'float32', scales: undefined });
  const [one, again] = await Promise.all([
    client.get('small', 's'),
    client.get('small', 's', { dtype: 'float32' }),
  ]);
  expect(one).toMatchObject({ vector: Int8Array.of(4, -6), scale: 0.25 });
  expect(again).toMatchObject({ vector: Float32Array.of(1, -1.5), scale: undefined });
  const query = { vector: [1, 2], scale: 0.5 };
  const scored = await client.score({ query, feature_view: 'small', entity_ids: ['s'] });
  expect([...scored.scores]).toEqual([-1]);
});

test('memory of an answer that was disposed of is used again, of others never', async () => {
  const { client } = await startFilled();
  const request = { lookups: [{ feature_view: 'job', entity_ids: [1] }] };
  const kept = await client.lookup(request);
  const disposed = await client.lookup(request);
  const { buffer } = disposed.result('job').vectors;
  disposed[Symbol.dispose]();
  disposed[Symbol.dispose]();
  const next = await client.lookup(request);
  const last = await client.lookup(request);
  expect(next.result('job').vectors.buffer).toBe(buffer);
  expect(last.result('job').vectors.buffer).not.toBe(buffer);
  expect([...kept.result('job').vector(0)!]).toEqual([0.5, -2]);
});

test('single lookups of one turn are one request for each question, and have vectors of their own', async () => {
  const { api, client } = await startFilled();
  let requests = 0;
  api.server.server.on('request', () => requests++);
  const found = await Promise.all([
    client.get('job', 1),
    client.get('job@v1', 'none'),
    client.get('member', 'm'),
    client.get('job', 1),
    client.get('job', 1, { as_of: minutesAgo(20) }),
  ]);
  expect(requests).toBe(2);
  expect(found.map(({ status }) => status)).toEqual([
    'PRESENT',
    'NOT_FOUND',
    'PRESENT',
    'PRESENT',
    'PRESENT',
  ]);
  expect(found.map(({ vector }) => vector && [...vector])).toEqual([
    [0.5, -2],
    undefined,
    [0.5, 0.25, 8],
    [0.5, -2],
    [1, 1],
  ]);
  expect(found[0].vector?.buffer).not.toBe(found[3].vector?.buffer);
});

test('what is wrong with one of single lookups that go together is not wrong with the others', async () => {
  const { client } = await startFilled();
  const unknown = Array.from({ length: 40 }, async (_, at) => client.get(`none${at}`, 1));
  const [one, ...refused] = await Promise.allSettled([client.get('job', 1), ...unknown]);
  expect(one).toMatchObject({ status: 'fulfilled', value: { status: 'PRESENT' } });
  expect(
    refused.map((each) => each.status === 'rejected' && (each.reason as { code: string }).code),
  ).toEqual(unknown.map(() => 'VIEW_NOT_FOUND'));
});

test('scores come as columns', async () => {
  const { client } = await startFilled();
  const asked = { feature_view: 'job', entity_ids: [1, 'none'], metric: 'dot' } as const;
  const scored = await client.score({ ...asked, query: { vector: [2, 1] } });
  expect([...scored.scores]).toEqual([-1, Number.NaN]);
  expect([scored.status(1), scored.reason(1), scored.query]).toEqual(['NOT_FOUND', null, null]);
  const own = await client.score({ ...asked, query: { feature_view: 'job', entity_id: 1 } });
  expect(own.scores[0]).toBe(4.25);
  expect(own.query).toMatchObject({ feature_view: 'job', status: 'PRESENT' });
});

test('a refusal has the code of the server, and is not tried again', async () => {
  const { client } = await startFilled();
  const asked = client.lookup({ lookups: [{ feature_view: 'none', entity_ids: [1] }] });
  await expect(asked).rejects.toBeInstanceOf(TidemarkRefused);
  await expect(asked).rejects.toMatchObject({ status: 404, code: 'VIEW_NOT_FOUND' });
  await expect(client.get('none', 1)).rejects.toMatchObject({ code: 'VIEW_NOT_FOUND' });
});

test('what is refused for now, or breaks off, is tried again', async () => {
  const stub = await startStub((request, response) => {
    if (stub.asked() === 1) request.socket.destroy();
    else if (stub.asked() === 2) {
      response.writeHead(503, { 'content-type': 'application/problem+json' });
      response.end(JSON.stringify({ code: 'SHUTTING_DOWN', detail: 'stopping' }));
    } else {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end('{"snapshot":7}');
    }
  });
  const push = { feature_view: 'job', records: [] };
  expect(await clientOf(stub.url).push(push)).toEqual({ snapshot: 7 });
  expect(stub.asked()).toBe(3);
});

test('a server that goes on refusing is told of as it refused, one that is not there as unreachable', async () => {
  const stub = await startStub((_request, response) => {
    response.writeHead(429).end(JSON.stringify({ code: 'OVERLOADED', detail: 'too much' }));
  });
  const push = { feature_view: 'job', records: [] };
  const refused = clientOf(stub.url, { retriesMax: 1 }).push(push);
  await expect(refused).rejects.toMatchObject({ status: 429, code: 'OVERLOADED' });
  expect(stub.asked()).toBe(2);
  const nobody = clientOf('http://127.0.0.1:1', { retriesMax: 1 }).push(push);
  await expect(nobody).rejects.toBeInstanceOf(TidemarkUnreachable);
  await expect(nobody).rejects.toThrow('after 2 tries');
});

test('a call says with each try how long it is still going to wait', async () => {
  const times: number[] = [];
  const stub = await startStub(({ headers }, response) => {
    times.push(Number(headers['x-request-timeout-ms']));
    response.writeHead(times.length === 1 ? 503 : 200).end('{}');
  });
  await clientOf(stub.url).push({ feature_view: 'job', records: [] }, { deadlineMs: 9_000 });
  expect(times).toHaveLength(2);
  expect(times[0]).toBeLessThanOrEqual(9_000);
  expect(times[1]).toBeLessThan(times[0]!);
  expect(times[1]).toBeGreaterThan(0);
});

test('a call that may take any time waits as long as there is a timer', async () => {
  let said: string | string[] | undefined;
  const stub = await startStub(({ headers }, response) => {
    said = headers['x-request-timeout-ms'];
    setImmediate(() => response.end('{}'));
  });
  const client = clientOf(stub.url, { deadlineMs: Infinity });
  await client.push({ feature_view: 'job', records: [] });
  expect(said).toMatch(/^21474836\d\d$/);
});

test('a call ends with its deadline, and with its signal', async () => {
  const stub = await startStub(() => {});
  const push = { feature_view: 'job', records: [] };
  const late = clientOf(stub.url).push(push, { deadlineMs: 50 });
  await expect(late).rejects.toThrow('no answer within 50 ms');
  const stopping = new AbortController();
  const asked = clientOf(stub.url).push(push, { signal: stopping.signal });
  stopping.abort(new Error('not wanted'));
  await expect(asked).rejects.toThrow('not wanted');
});

test.each([
  { tries: 1, retryAfter: undefined, chance: 0, ms: 2.5 },
  { tries: 3, retryAfter: undefined, chance: 0.5, ms: 20 },
  { tries: 30, retryAfter: undefined, chance: 0.5, ms: 1_000 },
  { tries: 1, retryAfter: '2', chance: 0.4, ms: 2_200 },
  { tries: 1, retryAfter: 'soon', chance: 0.5, ms: 5 },
])('after try $tries, told $retryAfter, chance $chance: $ms ms', (given) => {
  expect(waitMs(given.tries, given.retryAfter, given.chance)).toBeCloseTo(given.ms);
});
