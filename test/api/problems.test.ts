import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

import { expect, test } from 'vitest';

import { type Problem, problemOf } from '../../src/api/problem.ts';
import { type ErrorCode, TidemarkError } from '../../src/ground/errors.ts';
import { JOB, startApi, startWithJob } from './harness.ts';

const STATUSES: Record<ErrorCode, number> = {
  BAD_REQUEST: 422,
  BAD_ENTITY_ID: 422,
  BAD_TIMESTAMP: 422,
  BAD_DURATION: 422,
  FUTURE_TIMESTAMP: 422,
  BAD_VECTOR: 422,
  BAD_INPUT: 422,
  EMPTY_TEXT: 422,
  BAD_RECORD: 422,
  VIEW_NOT_FOUND: 404,
  VERSION_NOT_FOUND: 404,
  VIEW_CONFLICT: 409,
  VERSION_REQUIRED: 422,
  VERSION_IN_USE: 409,
  NO_PREVIOUS: 409,
  GATES_FAILED: 409,
  ENTITY_ERASED: 409,
  ERASURE_NOT_FOUND: 404,
  EXPORT_NOT_FOUND: 404,
  EXPORT_NOT_DONE: 409,
  BACKFILL_NOT_FOUND: 404,
  READ_ONLY_REPLICA: 409,
  NOT_A_REPLICA: 409,
  REPLICA_DIVERGED: 409,
  BACKUP_INVALID: 422,
  BACKUP_REFUSED: 422,
  NO_MODEL: 422,
  MODEL_INVALID: 422,
  MODEL_CHANGED: 409,
  MODEL_DRIFTED: 409,
  MODEL_UNAVAILABLE: 503,
  INFERENCE_FAILED: 422,
  SNAPSHOT_UNAVAILABLE: 409,
  BEFORE_RETENTION: 409,
  NAME_COLLISION: 422,
  LIMIT_EXCEEDED: 413,
  OVERLOADED: 429,
  UNDER_PRESSURE: 503,
  DEADLINE_EXCEEDED: 504,
  UNSUPPORTED_MEDIA_TYPE: 415,
  NOT_ACCEPTABLE: 406,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  SHUTTING_DOWN: 503,
  STORE_LOCKED: 503,
  STORE_FORMAT: 500,
  STORE_CORRUPT: 500,
  STORE_UNAVAILABLE: 503,
  WRITER_UNAVAILABLE: 503,
  BAD_CONFIG: 422,
  INTERNAL: 500,
};
const CODES = Object.entries(STATUSES) as [ErrorCode, number][];

test.each(CODES)('the code %s is a problem of status %d', (code, status) => {
  expect(problemOf(new TidemarkError(code, 'why'), 'request-1')).toEqual<Problem>({
    type: `urn:tidemark:problem:${code}`,
    title: expect.any(String) as string,
    status,
    detail: 'why',
    code,
    instance: 'request-1',
  });
});

test.each(CODES)(
  'a request that fails with %s has the status %d and no stack',
  async (code, status) => {
    const readiness = (): never => {
      throw new TidemarkError(code, 'why');
    };
    const api = await startApi({ readiness });
    const answer = await api.send('GET', '/readyz', undefined, { 'x-request-id': 'mine' });
    expect([answer.status, answer.type]).toEqual([status, 'application/problem+json']);
    expect(answer.body).toMatchObject({ status, code, detail: 'why', instance: 'mine' });
    expect(answer.bytes.toString()).not.toContain('.ts');
  },
);

function breakDown(): never {
  throw new Error('secret of the implementation');
}

test('a defect of ours shows nothing of itself but the id to find it by', async () => {
  const logged: string[] = [];
  const stream = { write: (line: string) => void logged.push(line) };
  const api = await startApi({ readiness: breakDown, logger: { level: 'info', stream } });
  const answer = await api.send('GET', '/readyz', undefined, { 'x-request-id': 'mine' });
  expect([answer.status, answer.body.code]).toEqual([500, 'INTERNAL']);
  expect(answer.bytes.toString()).not.toContain('secret');
  const [line] = logged.filter((each) => each.includes('secret'));
  expect(JSON.parse(line!)).toMatchObject({ reqId: 'mine', code: 'INTERNAL' });
});

test('requests that are answered leave nothing in the log', async () => {
  const logged: string[] = [];
  const stream = { write: (line: string) => void logged.push(line) };
  const api = await startWithJob({ logger: { level: 'info', stream } });
  await api.send('GET', '/v1/feature-views/nobody');
  expect(logged.filter((line) => !line.includes('listening'))).toEqual([]);
});

test.each([
  ['GET', '/v1/nothing'],
  ['GET', '/'],
  ['POST', '/v1/feature-views/job/entities/a/b'],
])('there is no route %s %s', async (method, path) => {
  const api = await startApi();
  const { status, type, body } = await api.send(method, path);
  expect([status, type]).toEqual([404, 'application/problem+json']);
  expect(body).toMatchObject({
    code: 'NOT_FOUND',
    detail: expect.stringContaining(path) as string,
  });
});

test.each([
  ['GET', '/v1/push', 'POST'],
  ['PATCH', '/v1/feature-views/job', 'PUT, GET, HEAD, DELETE'],
  ['PUT', '/v1/feature-views/job/entities/a%2Fb', 'GET, HEAD, DELETE'],
])('%s %s is not among its methods, which are named', async (method, path, allowed) => {
  const api = await startApi();
  const { status, body, headers } = await api.send(method, path);
  expect([status, body.code]).toEqual([405, 'METHOD_NOT_ALLOWED']);
  expect(headers.get('allow')).toBe(allowed);
});

test('all that does not fit is listed with its place', async () => {
  const api = await startApi();
  const { body } = await api.send('POST', '/v1/lookup?when=now', {
    lookups: [{ feature_view: 1, entity_ids: [] }, { feature_view: 'a' }],
    as_of: 'never',
  });
  expect(body).toMatchObject({
    code: 'BAD_REQUEST',
    errors: [
      { path: 'body/lookups/0/feature_view' },
      { path: 'body/lookups/1/entity_ids' },
      { path: 'body/as_of', message: expect.stringContaining('RFC 3339') as string },
    ],
  });
});

test('a server that stops finishes what it is at and refuses what comes after', async () => {
  const entered = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const api = await startApi({
    bindModel: async ({ name }) => {
      entered.resolve();
      await release.promise;
      return { binding: { name, fingerprint: 'of-today' }, dim: 2 };
    },
  });
  const { hostname, port } = new URL(api.url);
  const late = connect(Number(port), hostname);
  const request = 'GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n';
  late.write(request);
  await once(late, 'data');
  // The next request on this connection has begun when the server is asked to stop.
  late.write(request.slice(0, 10));
  const slow = api.send('PUT', '/v1/feature-views/job', { ...JOB, model: { name: 'mini' } });
  await entered.promise;
  const closed = api.server.close();
  late.write(request.slice(10));
  const refused = await text(late);
  release.resolve();
  expect((await slow).status).toBe(201);
  await closed;
  expect(refused).toMatch(/^HTTP\/1.1 503 /);
  expect(refused).toContain('"code":"SHUTTING_DOWN"');
  await expect(api.send('GET', '/healthz')).rejects.toThrow('fetch failed');
});

test('a connection on which nothing was asked keeps no server from stopping', async () => {
  const api = await startApi();
  const { hostname, port } = new URL(api.url);
  const silent = connect(Number(port), hostname);
  await once(silent, 'connect');
  // The server has it when a later one is answered.
  await api.send('GET', '/healthz');
  const asked = performance.now();
  await api.server.close();
  // By itself Node waits a minute for what it may be asked.
  expect(performance.now() - asked).toBeLessThan(10_000);
});

test.each([
  ['a method that there is not', 'BREW / HTTP/1.1\r\n\r\n', 400, 'BAD_REQUEST'],
  ['a header that is none', 'GET / HTTP/1.1\r\nno header\r\n\r\n', 400, 'BAD_REQUEST'],
  [
    'headers over the limit',
    `GET / HTTP/1.1\r\nhost: here\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`,
    431,
    'LIMIT_EXCEEDED',
  ],
])('what is not HTTP is a problem too: %s', async (_what, request, status, code) => {
  const api = await startApi();
  const { hostname, port } = new URL(api.url);
  const socket = connect(Number(port), hostname);
  socket.write(request);
  const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n');
  expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(head).toContain('content-type: application/problem+json');
  expect(JSON.parse(body)).toMatchObject({ type: `urn:tidemark:problem:${code}`, status, code });
});
