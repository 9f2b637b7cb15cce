import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { tempDirectory } from '../support/temp.ts';
import { run } from './run.ts';
import { line, startServer } from './server.ts';

const MOMENT = '2026-01-02T00:00:00Z';

/** A server with two jobs, and a spine of five rows that asks for them. */
async function world(): Promise<{ url: string; spine: string; data: string }> {
  const { url, data } = await startServer({ exports: { part_rows: 2, threads: 1 } });
  const records = ['a', 'b'].map((id, at) => line(id, '2026-01-01T00:00:00Z', [at, at]));
  await run(['push', 'job', '--known', 'event', '--url', url], { stdin: records });
  const spine = join(tempDirectory(), 'rows.csv');
  const rows = ['a', 'b', 'c', 'a', 'b'].map((id, label) => `${id},${MOMENT},${label}\n`);
  writeFileSync(spine, ['job_id,event_timestamp,label\n', ...rows].join(''));
  return { url, spine, data };
}

function filesIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).toSorted();
}

/** Asks for an export that waits on the server; its id. */
async function detached(url: string, spine: string, ...more: string[]): Promise<string> {
  const args = ['export', spine, '--views', 'job', '--detach', '--url', url, ...more];
  const { code, out } = await run(args);
  expect(code).toBe(0);
  return out.trim();
}

test('an export is fetched whole, and leaves nothing on the server', async () => {
  const { url, spine, data } = await world();
  const out = join(tempDirectory(), 'joined');
  const args = ['export', spine, '--views', 'job', '--format', 'ndjson', '--out', out];
  const done = await run([...args, '--url', url]);
  expect([done.code, done.out]).toEqual([
    0,
    expect.stringMatching(/joined: 5 rows in 3 files, \d+\.?\d* k?B, snapshot \d+; verified\.\n$/),
  ]);
  expect(filesIn(out)).toEqual([
    'manifest.json',
    'parts',
    'parts/part-00000.ndjson',
    'parts/part-00001.ndjson',
    'parts/part-00002.ndjson',
  ]);
  const [first] = readFileSync(join(out, 'parts/part-00000.ndjson'), 'utf8').split('\n');
  expect(JSON.parse(first!)).toMatchObject({ job_id: 'a', label: 0, job__vector: [0, 0] });
  expect(readdirSync(join(data, 'exports'))).toEqual([]);
  const again = await run([...args, '--url', url]);
  expect(again).toMatchObject({
    code: 2,
    err: expect.stringContaining('holds an export') as string,
  });
});

test('a spine from a pipe is NDJSON, and the files may stay', async () => {
  const { url, data } = await world();
  const row = JSON.stringify({ job_id: 'b', event_timestamp: MOMENT });
  const out = tempDirectory();
  const args = ['export', '-', '--views', 'then=job@v1', '--vectors', 'ref', '--keep-on-server'];
  const done = await run([...args, '--out', out, '--json', '--url', url], { stdin: [row] });
  expect(done.code, done.err).toBe(0);
  expect(JSON.parse(done.out)).toMatchObject({ state: 'done', vectors: 'ref', rows: 1 });
  expect(filesIn(out)).toContain('vectors/then-00000.safetensors');
  expect(readdirSync(join(data, 'exports'))).toHaveLength(1);
});

test('each row may have the version that was current at its moment, and then says which', async () => {
  const { url, spine } = await world();
  const out = tempDirectory();
  const args = ['export', spine, '--views', 'job', '--alias-as-of', '--format', 'ndjson'];
  const done = await run([...args, '--out', out, '--json', '--url', url]);
  expect(done.code, done.err).toBe(0);
  expect(JSON.parse(done.out)).toMatchObject({
    feature_views: { job: { version: null, versions: { v1: 5 } } },
  });
  const [first] = readFileSync(join(out, 'parts/part-00000.ndjson'), 'utf8').split('\n');
  expect(JSON.parse(first!)).toMatchObject({ job_id: 'a', job__version: 'v1' });
});

test('revisions are exported without a spine', async () => {
  const { url, spine } = await world();
  const out = tempDirectory();
  const args = ['export', '--revisions', 'job@v1', '--to', MOMENT, '--format', 'ndjson'];
  const done = await run([...args, '--out', out, '--url', url]);
  expect([done.code, done.out]).toEqual([0, expect.stringContaining('2 rows in 1 files')]);
  for (const wrong of [
    ['export', '--url', url, '--out', tempDirectory()],
    ['export', spine, '--revisions', 'job', '--url', url, '--out', tempDirectory()],
    ['export', '--revisions', 'job', '--alias-as-of', '--url', url, '--out', tempDirectory()],
    ['export', '--revisions', 'job', '--strict', '--url', url, '--out', tempDirectory()],
    ['export', '--revisions', 'job', '--vector-format', 'arrow', '--url', url, '--detach'],
    ['export', spine, '--views', 'job', '--to', MOMENT, '--url', url, '--out', tempDirectory()],
  ]) {
    expect(await run(wrong)).toMatchObject({ code: 2 });
  }
  const mixed = ['export', '--revisions', 'job', '--order', 'entity', '--knowledge', 'served'];
  expect(await run([...mixed, '--detach', '--url', url])).toMatchObject({
    code: 2,
    err: expect.stringContaining('--order, --knowledge: of a join') as string,
  });
  const twice = await run(['export', '--revisions', 'job@v1@v2', '--detach', '--url', url]);
  expect(twice).toMatchObject({ code: 1, err: expect.stringContaining('"v1@v2"') as string });
});

test('one that runs is cancelled, one that ended is removed, and which of them is said', async () => {
  const { url } = await world();
  const rows = Array.from({ length: 20_000 }, () => `{"job_id":"a","event_timestamp":"${MOMENT}"}`);
  const long = join(tempDirectory(), 'rows.ndjson');
  writeFileSync(long, rows.join('\n'));
  const id = await detached(url, long);
  const said = async () => (await run(['exports', 'cancel', id, '--url', url])).out;
  expect(await said()).toMatch(new RegExp(`^${id}: cancelled at \\d+ rows; its files are gone\\.`));
  expect(await said()).toBe(`${id}: removed; it was cancelled.\n`);
});

test('one that was left to the server is listed, fetched and removed', async () => {
  const { url, spine } = await world();
  const id = await detached(url, spine);
  const out = tempDirectory();
  expect((await run(['exports', 'get', id, '--out', out, '--url', url])).code).toBe(0);
  const listed = await run(['exports', '--url', url]);
  expect(listed.out).toMatch(new RegExp(`^${id} +done +5 +5 .* parquet +job`, 'm'));
  const removed = await run(['exports', 'cancel', id, '--url', url]);
  expect(removed.out).toBe(`${id}: removed, with its files; it was done.\n`);
  expect(await run(['exports', 'cancel', id, '--url', url])).toMatchObject({
    code: 1,
    err: expect.stringContaining(`there is no export ${id}; it may have expired`) as string,
  });
  expect((await run(['exports', '--json', '--url', url])).out).toBe('{"exports":[],"next":null}\n');
});

test('a download that broke off goes on where it was, and one with other bytes is refused', async () => {
  const { url, spine } = await world();
  const id = await detached(url, spine);
  const whole = tempDirectory();
  await run(['exports', 'get', id, '--out', whole, '--url', url]);
  const out = tempDirectory();
  await run(['exports', 'get', id, '--out', out, '--url', url]);
  const path = join(out, 'parts/part-00000.parquet');
  const bytes = readFileSync(path);
  // As a process that was killed leaves it.
  const half = `${path}.download`;
  writeFileSync(half, bytes);
  truncateSync(half, 100);
  for (const name of [path, join(out, 'manifest.json')]) truncateSync(name, 0);
  const spoilt = await run(['exports', 'get', id, '--out', out, '--url', url]);
  expect(spoilt).toMatchObject({ code: 2, err: expect.stringContaining('another file') as string });
  rmSync(path);
  const { url: counting, sent } = await countingProxy(url);
  expect((await run(['exports', 'get', id, '--out', out, '--url', counting])).code).toBe(0);
  expect(readFileSync(path)).toEqual(bytes);
  expect(sent).toEqual([bytes.byteLength - 100]);
  rmSync(path);
  writeFileSync(half, Buffer.alloc(100));
  const other = await run(['exports', 'get', id, '--out', out, '--url', url]);
  expect(other).toMatchObject({ code: 3, err: expect.stringContaining('other bytes') as string });
  expect(existsSync(half)).toBe(false);
});

/** Passes requests on, and notes how many bytes of files came back. */
async function countingProxy(url: string): Promise<{ url: string; sent: number[] }> {
  const sent: number[] = [];
  const pass = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { range, 'if-range': ifRange } = request.headers;
    const headers = range === undefined ? {} : { range, 'if-range': String(ifRange) };
    const answer = await fetch(`${url}${request.url}`, { headers });
    const bytes = Buffer.from(await answer.arrayBuffer());
    if (request.url!.includes('/files/')) sent.push(bytes.byteLength);
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type')! });
    response.end(bytes);
  };
  const proxy = createServer((request, response) => void pass(request, response));
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void proxy.close());
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, sent };
}

test('one that fails ends with the server’s reason, and wrong words with 2', async () => {
  const { url, spine } = await world();
  const out = tempDirectory();
  const args = ['--views', 'job', '--out', out, '--url', url];
  const failed = await run(['export', spine, ...args, '--timestamp-column', 'label']);
  expect(failed).toMatchObject({ code: 3, err: expect.stringContaining('failed: ') as string });
  expect(await run(['export', '/no/such.csv', ...args])).toMatchObject({ code: 2 });
  expect(await run(['export', spine, '--views', 'job', '--detach', '--out', out])).toMatchObject({
    code: 2,
    err: expect.stringContaining('--detach fetches nothing') as string,
  });
  expect(await run(['export', spine, '--views', 'job'])).toMatchObject({
    code: 2,
    err: expect.stringContaining('--out') as string,
  });
  const unknown = join(tempDirectory(), 'rows.txt');
  writeFileSync(unknown, '');
  expect(await run(['export', unknown, ...args])).toMatchObject({
    code: 2,
    err: expect.stringContaining('--spine-format') as string,
  });
  const nobody = await run(['export', spine, '--views', 'nobody', '--out', out, '--url', url]);
  expect(nobody).toMatchObject({
    code: 1,
    err: expect.stringContaining('VIEW_NOT_FOUND') as string,
  });
});

test('rows that are INVALID are told of, with the first of each view', async () => {
  const { url } = await world();
  const row = JSON.stringify({ job_id: 'a', event_timestamp: '2026-01-02T00:00:00' });
  const args = ['export', '-', '--views', 'job', '--out', tempDirectory(), '--url', url];
  expect(await run(args, { stdin: [row] })).toMatchObject({
    code: 0,
    err: expect.stringContaining(
      '1 of 1 rows are INVALID for job, such as line 1: BAD_TIMESTAMP\n',
    ) as string,
  });
});

test('a spine or an end that is no place for it is found before anything is sent', async () => {
  const { url, spine } = await world();
  const folder = join(tempDirectory(), 'rows.csv');
  mkdirSync(folder);
  const args = ['--views', 'job', '--url', url];
  expect(await run(['export', folder, ...args, '--out', tempDirectory()])).toMatchObject({
    code: 2,
    err: expect.stringContaining(`${folder} is a directory`) as string,
  });
  expect(await run(['export', spine, ...args, '--out', join(spine, 'deep')])).toMatchObject({
    code: 2,
    err: expect.stringContaining(`${spine} is no directory`) as string,
  });
  expect((await run(['exports', '--json', '--url', url])).out).toBe('{"exports":[],"next":null}\n');
});
