import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { setTimeout } from 'node:timers/promises';

import { expect, test } from 'vitest';

import { limitsSchema } from '../../src/api/limits.ts';
import { type Answer, type Api, JOB, minutesAgo, NOW, pushTo, startWithJob } from './harness.ts';

const NDJSON = 'application/x-ndjson';

async function startFilled(rest: Parameters<typeof startWithJob>[0] = {}): Promise<Api> {
  const api = await startWithJob(rest);
  await api.send('PUT', '/v1/feature-views/member', {
    ...JOB,
    entity: 'member',
    join_key: 'member_id',
  });
  const known = { known: 'event' };
  await pushTo(
    api,
    [
      { entity_id: 1, event_timestamp: minutesAgo(30), vector: [1, 1] },
      { entity_id: 1, event_timestamp: minutesAgo(10), vector: [2, 2] },
    ],
    known,
  );
  await pushTo(api, [{ entity_id: 'm', event_timestamp: minutesAgo(20), vector: [7, 7] }], {
    feature_view: 'member',
    ...known,
  });
  return api;
}

function join(api: Api, query: string, body: string | undefined, headers = {}): Promise<Answer> {
  return api.send('POST', `/v1/get-historical-features?${query}`, body, {
    'content-type': NDJSON,
    ...headers,
  });
}

function linesOf({ bytes }: Answer): Record<string, unknown>[] {
  const text = bytes.toString();
  expect(text.endsWith('\n')).toBe(true);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

const SPINE = [
  { job_id: 1, member_id: 'm', event_timestamp: minutesAgo(5), label: 1 },
  { job_id: 1, member_id: 'm', event_timestamp: minutesAgo(25), label: 0 },
  { job_id: 'x', member_id: 'm', event_timestamp: minutesAgo(25), label: 0 },
];
const TEXT = SPINE.map((row) => JSON.stringify(row)).join('\n');

test('each row of a spine has the vectors of its moment, in spine order (A11)', async () => {
  const api = await startFilled();
  const answer = await join(api, 'feature_views=job,member@v1', TEXT);
  expect([answer.status, answer.type]).toEqual([200, NDJSON]);
  const lines = linesOf(answer);
  expect(lines).toHaveLength(4);
  expect(lines.slice(0, 3)).toMatchObject([
    { ...SPINE[0], job__vector: [2, 2], 'member@v1__vector': [7, 7] },
    { ...SPINE[1], job__vector: [1, 1], 'member@v1__vector': null },
    { ...SPINE[2], job__vector: null, job__status: 'NOT_FOUND' },
  ]);
  expect(lines[3]).toMatchObject({
    __summary: {
      rows: 3,
      snapshot: api.deps.store.snapshot,
      question: { boundary: 'inclusive', knowledge: 'input', known_at: null },
      feature_views: { job: { statuses: { PRESENT: 2, NOT_FOUND: 1 } }, 'member@v1': {} },
    },
  });
});

test('references are renamed, and columns are mapped to them', async () => {
  const api = await startFilled();
  const body = JSON.stringify({ posting: 1, when: minutesAgo(5) });
  const query =
    'feature_views=now=job,then=job@v1&id_columns=now:posting,then:posting&timestamp_column=when' +
    '&known_timestamps=true&created_timestamps=true';
  const [line] = linesOf(await join(api, query, body));
  expect(line).toMatchObject({
    now__vector: [2, 2],
    then__vector: [2, 2],
    now__known_timestamp: '2026-03-01T11:50:00Z',
    now__created_timestamp: NOW,
  });
});

test('rows that are not in order are marked, or end the join when it is strict', async () => {
  const api = await startFilled();
  const body = `${TEXT}\n{"job_id": 1, "event_timestamp": "never"}`;
  const lines = linesOf(await join(api, 'feature_views=job', body));
  expect(lines[3]).toMatchObject({ job__status: 'INVALID', job__reason: 'BAD_TIMESTAMP' });
  expect(lines[4]).toMatchObject({
    __summary: { invalid: [{ row: 'line 4', feature_view: 'job', reason: 'BAD_TIMESTAMP' }] },
  });
  const strict = await join(api, 'feature_views=job&strict=true', body);
  expect([strict.status, strict.body.code]).toEqual([422, 'BAD_REQUEST']);
  expect(strict.body.detail).toContain('line 4');
  expect(strict.body.detail).toContain('BAD_TIMESTAMP (its column event_timestamp)');
  await api.deps.store.advanceHorizon('job', api.clock.now);
  const before = await join(api, 'feature_views=job&strict=true', TEXT);
  expect([before.status, before.body.code]).toEqual([409, 'BEFORE_RETENTION']);
});

test.each([
  ['', 'BAD_REQUEST', 422],
  ['feature_views=', 'BAD_REQUEST', 422],
  ['feature_views=job@', 'BAD_REQUEST', 422],
  ['feature_views=nobody', 'VIEW_NOT_FOUND', 404],
  ['feature_views=job@v9', 'VERSION_NOT_FOUND', 404],
  ['feature_views=job,job', 'NAME_COLLISION', 422],
  [`feature_views=${'n'.repeat(201)}=job`, 'BAD_REQUEST', 422],
  ['feature_views=job,job=member', 'NAME_COLLISION', 422],
  ['feature_views=job&id_columns=member:id', 'BAD_REQUEST', 422],
  ['feature_views=job&id_columns=job', 'BAD_REQUEST', 422],
  ['feature_views=job&known_at=x', 'BAD_TIMESTAMP', 422],
  ['feature_views=job&as_of=2026-03-01T12:00:00Z', 'BAD_REQUEST', 422],
  ['feature_views=job&at_snapshot=99999999', 'SNAPSHOT_UNAVAILABLE', 409],
  ['feature_views=job,a=job,b=job', 'LIMIT_EXCEEDED', 413],
])('a join of %s is refused', async (query, code, status) => {
  const api = await startFilled({ limits: limitsSchema.parse({ spine_refs: 2 }) });
  const answer = await join(api, query, TEXT);
  expect([answer.status, answer.body.code]).toEqual([status, code]);
});

test('a column that the join would add is refused when the spine has it', async () => {
  const api = await startFilled();
  const answer = await join(
    api,
    'feature_views=job',
    `{"job_id": 1, "event_timestamp": "${NOW}", "job__vector": []}`,
  );
  expect([answer.status, answer.body.code]).toEqual([422, 'NAME_COLLISION']);
});

test.each(['__summary', '__error'])('a spine with a column %s is refused', async (column) => {
  const api = await startFilled();
  const row = `{"job_id": 1, "event_timestamp": "${NOW}", "${column}": {}}`;
  const answer = await join(api, 'feature_views=job', row);
  expect([answer.status, answer.body.code]).toEqual([422, 'NAME_COLLISION']);
  expect(answer.body.detail).toContain(`line 1 has a column ${column}`);
});

test('a spine of another type, or an answer of another, is not for this route', async () => {
  const api = await startFilled();
  const json = await join(api, 'feature_views=job', TEXT, { 'content-type': 'application/json' });
  expect([json.status, json.body.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
  const none = await api.send('POST', '/v1/get-historical-features?feature_views=job');
  expect([none.status, none.body.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
  const html = await join(api, 'feature_views=job', TEXT, { accept: 'application/json' });
  expect([html.status, html.body.code]).toEqual([406, 'NOT_ACCEPTABLE']);
});

test('of many rows that are INVALID the first twenty are named at the end, in every format', async () => {
  const api = await startFilled();
  const bad = Array.from({ length: 9_000 }, (_, row) =>
    JSON.stringify({ job_id: 1, event_timestamp: row % 4_000 === 10 ? 'never' : minutesAgo(5) }),
  );
  const few = [10, 4_010, 8_010].map((row) => ({
    row: `line ${row + 1}`,
    feature_view: 'job',
    reason: 'BAD_TIMESTAMP',
  }));
  const told = linesOf(await join(api, 'feature_views=job', bad.join('\n'))).at(-1);
  expect(told).toMatchObject({ __summary: { rows: 9_000, invalid: few } });
  for (const accept of ['application/vnd.apache.arrow.stream', 'application/vnd.apache.parquet']) {
    const { bytes } = await join(api, 'feature_views=job', bad.join('\n'), { accept });
    expect(bytes.includes(`"invalid":${JSON.stringify(few)}`)).toBe(true);
  }
  const all = Array.from({ length: 30 }, () => '{"job_id":1,"event_timestamp":"never"}');
  const summary = linesOf(await join(api, 'feature_views=job', all.join('\n'))).at(-1);
  expect((summary as { __summary: { invalid: unknown[] } })['__summary'].invalid).toHaveLength(20);
  const [fine] = linesOf(await join(api, 'feature_views=job', TEXT)).slice(-1);
  expect(fine!['__summary']).not.toHaveProperty('invalid');
});

test('rows that known_at alone keeps from an embedding are told to name a later one (A5)', async () => {
  const api = await startFilled();
  const query = `feature_views=job&known_at=${minutesAgo(60)}&knowledge=`;
  const noteOf = async (knowledge: string) => {
    const { __summary: summary } = linesOf(await join(api, `${query}${knowledge}`, TEXT)).at(-1)!;
    return (summary as { notes: string[] }).notes[0]!.split('known by then')[1];
  };
  expect(await noteOf('event')).toBe(': name a later known_at, or leave it out');
  expect(await noteOf('served')).toMatch(/^; knowledge=input also .*; known_at bounds it, too$/);
});

test('an empty spine has an answer of a summary', async () => {
  const api = await startFilled();
  expect(linesOf(await join(api, 'feature_views=job', '\n'))).toMatchObject([
    { __summary: { rows: 0 } },
  ]);
});

/** More rows than are joined at once, so that lines go out before all of the spine has come in. */
const MANY = 20_000;

function* manyRows(bad?: number): Generator<Buffer> {
  const event_timestamp = minutesAgo(5);
  for (let from = 0; from < MANY; from += 1_000) {
    const lines = Array.from({ length: 1_000 }, (_, at) =>
      from + at === bad
        ? 'nonsense'
        : JSON.stringify({ job_id: 1, event_timestamp, row: from + at }),
    );
    yield Buffer.from(`${lines.join('\n')}\n`);
  }
}

function stream(api: Api, spine: Iterable<Buffer> | AsyncIterable<Buffer>): Promise<Response> {
  return fetch(`${api.url}/v1/get-historical-features?feature_views=job`, {
    method: 'POST',
    headers: { 'content-type': NDJSON },
    body: ReadableStream.from(spine),
    duplex: 'half',
  });
}

test('a spine larger than any body is streamed through, at one snapshot', async () => {
  const api = await startFilled({ limits: limitsSchema.parse({ body_bytes: 1_024 }) });
  const response = await stream(api, manyRows());
  const lines = (await response.text()).trimEnd().split('\n');
  expect(lines).toHaveLength(MANY + 1);
  expect(JSON.parse(lines[MANY - 1]!)).toMatchObject({ row: MANY - 1, job__vector: [2, 2] });
  expect(JSON.parse(lines[MANY]!)).toMatchObject({ __summary: { rows: MANY } });
});

test('a join that breaks off says why in its last line and does not end like a whole one', async () => {
  const api = await startFilled();
  const response = await stream(api, manyRows(MANY - 10));
  expect(response.status).toBe(200);
  let text = '';
  const read = async () => {
    for await (const chunk of response.body!) text += Buffer.from(chunk).toString();
  };
  await expect(read()).rejects.toThrow('terminated');
  expect(text).not.toContain('__summary');
  const last = JSON.parse(text.trimEnd().split('\n').at(-1)!) as Record<string, unknown>;
  expect(last).toMatchObject({ __error: { code: 'BAD_REQUEST' } });
});

test('a bad first line is a plain problem, however long the rest of the spine', async () => {
  const api = await startFilled();
  const response = await stream(api, manyRows(0));
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({ code: 'BAD_REQUEST' });
});

test.each([
  ['before any line is out', 10],
  ['in the middle of the answer', MANY],
])('a caller that goes away %s is no defect of ours', async (_when, rows) => {
  const logged: string[] = [];
  const sink = { write: (line: string) => void logged.push(line) };
  const api = await startFilled({ logger: { level: 'info', stream: sink } });
  const { hostname, port } = new URL(api.url);
  const ended = Promise.withResolvers<void>();
  api.server.server.once('request', (_request, response: ServerResponse) => {
    response.once('close', () => ended.resolve());
  });
  const socket = connect(Number(port), hostname);
  const spine = Buffer.concat([...manyRows()]);
  const row = spine.indexOf('\n') + 1;
  const path = '/v1/get-historical-features?feature_views=job';
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: here\r\ncontent-type: ${NDJSON}\r\ncontent-length: 99999999\r\n\r\n`,
  );
  socket.write(spine.subarray(0, row * rows));
  if (rows === MANY) await once(socket, 'data');
  else await setTimeout(50);
  socket.destroy();
  await ended.promise;
  await setTimeout(50);
  expect(logged.filter((line) => !line.includes('listening'))).toEqual([]);
});

test('streams beyond the limit are asked to try again, and a stream that ends makes room', async () => {
  const limits = limitsSchema.parse({ spine_streams: 1 });
  const api = await startFilled({ limits });
  const rest = Promise.withResolvers<void>();
  async function* spine() {
    yield Buffer.from(`${TEXT}\n`.repeat(2_000));
    await rest.promise;
  }
  const streamed = await stream(api, spine());
  expect(streamed.status).toBe(200);
  const refused = await join(api, 'feature_views=job', TEXT);
  expect(refused).toMatchObject({ status: 429, body: { code: 'OVERLOADED' } });
  rest.resolve();
  expect(await streamed.text()).toContain('__summary');
  expect((await join(api, 'feature_views=job', TEXT)).status).toBe(200);
});
