import { createHash } from 'node:crypto';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { tableFromIPC } from 'apache-arrow';
import { expect, test, vi } from 'vitest';

import { parseRange } from '../../src/api/file-range.ts';
import type { ExportAnswer, ExportManifest } from '../../src/api/schemas/exports.ts';
import { testExports } from '../support/exports.ts';
import { tempDirectory } from '../support/temp.ts';
import { type Answer, type Api, minutesAgo, NOW, pushTo, startWithJob } from './harness.ts';

const NDJSON = 'application/x-ndjson';
const ARROW = 'application/vnd.apache.arrow.stream';

async function startFilled(rest: Parameters<typeof startWithJob>[0] = {}): Promise<Api> {
  const api = await startWithJob(rest);
  const records = [
    { entity_id: 1, event_timestamp: minutesAgo(30), vector: [1, 1] },
    { entity_id: 1, event_timestamp: minutesAgo(10), vector: [2, 2] },
    { entity_id: 2, event_timestamp: minutesAgo(20), vector: [3, 3] },
  ];
  await pushTo(api, records, { known: 'event' });
  return api;
}

/** Five rows: parts of two, two and one. */
const SPINE = [
  { job_id: 1, event_timestamp: minutesAgo(5), label: 1 },
  { job_id: 2, event_timestamp: minutesAgo(25), label: 2 },
  { job_id: 1, event_timestamp: minutesAgo(25), label: 3 },
  { job_id: 2, event_timestamp: minutesAgo(5), label: 4 },
  { job_id: 1, event_timestamp: minutesAgo(5), label: 5 },
];
const TEXT = SPINE.map((row) => JSON.stringify(row)).join('\n');

async function submit(api: Api, query: string, body: string, type = NDJSON): Promise<Answer> {
  return api.send('POST', `/v1/exports?${query}`, body, { 'content-type': type });
}

async function status(api: Api, id: string): Promise<ExportAnswer> {
  return (await api.send('GET', `/v1/exports/${id}`)).body as unknown as ExportAnswer;
}

/** The export when it has ended. */
async function ended(api: Api, answer: Answer): Promise<ExportAnswer> {
  expect(answer.status, answer.bytes.toString()).toBe(202);
  const { id } = answer.body as unknown as ExportAnswer;
  await vi.waitUntil(async () => (await status(api, id)).ended_timestamp !== null, {
    timeout: 30_000,
  });
  return status(api, id);
}

async function manifestOf(api: Api, id: string): Promise<ExportManifest> {
  return (await api.send('GET', `/v1/exports/${id}/manifest`)).body as unknown as ExportManifest;
}

async function fileOf(api: Api, id: string, path: string, headers = {}): Promise<Answer> {
  return api.send('GET', `/v1/exports/${id}/files/${path}`, undefined, headers);
}

test('an export has one row a row of its spine, in parts in their order (A11)', async () => {
  const api = await startFilled();
  const taken = await submit(api, 'feature_views=job&format=ndjson', TEXT);
  const told = await ended(api, taken);
  expect(taken.headers.get('location')).toBe(`/v1/exports/${told.id}`);
  expect(told).toMatchObject({
    state: 'done',
    rows: 5,
    rows_total: 5,
    files: 3,
    snapshot: api.deps.store.snapshot,
    question: { boundary: 'inclusive', knowledge: 'input', known_at: null },
    feature_views: { job: { statuses: { PRESENT: 4, NOT_FOUND: 1 } } },
    created_timestamp: NOW,
    expires_timestamp: '2026-03-01T12:01:00Z',
    problem: null,
  });
  const { files } = await manifestOf(api, told.id);
  let rows: unknown[] = [];
  for (const { path, sha256, bytes } of files) {
    const { bytes: content, headers } = await fileOf(api, told.id, path);
    expect(createHash('sha256').update(content).digest('hex')).toBe(sha256);
    expect([headers.get('etag'), headers.get('content-length')]).toEqual([
      `"${sha256}"`,
      String(bytes),
    ]);
    const lines = content.toString().trimEnd().split('\n');
    rows = [...rows, ...lines.slice(0, -1).map((line) => JSON.parse(line) as unknown)];
  }
  expect(rows).toMatchObject([
    { ...SPINE[0], job__vector: [2, 2] },
    { ...SPINE[1], job__vector: null },
    { ...SPINE[2], job__vector: [1, 1] },
    { ...SPINE[3], job__vector: [3, 3] },
    { ...SPINE[4], job__vector: [2, 2] },
  ]);
});

test('with vectors=ref each distinct vector is there once, and rows say where', async () => {
  const api = await startFilled();
  const query = 'feature_views=job&format=arrow&vectors=ref&vector_format=arrow';
  const { id } = await ended(api, await submit(api, query, TEXT));
  const { files } = await manifestOf(api, id);
  const tables = files.filter(({ feature_view }) => feature_view === 'job');
  const vectors: unknown[] = [];
  for (const { path, first_vector_row, rows } of tables) {
    expect(first_vector_row).toBe(vectors.length);
    const table = tableFromIPC((await fileOf(api, id, path)).bytes);
    expect(table.numRows).toBe(rows);
    for (const row of table) vectors.push([...(row!['vector'] as Iterable<number>)]);
  }
  expect(vectors).toHaveLength(3);
  const joined: unknown[] = [];
  for (const { path } of files.filter(({ feature_view }) => feature_view === undefined)) {
    for (const row of tableFromIPC((await fileOf(api, id, path)).bytes)) {
      const at = row!['job__vector_row'] as number | null;
      joined.push(at === null ? null : vectors[at]);
    }
  }
  expect(joined).toEqual([[2, 2], null, [1, 1], [3, 3], [2, 2]]);
});

test('without a spine each revision of a view between two moments is a row, tombstones too', async () => {
  const api = await startFilled();
  const gone = [{ entity_id: 2, event_timestamp: minutesAgo(10), deleted: true }];
  await pushTo(api, gone, { known: 'event' });
  const ask = async (body: object) =>
    api.send('POST', '/v1/exports', { format: 'ndjson', ...body });
  const rowsOf = async (id: string): Promise<unknown[]> => {
    let rows: unknown[] = [];
    for (const { path } of (await manifestOf(api, id)).files) {
      const lines = (await fileOf(api, id, path)).bytes.toString().trimEnd().split('\n');
      rows = [...rows, ...lines.slice(0, -1).map((line) => JSON.parse(line) as unknown)];
    }
    return rows;
  };
  const all = await ended(api, await ask({ revisions: { feature_view: 'job' } }));
  expect([all.state, all.rows, all.revisions]).toEqual(['done', 4, { from: null, to: null }]);
  expect(await rowsOf(all.id)).toMatchObject([
    { job_id: '1', event_timestamp: '2026-03-01T11:30:00Z', deleted: false, vector: [1, 1] },
    { job_id: '1', event_timestamp: '2026-03-01T11:50:00Z', deleted: false, vector: [2, 2] },
    { job_id: '2', event_timestamp: '2026-03-01T11:40:00Z', deleted: false, vector: [3, 3] },
    { job_id: '2', event_timestamp: '2026-03-01T11:50:00Z', deleted: true, vector: null },
  ]);
  const revisions = { feature_view: 'job', from: minutesAgo(20), to: minutesAgo(10) };
  const some = await ended(api, await ask({ revisions }));
  expect(await rowsOf(some.id)).toMatchObject([{ job_id: '2', vector: [3, 3] }]);
  const swapped = { feature_view: 'job', from: minutesAgo(10), to: minutesAgo(20) };
  expect(await ask({ revisions: swapped })).toMatchObject({
    status: 422,
    body: { detail: 'body/revisions/to: is before from: no event time lies between them' },
  });
});

test('what is of a join is refused of revisions, each by its name, and tables of vectors of neither', async () => {
  const api = await startFilled();
  const revisions = { feature_view: 'job' };
  const ask = (body: object) => api.send('POST', '/v1/exports', body);
  const ofJoin = {
    spine: { path: '/rows.csv' },
    feature_views: 'job',
    id_columns: 'job:id',
    timestamp_column: 'event_timestamp',
    column_types: 'label:string',
    known_timestamps: false,
    created_timestamps: true,
    strict: false,
    boundary: 'inclusive',
    knowledge: 'input',
    max_age: 'PT1H',
    order: 'spine',
  };
  const mixed = await ask({ revisions, ...ofJoin });
  expect([mixed.status, mixed.body['code'], mixed.body['errors']]).toEqual([
    422,
    'BAD_REQUEST',
    Object.keys(ofJoin).map((name) => ({
      path: `body/${name}`,
      message: 'is of a join: leave it out, or the revisions',
    })),
  ]);
  const idle = 'vector_format: is of vectors=ref: say that, too, or leave it out';
  const alone = await ask({ revisions, vectors: 'inline', vector_format: 'arrow' });
  expect([alone.status, alone.body['detail']]).toEqual([422, `body/${idle}`]);
  const sent = await submit(api, 'feature_views=job&vector_format=arrow', TEXT);
  expect([sent.status, sent.body['detail']]).toEqual([422, `query/${idle}`]);
  const echoed = await ask({ revisions, known_at: null, max_age: null });
  expect((await ended(api, echoed)).state).toBe('done');
});

test('a file is fetched in ranges, and what broke off goes on', async () => {
  const api = await startFilled();
  const { id } = await ended(api, await submit(api, 'feature_views=job&format=ndjson', TEXT));
  const [{ path, sha256 }] = (await manifestOf(api, id)).files as [ExportManifest['files'][number]];
  const whole = (await fileOf(api, id, path)).bytes;
  const rest = await fileOf(api, id, path, { range: 'bytes=10-', 'if-range': `"${sha256}"` });
  expect([rest.status, rest.headers.get('content-range')]).toEqual([
    206,
    `bytes 10-${whole.byteLength - 1}/${whole.byteLength}`,
  ]);
  expect(rest.bytes).toEqual(whole.subarray(10));
  const other = await fileOf(api, id, path, { range: 'bytes=10-', 'if-range': '"another"' });
  expect([other.status, other.bytes]).toEqual([200, whole]);
  const beyond = await fileOf(api, id, path, { range: `bytes=${whole.byteLength}-` });
  expect([beyond.status, beyond.headers.get('content-range')]).toEqual([
    416,
    `bytes */${whole.byteLength}`,
  ]);
  const weak = await fileOf(api, id, path, { range: 'bytes=10-', 'if-range': `W/"${sha256}"` });
  expect([weak.status, weak.bytes]).toEqual([200, whole]);
  for (const [tags, code] of [
    [`"${sha256}"`, 304],
    [`W/"${sha256}"`, 304],
    [`"another", W/"${sha256}"`, 304],
    ['*', 304],
    ['"another"', 200],
    [sha256, 200],
  ] as const) {
    const { status: found, headers } = await fileOf(api, id, path, { 'if-none-match': tags });
    expect([tags, found, headers.get('etag')]).toEqual([tags, code, `"${sha256}"`]);
  }
  const range = { range: 'bytes=10-20' };
  const head = await api.send('HEAD', `/v1/exports/${id}/files/${path}`, undefined, range);
  expect([
    head.status,
    head.headers.get('content-length'),
    head.headers.get('accept-ranges'),
  ]).toEqual([200, String(whole.byteLength), 'bytes']);
});

test.each([
  ['bytes=0-3', { first: 0, last: 3 }],
  ['bytes=3-', { first: 3, last: 9 }],
  ['Bytes=3-', { first: 3, last: 9 }],
  ['bytes=3-99', { first: 3, last: 9 }],
  ['bytes=-4', { first: 6, last: 9 }],
  ['bytes=-99', { first: 0, last: 9 }],
  ['bytes=-0', 'none'],
  ['bytes=10-', 'none'],
  ['bytes=4-3', undefined],
  ['bytes=0-1,3-4', undefined],
  ['lines=0-1', undefined],
  [undefined, undefined],
])('of ten bytes the range %s is %j', (text, range) => {
  expect(parseRange(text, 10)).toEqual(range);
});

test('an export that is not there, or has no such file, says so', async () => {
  const api = await startFilled();
  const { id } = await ended(api, await submit(api, 'feature_views=job', TEXT));
  for (const path of [
    '/v1/exports/nobody',
    '/v1/exports/nobody/manifest',
    '/v1/exports/nobody/files/parts/part-00000.parquet',
    `/v1/exports/${id}/files/parts/part-00009.parquet`,
    `/v1/exports/${id}/files/..%2f/export.json`,
  ]) {
    const { status: code, body } = await api.send('GET', path);
    expect([path, code, body['code']]).toEqual([path, 404, 'EXPORT_NOT_FOUND']);
  }
  expect((await api.send('DELETE', '/v1/exports/nobody')).status).toBe(404);
});

test('exports are listed page by page, the newest first, and removed', async () => {
  const api = await startFilled();
  const ids: string[] = [];
  for (let count = 0; count < 3; count++) {
    api.clock.now += 1_000;
    ids.unshift((await ended(api, await submit(api, 'feature_views=job', TEXT))).id);
  }
  const first = await api.send('GET', '/v1/exports?limit=2');
  const { exports, next } = first.body as unknown as { exports: ExportAnswer[]; next: string };
  const second = await api.send('GET', `/v1/exports?limit=2&cursor=${next}`);
  const rest = second.body as unknown as { exports: ExportAnswer[]; next: string | null };
  expect([...exports, ...rest.exports].map(({ id }) => id)).toEqual(ids);
  expect(rest.next).toBeNull();
  for (const cursor of ['zzz', '', `${ids[0]}0`]) {
    const { status: code, body } = await api.send('GET', `/v1/exports?cursor=${cursor}`);
    expect([cursor, code, body['detail']]).toEqual([
      cursor,
      422,
      'the cursor is none that a page of exports came with; start without one',
    ]);
  }
  const removed = await api.send('DELETE', `/v1/exports/${ids[0]}`);
  expect([removed.status, removed.body['state']]).toEqual([200, 'done']);
  expect((await api.send('GET', `/v1/exports/${ids[0]}`)).status).toBe(404);
  // A page goes on behind what has gone meanwhile.
  const after = await api.send('GET', `/v1/exports?cursor=${ids[0]}`);
  expect(after.body['exports']).toMatchObject([{ id: ids[1] }, { id: ids[2] }]);
});

test('an export that fails says why, in the words of a join', async () => {
  const api = await startFilled();
  const told = await ended(
    api,
    await submit(
      api,
      'feature_views=job&strict=true',
      `${TEXT}\n{"job_id":1,"event_timestamp":"never"}`,
    ),
  );
  expect(told).toMatchObject({
    state: 'failed',
    problem: { code: 'BAD_REQUEST', detail: expect.stringContaining('line 6') as string },
    expires_timestamp: null,
  });
  const lenient = await ended(
    api,
    await submit(api, 'feature_views=job', `${TEXT}\n{"job_id":1,"event_timestamp":"never"}`),
  );
  expect(lenient).toMatchObject({
    state: 'done',
    invalid: [{ row: 'line 6', feature_view: 'job', reason: 'BAD_TIMESTAMP' }],
  });
});

test('over what may run and wait an export is refused with the time to come back', async () => {
  const gate = Promise.withResolvers<void>();
  const api = await startFilled();
  const directory = tempDirectory();
  const slow = testExports(
    api.deps.store,
    directory,
    async function* wait() {
      await gate.promise;
      yield* [];
    },
    { concurrent: 1, queued: 0 },
  );
  vi.spyOn(api.deps.exports, 'submit').mockImplementation(async (asked) => slow.submit(asked));
  vi.spyOn(api.deps.exports, 'manifest').mockImplementation(async (id) => slow.manifest(id));
  const taken = await submit(api, 'feature_views=job', TEXT);
  expect(taken.status).toBe(202);
  const refused = await submit(api, 'feature_views=job', TEXT);
  expect([refused.status, refused.body['code']]).toEqual([429, 'OVERLOADED']);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  const early = await api.send('GET', `/v1/exports/${String(taken.body['id'])}/manifest`);
  expect([early.status, early.body['code']]).toEqual([409, 'EXPORT_NOT_DONE']);
  gate.resolve();
  await slow.stop();
});

test('a spine of the server’s disk is read where the settings let it, and nowhere else', async () => {
  const spines = tempDirectory();
  const elsewhere = tempDirectory();
  const api = await startFilled({ spineDirectories: [spines] });
  writeFileSync(join(spines, 'rows.jsonl'), TEXT);
  writeFileSync(join(spines, 'rows.txt'), TEXT);
  writeFileSync(join(elsewhere, 'rows.jsonl'), TEXT);
  symlinkSync(elsewhere, join(spines, 'way-out'));
  mkdirSync(join(spines, 'folder.csv'));
  const ask = (path: string, more: object = {}) =>
    api.send('POST', '/v1/exports', { spine: { path, ...more }, feature_views: 'job' });
  const told = await ended(api, await ask(join(spines, 'rows.jsonl')));
  expect(told).toMatchObject({ state: 'done', rows: 5, format: 'parquet' });
  await ended(api, await ask(join(spines, 'rows.txt'), { format: 'ndjson' }));
  for (const [path, why] of [
    [join(elsewhere, 'rows.jsonl'), `exports.spine_directories, which are ${spines}`],
    [join(spines, 'way-out', 'rows.jsonl'), 'is not, where its links lead, inside a directory'],
    [`${spines}/../rows.jsonl`, 'exports.spine_directories'],
    ['rows.jsonl', 'the whole path'],
    [join(spines, 'rows.txt'), 'say its format'],
    [join(spines, 'none.csv'), 'no such file'],
    [join(spines, 'folder.csv'), 'is no file, expected one with its rows'],
  ] as const) {
    const { status: code, body } = await ask(path);
    expect([path, code, body['code']]).toEqual([path, 422, 'BAD_REQUEST']);
    expect(body['detail']).toContain(why);
  }
});

const JSON_TYPE = 'application/json';
const BODY = '{"feature_views": "job"}';

test.each([
  ['', NDJSON, 422, 'BAD_REQUEST'],
  ['feature_views=job&column_types=label', NDJSON, 422, 'BAD_REQUEST'],
  ['feature_views=job&column_types=label:decimal', NDJSON, 422, 'BAD_REQUEST'],
  ['feature_views=job&column_types=label:int64,label:string', NDJSON, 422, 'BAD_REQUEST'],
  ['feature_views=job&column_types=label:int64', ARROW, 422, 'BAD_REQUEST'],
  ['feature_views=job&id_columns=job:job_id,job:other_id', NDJSON, 422, 'BAD_REQUEST'],
  ['feature_views=job&format=csv', NDJSON, 422, 'BAD_REQUEST'],
  ['feature_views=nobody', NDJSON, 404, 'VIEW_NOT_FOUND'],
  ['feature_views=job', 'text/html', 415, 'UNSUPPORTED_MEDIA_TYPE'],
  ['feature_views=job', JSON_TYPE, 422, 'BAD_REQUEST'],
  ['', JSON_TYPE, 422, 'BAD_REQUEST'],
])('an export with the query "%s" and a body of %s is refused', async (query, type, code, name) => {
  const body = type === JSON_TYPE ? BODY : TEXT;
  const api = await startFilled();
  const answer = await submit(api, query, body, type);
  expect([answer.status, answer.body['code']]).toEqual([code, name]);
});

test('a CSV spine becomes an Arrow answer with types, streamed', async () => {
  const api = await startFilled();
  const csv = `job_id,event_timestamp,label\n1,${minutesAgo(5)},\n2,${minutesAgo(25)},7\n`;
  const answer = await api.send('POST', '/v1/get-historical-features?feature_views=job', csv, {
    'content-type': 'text/csv; charset=utf-8',
    accept: ARROW,
  });
  expect([answer.status, answer.type]).toEqual([200, ARROW]);
  const table = tableFromIPC(answer.bytes);
  expect(table.schema.fields.map(({ name, type }) => `${name}: ${type}`)).toEqual([
    'job_id: Int64',
    'event_timestamp: Utf8',
    'label: Int64',
    'job__vector: FixedSizeList[2]<Float32>',
    'job__event_timestamp: Timestamp<MICROSECOND, UTC>',
    expect.stringMatching(/^job__status: Dictionary</) as string,
    expect.stringMatching(/^job__reason: Dictionary</) as string,
  ]);
  expect(table.get(0)!['label']).toBeNull();
  expect([...(table.get(0)!['job__vector'] as Iterable<number>)]).toEqual([2, 2]);
});

test('a Parquet answer goes back in as a Parquet spine', async () => {
  const api = await startFilled();
  const ask = (query: string, body: string | Uint8Array, type: string, accept: string) =>
    api.send('POST', `/v1/get-historical-features?${query}`, body, {
      'content-type': type,
      accept,
    });
  const PARQUET = 'application/vnd.apache.parquet';
  const rows = TEXT.replaceAll('"event_timestamp"', '"moment"');
  const types = 'timestamp_column=moment&column_types=moment:timestamp';
  const first = await ask(`feature_views=job&${types}`, rows, NDJSON, PARQUET);
  expect([first.status, first.type], first.bytes.toString().slice(0, 300)).toEqual([200, PARQUET]);
  const again = await ask(
    'feature_views=then=job&timestamp_column=moment',
    first.bytes,
    PARQUET,
    NDJSON,
  );
  const lines = again.bytes.toString().trimEnd().split('\n');
  expect(lines).toHaveLength(SPINE.length + 1);
  expect(JSON.parse(lines[0]!)).toMatchObject({
    job__vector: [2, 2],
    then__vector: [2, 2],
    label: 1,
  });
});

test('vectors by reference are not for a stream', async () => {
  const api = await startFilled();
  const { status: code, body } = await api.send(
    'POST',
    '/v1/get-historical-features?feature_views=job&vectors=ref',
    TEXT,
    { 'content-type': NDJSON },
  );
  expect([code, body['detail']]).toEqual([422, expect.stringContaining('POST /v1/exports')]);
});

test('an Arrow answer that breaks off has no end mark, and its connection is cut', async () => {
  const api = await startFilled();
  const event_timestamp = minutesAgo(5);
  const lines = Array.from({ length: 20_000 }, (_, at) =>
    at === 19_990 ? 'nonsense' : JSON.stringify({ job_id: 1, event_timestamp }),
  );
  const response = await fetch(`${api.url}/v1/get-historical-features?feature_views=job`, {
    method: 'POST',
    headers: { 'content-type': NDJSON, accept: ARROW },
    body: lines.join('\n'),
  });
  expect(response.status).toBe(200);
  const chunks: Uint8Array[] = [];
  const read = async () => {
    for await (const chunk of response.body!) chunks.push(chunk);
  };
  await expect(read()).rejects.toThrow('terminated');
  const bytes = Buffer.concat(chunks);
  expect(bytes.subarray(-8)).not.toEqual(Buffer.from('ffffffff00000000', 'hex'));
});

test('exports are counted', async () => {
  const api = await startFilled();
  const { bytes } = await ended(api, await submit(api, 'feature_views=job', TEXT));
  const metrics = async () => (await api.send('GET', '/metrics')).bytes.toString();
  // It says that it has ended a little before it has.
  await expect.poll(metrics).toContain('tidemark_exports_running 0\n');
  const text = await metrics();
  expect(text).toContain('tidemark_exports_rows_total 5\n');
  expect(text).toContain(`tidemark_exports_bytes_total ${bytes}\n`);
});
