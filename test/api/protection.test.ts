import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';

import { Gauge } from 'prom-client';
import { expect, onTestFinished, test, vi } from 'vitest';

import type { Deps } from '../../src/api/deps.ts';
import { type Limits, limitsSchema } from '../../src/api/limits.ts';
import { type Api, JOB, minutesAgo, NOW, pushTo, startApi, startWithJob } from './harness.ts';

const LOOKUP = { lookups: [{ feature_view: 'job', entity_ids: ['a'] }] };
const TEXT = { entity_id: 'a', event_timestamp: minutesAgo(1), text: 'nurse' };
const MODEL = { version: 'v2', dim: 2, dtype: 'float32', model: { name: 'mini' } };

/** Of a large answer, what a slow client takes at a time. */
const PART = 4_000_000;

/** The limits as they are, but for these; tests wait less than people. */
function limited(limits: Partial<Limits>): { limits: Limits } {
  return { limits: { ...limitsSchema.parse({}), ...limits } };
}

function socketTo(api: Api): Socket {
  const { hostname, port } = new URL(api.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  return socket;
}

function requestOf(path: string, body: unknown, headers = ''): string {
  const json = JSON.stringify(body);
  const head = `POST ${path} HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n${headers}`;
  return `${head}content-length: ${Buffer.byteLength(json)}\r\n\r\n${json}`;
}

async function metric(api: Api, name: string): Promise<number> {
  const { bytes } = await api.send('GET', '/metrics');
  const line = bytes
    .toString()
    .split('\n')
    .find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length));
}

const refused = (api: Api, reason: string) =>
  metric(api, `tidemark_http_refused_total{reason="${reason}"}`);
const cut = (api: Api, reason: string) =>
  metric(api, `tidemark_http_cut_total{reason="${reason}"}`);

/** Keeps the process from anything else. */
function spin(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** A model that makes no vector before its caller gives up; the signals of its callers. */
function stuckModel(): { waiting: AbortSignal[]; deps: Pick<Deps, 'addTexts'> } {
  const waiting: AbortSignal[] = [];
  const addTexts: Deps['addTexts'] = async (_view, _version, _batch, _records, signal) => {
    waiting.push(signal!);
    const never = Promise.withResolvers<never>();
    signal!.addEventListener('abort', () => never.reject(signal!.reason));
    return never.promise;
  };
  return { waiting, deps: { addTexts } };
}

async function startStuck(limits: Partial<Limits> = {}) {
  const { waiting, deps } = stuckModel();
  const api = await startApi({ ...deps, ...limited(limits) });
  await api.send('PUT', '/v1/feature-views/job', JOB);
  await api.send('POST', '/v1/feature-views/job/versions', MODEL);
  const push = { feature_view: 'job', version: 'v2', records: [TEXT] };
  return { api, waiting, push };
}

/** A server with answers that are larger than what the kernel takes of one connection. */
async function startLarge(limits: Partial<Limits>) {
  const api = await startApi(limited({ lookup_ids: 100_000, ...limits }));
  await api.send('PUT', '/v1/feature-views/job', { ...JOB, dim: 4_096 });
  await pushTo(api, [
    { entity_id: 'a', event_timestamp: minutesAgo(1), vector: Array(4_096).fill(0.5) },
  ]);
  const ids = Array.from({ length: 2_000 }, () => 'a');
  const body = { lookups: [{ feature_view: 'job', entity_ids: ids }] };
  const request = requestOf('/v1/lookup', body, 'accept: application/vnd.safetensors\r\n');
  return { api, request };
}

/** A client that asks and takes nothing of its answer but its head. */
async function askAndStop(api: Api, request: string): Promise<Socket> {
  const socket = socketTo(api);
  socket.write(request);
  await once(socket, 'readable');
  socket.read(1);
  return socket;
}

test('a server that is behind refuses what would wait too long, answers the rest, and says that it lives', async () => {
  let isSlow = true;
  const api = await startWithJob({
    ...limited({ max_wait_ms: 20 }),
    pendingOf: () => {
      if (isSlow) spin(8);
      return undefined;
    },
  });
  // Each client asks again once it is answered.
  const statuses = new Map<number, number>();
  const waits = new Set<string | null>();
  const over = new AbortController();
  const clients = Array.from({ length: 12 }, async () => {
    while (!over.signal.aborted) {
      const { status, headers, body } = await api.send('POST', '/v1/lookup', LOOKUP);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (status === 503) waits.add(`${headers.get('retry-after')} ${String(body.code)}`);
    }
  });
  await vi.waitUntil(() => (statuses.get(503) ?? 0) > 5 && (statuses.get(200) ?? 0) > 20, 10_000);
  expect((await api.send('GET', '/healthz')).status).toBe(200);
  expect((await api.send('GET', '/readyz')).status).toBe(200);
  over.abort();
  isSlow = false;
  await Promise.all(clients);
  expect(new Set(statuses.keys())).toEqual(new Set([200, 503]));
  expect([...waits]).toEqual(['1 UNDER_PRESSURE']);
  expect(await refused(api, 'wait')).toBe(statuses.get(503));
  // With less to do everything is answered again.
  await vi.waitUntil(async () => (await api.send('POST', '/v1/lookup', LOOKUP)).status === 200);
});

test('more requests than may be under way are refused, but those about the server itself', async () => {
  const { api, waiting, push } = await startStuck({ requests: 2 });
  const leaving = new AbortController();
  const asked = [1, 2].map(async () =>
    fetch(`${api.url}/v1/push`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(push),
      signal: leaving.signal,
    }),
  );
  const outcome = Promise.allSettled(asked);
  await vi.waitUntil(() => waiting.length === 2);
  const { status, headers, body } = await api.send('POST', '/v1/lookup', LOOKUP);
  expect([status, body.code, headers.get('retry-after')]).toEqual([503, 'UNDER_PRESSURE', '1']);
  expect((await api.send('GET', '/readyz')).status).toBe(200);
  expect(await metric(api, 'tidemark_http_requests_under_way')).toBe(2);
  expect(await refused(api, 'requests')).toBe(1);
  // Who leaves makes room.
  leaving.abort();
  await outcome;
  await vi.waitUntil(async () => (await api.send('POST', '/v1/lookup', LOOKUP)).status === 200);
  expect(await metric(api, 'tidemark_http_requests_under_way')).toBe(0);
});

test.each(['x-request-timeout-ms', 'x-envoy-expected-rq-timeout-ms'])(
  'what waits for a model is given up when the time in %s is over',
  async (field) => {
    const { api, waiting, push } = await startStuck();
    const answer = await api.send('POST', '/v1/push', push, { [field]: '30' });
    expect([answer.status, answer.body.code]).toEqual([504, 'DEADLINE_EXCEEDED']);
    expect(waiting).toHaveLength(1);
  },
);

test('a request whose time is over before its body is there is not begun', async () => {
  const { api, waiting, push } = await startStuck();
  const socket = socketTo(api);
  const request = requestOf(
    '/v1/push',
    push,
    'x-request-timeout-ms: 5\r\nexpect: 100-continue\r\n',
  );
  const [head, body] = request.split('\r\n\r\n') as [string, string];
  socket.write(`${head}\r\n\r\n`);
  // The server has read the head, and says so.
  await once(socket, 'data');
  spin(6);
  socket.write(body);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 504 [^]*"code":"DEADLINE_EXCEEDED"/);
  expect(waiting).toEqual([]);
  expect(await refused(api, 'deadline')).toBe(1);
});

test.each(['soon', '1.5', ''])('the time %j is none', async (time) => {
  const api = await startWithJob();
  const answer = await api.send('POST', '/v1/lookup', LOOKUP, { 'x-request-timeout-ms': time });
  expect([answer.status, answer.body.code]).toEqual([422, 'BAD_REQUEST']);
  expect(answer.body.detail).toContain('expected whole milliseconds');
});

test('a client that takes nothing of its answer is cut off, and its memory is free again', async () => {
  const { api, request } = await startLarge({ stalled_seconds: 0.1 });
  await askAndStop(api, request);
  expect(await metric(api, 'tidemark_http_unsent_bytes')).toBeGreaterThan(2_000 * 4_096 * 4);
  // Meanwhile others are answered.
  expect((await api.send('POST', '/v1/lookup', LOOKUP)).status).toBe(200);
  await vi.waitUntil(async () => (await cut(api, 'answer')) === 1);
  await vi.waitUntil(async () => (await metric(api, 'tidemark_http_unsent_bytes')) === 0);
  expect(await metric(api, 'tidemark_http_requests_under_way')).toBe(0);
});

test('more of answers that nobody takes than may be kept makes the server refuse', async () => {
  const { api, request } = await startLarge({ unsent_bytes: 1_000_000 });
  const socket = await askAndStop(api, request);
  const answer = await api.send('POST', '/v1/lookup', LOOKUP);
  expect([answer.status, answer.body.code]).toEqual([503, 'UNDER_PRESSURE']);
  expect(await refused(api, 'unsent')).toBe(1);
  socket.destroy();
  await vi.waitUntil(async () => (await api.send('POST', '/v1/lookup', LOOKUP)).status === 200);
});

test('large answers about the server itself do not count once they are taken', async () => {
  const api = await startApi();
  const help = 'x'.repeat(100_000);
  new Gauge({ name: 'wide', help, registers: [api.deps.registry] }).set(1);
  const unsent = async (): Promise<number> => metric(api, 'tidemark_http_unsent_bytes');
  expect(await unsent()).toBe(0);
  await expect.poll(unsent).toBe(0);
});

test('a client that takes its answer bit by bit is not cut off', async () => {
  const { api, request } = await startLarge({ stalled_seconds: 0.3 });
  const socket = socketTo(api);
  socket.write(request);
  const [began, bytesMin] = [performance.now(), 2_000 * 4_096 * 4];
  let [bytes, next] = [0, PART];
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMin) break;
    if (bytes < next) continue;
    next += PART;
    await pause(80);
  }
  expect(bytes).toBeGreaterThan(bytesMin);
  expect(performance.now() - began).toBeGreaterThan(300);
});

test('a stream that is not taken has longer than an answer, and is cut off too', async () => {
  const api = await startWithJob(limited({ stalled_seconds: 0.05, stalled_stream_seconds: 0.2 }));
  const spine = Array.from({ length: 4_000 }, (_, row) =>
    JSON.stringify({ job_id: `job-${row}`, event_timestamp: NOW, more: 'x'.repeat(4_000) }),
  ).join('\n');
  const head =
    'POST /v1/get-historical-features?feature_views=job HTTP/1.1\r\nhost: here\r\n' +
    `content-type: application/x-ndjson\r\ncontent-length: ${spine.length}\r\n\r\n`;
  const began = performance.now();
  await askAndStop(api, head + spine);
  await vi.waitUntil(async () => (await cut(api, 'stream')) === 1, 5_000);
  expect(performance.now() - began).toBeGreaterThan(200);
  expect(await cut(api, 'answer')).toBe(0);
  await vi.waitUntil(
    async () => (await metric(api, 'tidemark_http_requests_under_way')) === 0,
    5_000,
  );
});

test('a body that does not arrive in time is answered with 408, one that is streamed is waited for', async () => {
  const api = await startWithJob(limited({ body_seconds: 0.1 }));
  const spine = socketTo(api);
  spine.write(
    'POST /v1/get-historical-features?feature_views=job HTTP/1.1\r\nhost: here\r\n' +
      'content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n',
  );
  const lookup = socketTo(api);
  lookup.write(requestOf('/v1/lookup', LOOKUP).slice(0, -1));
  const answer = await text(lookup);
  expect(answer).toMatch(/^HTTP\/1.1 408 [^]*"code":"LIMIT_EXCEEDED"/);
  expect(await cut(api, 'body')).toBe(1);
  const line = `${JSON.stringify({ job_id: 'a' })}\n`;
  spine.write(`${line.length.toString(16)}\r\n${line}\r\n0\r\n\r\n`);
  expect(await text(spine)).toMatch(/^HTTP\/1.1 422 [^]*no column event_timestamp/);
});

test('more connections than may be open are closed at once', async () => {
  const api = await startWithJob(limited({ connections: 2 }));
  // The one that made the view is kept alive.
  const first = socketTo(api);
  await once(first, 'connect');
  const second = socketTo(api);
  await once(second, 'close');
  first.write('GET /metrics HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n');
  const answer = await text(first);
  expect(answer).toContain('tidemark_http_connections 2\n');
  expect(answer).toContain('tidemark_http_cut_total{reason="connections"} 1\n');
});

test('a server that is to stop says so first, and still answers, once on each connection', async () => {
  const api = await startWithJob(limited({ drain_seconds: 0.2 }));
  const announced = api.server.stopping.announce();
  const ready = await api.send('GET', '/readyz');
  expect([ready.status, ready.body]).toMatchObject([
    503,
    { ready: false, checks: { store: { ok: true }, stop: { ok: false } } },
  ]);
  const answer = await api.send('POST', '/v1/lookup', LOOKUP);
  expect([answer.status, answer.headers.get('connection')]).toEqual([200, 'close']);
  await announced;
  await api.server.close();
});

test('what does not end in the time that a stop has is cut off', async () => {
  const { api, waiting, push } = await startStuck({ stop_seconds: 0.1 });
  const socket = socketTo(api);
  socket.write(requestOf('/v1/push', push));
  await vi.waitUntil(() => waiting.length === 1);
  await api.server.close();
  expect(await text(socket)).toBe('');
  await vi.waitUntil(() => waiting[0]!.aborted);
});
