import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { micros } from '../../src/ground/time.ts';
import { type Frame, readFrames } from '../../src/store/change-frames.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { batchOf, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { type Api, JOB, minutesAgo, NOW, pushTo, startApi, startWithJob } from './harness.ts';

type Line = Record<string, unknown>;
const FRAMES = 'application/vnd.tidemark.changes';

async function changes(api: Api, query = ''): Promise<Line[]> {
  const { status, type, bytes } = await api.send('GET', `/v1/changes${query}`);
  expect([status, type]).toEqual([200, 'application/x-ndjson']);
  const lines = bytes.toString().trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Line);
}

/** Reads a feed that goes on, line by line; it is left when the test is done. */
async function follow(api: Api, query: string): Promise<() => Promise<Line | undefined>> {
  const leave = new AbortController();
  onTestFinished(() => leave.abort());
  const response = await fetch(`${api.url}/v1/changes?follow=true&${query}`, {
    signal: leave.signal,
  });
  expect(response.status).toBe(200);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  return async () => {
    for (;;) {
      const end = rest.indexOf('\n');
      if (end >= 0) {
        const line = JSON.parse(rest.slice(0, end)) as Line;
        rest = rest.slice(end + 1);
        return line;
      }
      const { done, value } = await reader.read();
      if (done) return undefined;
      rest += value;
    }
  };
}

async function push(api: Api, id: string, vector: number[] | null, minutes = 1): Promise<void> {
  await pushTo(api, [{ entity_id: id, event_timestamp: minutesAgo(minutes), vector }]);
}

test('all that changes an answer is a line, in the order of its commit, and a watermark ends them', async () => {
  const api = await startWithJob();
  const { store } = api.deps;
  await push(api, 'a', [1, 2], 3);
  await push(api, 'a', null, 2);
  await api.send('PUT', '/v1/feature-views/job', { ...JOB, max_age: 'PT1H', retention: 'P1D' });
  await store.advanceHorizon('job', api.clock.now - 600e6);
  await store.erase({ entity: 'member' }, ['someone']);
  await store.liftErasure({ entity: 'member' }, ['someone']);
  await store.dropView('job');
  await expect.poll(() => store.snapshot).toBe(9);
  const created_timestamp = NOW;
  const view = {
    type: 'view',
    created_timestamp,
    feature_view: 'job',
    entity: 'job',
    join_key: 'job_id',
    max_age: null,
    retention: null,
    aliases: { current: 'v1' },
    versions: { v1: { dim: 2, dtype: 'float32', model: null } },
  };
  const horizon = { type: 'horizon', created_timestamp, feature_view: 'job' };
  const hashes = [expect.stringMatching(/^[0-9a-f]{32,}$/) as string];
  const member = { created_timestamp, entity: 'member', feature_view: null, hashes };
  // The revisions went with their view; what happened to it is there to be told.
  expect(await changes(api)).toEqual([
    { seq: 1, ...view },
    { seq: 4, ...view, max_age: 'PT1H', retention: 'P1D' },
    { seq: 5, ...horizon, horizon: minutesAgo(24 * 60).replace('.000', '') },
    { seq: 6, ...horizon, horizon: minutesAgo(10).replace('.000', '') },
    { seq: 7, type: 'erased', ...member },
    { seq: 8, type: 'erasure_lifted', ...member },
    { seq: 9, type: 'view_dropped', created_timestamp, feature_view: 'job' },
    { type: 'watermark', snapshot: 9, time: NOW },
  ]);
});

test('a revision says which it is, when it was true, known and stored, and where it was read', async () => {
  const api = await startWithJob();
  await pushTo(api, [
    {
      entity_id: 'a',
      event_timestamp: minutesAgo(3),
      known_timestamp: minutesAgo(2),
      vector: [1, 0.5],
    },
  ]);
  const rows = batchOf([]);
  rows.addRow('b', micros(5), micros(6), -1, 41);
  await api.deps.store.commit('job', 'v1', {
    rows,
    offset: { source: 'jobs', topic: 'changes', partition: 2, expected: undefined, next: 42n },
  });
  const [, first, second] = await changes(api, '?vectors=true');
  expect(first).toEqual({
    seq: 2,
    type: 'revision',
    feature_view: 'job',
    version: 'v1',
    entity_id: 'a',
    event_timestamp: '2026-03-01T11:57:00Z',
    known_timestamp: '2026-03-01T11:58:00Z',
    created_timestamp: NOW,
    deleted: false,
    vector_id: 0,
    source: null,
    vector: [1, 0.5],
  });
  expect(second).toMatchObject({
    seq: 3,
    event_timestamp: '1970-01-01T00:00:00.000005Z',
    known_timestamp: '1970-01-01T00:00:00.000006Z',
    deleted: true,
    vector_id: null,
    source: { source: 'jobs', topic: 'changes', partition: 2, offset: 41 },
    vector: null,
  });
  const [line] = await changes(api, '?after=1&limit=1');
  expect(line).not.toHaveProperty('vector');
});

/** Two views with revisions of both, and what happens to a catalogue, in between. */
async function startBusy(): Promise<Api> {
  const api = await startWithJob();
  await api.send('PUT', '/v1/feature-views/member', { ...JOB, entity: 'member' });
  for (let step = 0; step < 12; step++) {
    const feature_view = step % 3 === 0 ? 'member' : 'job';
    const records = Array.from({ length: 1 + (step % 4) }, (_, at) => ({
      entity_id: `e${at}`,
      event_timestamp: minutesAgo(60 - step),
      vector: at === 2 ? null : [step, at],
    }));
    await pushTo(api, records, { feature_view });
    if (step % 5 === 0) await api.deps.store.erase({ entity: 'job' }, [`secret-${step}`]);
  }
  await expect.poll(() => api.deps.store.snapshot).toBe(35);
  return api;
}

test('whoever goes on after any line gets exactly the rest, and ids of erased entities nowhere', async () => {
  const api = await startBusy();
  const all = await changes(api, '?vectors=true');
  expect(all.slice(0, -1).map(({ seq }) => seq)).toEqual(
    Array.from({ length: 35 }, (_, at) => at + 1),
  );
  for (const [at, { seq = 35 }] of all.entries()) {
    expect(await changes(api, `?vectors=true&after=${String(seq)}`)).toEqual(
      all.slice(Math.min(at + 1, all.length - 1)),
    );
  }
  const pages: Line[] = [];
  for (let after = 0; after < 35;) {
    const page = await changes(api, `?vectors=true&after=${after}&limit=4`);
    pages.push(...page.slice(0, -1));
    after = page.at(-1)!['snapshot'] as number;
    expect(page.length).toBeLessThanOrEqual(5);
  }
  expect(pages).toEqual(all.slice(0, -1));
  expect(JSON.stringify(all)).not.toContain('secret');
});

test('an erased entity’s revisions are told no more, and those of others are (A8)', async () => {
  const api = await startWithJob();
  for (const id of ['private-id', 'kept']) await push(api, id, [1, 2]);
  await api.deps.store.erase({ entity: 'job' }, ['private-id']);
  await expect.poll(() => api.deps.store.snapshot).toBe(4);
  const lines = await changes(api);
  expect(lines.map(({ seq, entity_id }) => [seq, entity_id])).toEqual([
    [1, undefined],
    [3, 'kept'],
    [4, undefined],
    [undefined, undefined],
  ]);
  expect(JSON.stringify(lines)).not.toContain('private-id');
});

test('one view’s changes can be followed alone; a view that there is not is a problem', async () => {
  const api = await startBusy();
  const all = await changes(api);
  const member = await changes(api, '?feature_view=member');
  expect(member).toEqual(
    all.filter(({ type, feature_view }) => feature_view === 'member' || type === 'watermark'),
  );
  const unknown = await api.send('GET', '/v1/changes?feature_view=nobody');
  expect([unknown.status, unknown.body['code']]).toEqual([404, 'VIEW_NOT_FOUND']);
});

test('a seq that is still to come cannot be gone on after (A9)', async () => {
  const api = await startWithJob();
  await push(api, 'a', [1, 2]);
  expect(await changes(api, '?after=2')).toEqual([{ type: 'watermark', snapshot: 2, time: NOW }]);
  const { status, body } = await api.send('GET', '/v1/changes?after=3');
  expect([status, body['code']]).toEqual([409, 'SNAPSHOT_UNAVAILABLE']);
  expect(body['detail']).toContain('the newest snapshot here is 2');
});

test.each([
  ['?after=-1', 'query/after'],
  ['?after=1.5', 'query/after'],
  ['?limit=0', 'query/limit'],
  ['?follow=yes', 'query/follow'],
  ['?since=1', 'query'],
])('the query %s is refused with its place', async (query, path) => {
  const api = await startApi();
  const { status, body } = await api.send('GET', `/v1/changes${query}`);
  expect([status, body['code']]).toEqual([422, 'BAD_REQUEST']);
  expect(body['errors']).toMatchObject([{ path }]);
});

test('a feed that is followed tells what comes, then its watermark, and when nothing comes that it lives', async () => {
  const api = await startWithJob();
  const next = await follow(api, 'after=1');
  expect(await next()).toEqual({ type: 'watermark', snapshot: 1, time: NOW });
  await push(api, 'a', [1, 2]);
  expect(await next()).toMatchObject({ seq: 2, type: 'revision', entity_id: 'a' });
  expect(await next()).toMatchObject({ type: 'watermark', snapshot: 2 });
  // Nothing happens for a second.
  expect(await next()).toMatchObject({ type: 'watermark', snapshot: 2 });
  api.deps.store.changeView('job', { max_age: 7 });
  expect(await next()).toMatchObject({ seq: 3, type: 'view' });
});

test('a server that stops ends the feeds that are followed', async () => {
  const api = await startWithJob();
  const next = await follow(api, 'after=0');
  expect(await next()).toMatchObject({ type: 'view' });
  expect(await next()).toMatchObject({ type: 'watermark' });
  await api.server.close();
  expect(await next()).toBeUndefined();
});

/** A store with so many revisions of a kilobyte each. */
async function bigStore(revisions: number): Promise<{ store: Store; directory: string }> {
  const directory = tempDirectory();
  const store = openStore(directory, new TestClock().read);
  onTestFinished(async () => store.close());
  store.createView(viewOf('job', 256));
  for (let from = 0; from < revisions; from += 1_000) {
    const rows = Array.from({ length: 1_000 }, (_, at) => {
      const vector = Array.from({ length: 256 }).fill(0.5) as number[];
      vector[at % 256] = from + at;
      return { id: `e${at}`, event: from, vector };
    });
    await store.commit('job', 'v1', { rows: batchOf(rows, 256) });
  }
  return { store, directory };
}

/** Asks for all changes and reads nothing of the answer. */
async function askAndWait({ url }: Api, accept: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET /v1/changes?follow=true HTTP/1.1\r\nhost: x\r\naccept: ${accept}\r\n\r\n`);
  return socket;
}

test.each([FRAMES, 'application/x-ndjson'])(
  'a reader of %s that takes nothing is sent no more than the connection holds, and keeps no server from stopping',
  async (accept) => {
    const { store } = await bigStore(30_000);
    let readUpTo = 0;
    const counting = Object.create(store, {
      changes: {
        value: (...[range]: Parameters<Store['changes']>) => {
          const page = store.changes(range);
          readUpTo = page.upTo;
          return page;
        },
      },
    }) as Store;
    const api = await startApi({ store: counting });
    await askAndWait(api, accept);
    await expect.poll(() => readUpTo).toBeGreaterThan(0);
    // It has come to a stand when a second brings nothing more.
    let before = -1;
    await expect
      .poll(() => [before, (before = readUpTo)], { interval: 1_000, timeout: 20_000 })
      .toSatisfy(([one, other]: number[]) => one === other);
    expect(readUpTo).toBeLessThan(29_000);
    const asked = performance.now();
    await api.server.close();
    expect(performance.now() - asked).toBeLessThan(10_000);
  },
);

test('a flipped byte in a vector ends the feed with an error, and cuts it', async () => {
  const { store, directory } = await bigStore(2_000);
  const vector = new Uint8Array(1_024);
  store.version('job', 'v1').vectors.copyInto(1_500, vector, 0);
  await store.close();
  const file = join(directory, 'views/job/v1/data.mdb');
  const bytes = readFileSync(file);
  bytes[bytes.indexOf(vector) + 9]! ^= 1;
  writeFileSync(file, bytes);
  const damaged = openStore(directory, new TestClock().read);
  onTestFinished(async () => damaged.close());
  const api = await startApi({ store: damaged });
  const { text, isCut } = await readCut(api, '?vectors=true', 'application/x-ndjson');
  const lines = text
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  expect(isCut).toBe(true);
  expect(lines[0]).toMatchObject({ type: 'view' });
  expect(lines.at(-1)).toMatchObject({
    __error: { code: 'STORE_CORRUPT', detail: expect.stringContaining('vector 1500') as string },
  });
  expect(lines.some(({ type }) => type === 'watermark')).toBe(false);
  // Without the vectors nothing of it is damaged.
  const whole = await changes(api);
  expect(whole.at(-1)).toMatchObject({ type: 'watermark' });

  const frames = await readCut(api, '', FRAMES);
  const opened = await openFrames(frames.text);
  expect(frames.isCut).toBe(true);
  expect(opened.at(-1)).toMatchObject({ type: 'error', code: 'STORE_CORRUPT' });
  expect(opened.some((frame) => frame.type === 'watermark' && frame.up_to >= 1_500)).toBe(false);
});

async function readCut(
  api: Api,
  query: string,
  accept: string,
): Promise<{ text: Buffer; isCut: boolean }> {
  const response = await fetch(`${api.url}/v1/changes${query}`, { headers: { accept } });
  const parts: Uint8Array[] = [];
  try {
    for await (const part of response.body!) parts.push(part);
    return { text: Buffer.concat(parts), isCut: false };
  } catch {
    return { text: Buffer.concat(parts), isCut: true };
  }
}

async function openFrames(bytes: Uint8Array): Promise<Frame[]> {
  const frames: Frame[] = [];
  for await (const { frame } of readFrames(
    (async function* () {
      yield bytes;
    })(),
  ))
    frames.push(frame);
  return frames;
}

test('replicas get frames: who the leader is, its events first, then revisions with their vectors', async () => {
  const api = await startWithJob();
  await push(api, 'a', [1, 2]);
  await push(api, 'b', [1, 2]);
  await api.deps.store.erase({ entity: 'member' }, ['m']);
  await expect.poll(() => api.deps.store.snapshot).toBe(4);
  const { type, bytes } = await api.send('GET', '/v1/changes?after=0', undefined, {
    accept: FRAMES,
  });
  expect(type).toBe(FRAMES);
  const frames = await openFrames(bytes);
  expect(frames.map((frame) => frame.type)).toEqual([
    'hello',
    'event',
    'event',
    'changes',
    'watermark',
  ]);
  const { catalogue } = api.deps.store;
  expect(frames[0]).toMatchObject({
    format: 1,
    lineage: catalogue.lineage(),
    snapshot: 4,
    erasure_key: Buffer.from(catalogue.erasureKey()),
  });
  expect(frames[3]).toMatchObject({
    view: 'job',
    version: 'v1',
    changes: [
      { entityId: 'a', seq: 2 },
      { entityId: 'b', seq: 3 },
    ],
  });
  expect(frames[4]).toMatchObject({ up_to: 4, snapshot: 4, seq_reserved: catalogue.seqReserved() });
});

test('replicas that know no int8 are told by the format, and those that follow come again for it', async () => {
  const api = await startWithJob();
  const accept = { headers: { accept: FRAMES } };
  const following = await fetch(`${api.url}/v1/changes?after=0&follow=true`, accept);
  const told: Frame[] = [];
  for await (const { frame } of readFrames(following.body!)) {
    told.push(frame);
    if (frame.type !== 'watermark') continue;
    await api.send('PUT', '/v1/feature-views/small', { ...JOB, dtype: 'int8' });
  }
  expect(told[0]).toMatchObject({ type: 'hello', format: 1 });
  const events = told.filter((frame) => frame.type === 'event');
  expect(events).toMatchObject([{ event: { view: { name: 'job' } } }]);
  const again = await api.send('GET', '/v1/changes?after=0', undefined, accept.headers);
  expect((await openFrames(again.bytes))[0]).toMatchObject({ type: 'hello', format: 2 });
});

test('replicas are told which snapshots cut no commit in two', async () => {
  const api = await startWithJob();
  const { store } = api.deps;
  const ends: number[] = [];
  for (const count of [1, 2_500, 10]) {
    api.clock.now++;
    const rows = Array.from({ length: count }, (_, at) => ({
      id: `e${at}`,
      event: 1,
      vector: [at, count],
    }));
    ends.push((await store.commit('job', 'v1', { rows: batchOf(rows) })).snapshot);
  }
  const marks = async (after: number): Promise<[number, number | undefined][]> => {
    const { bytes } = await api.send('GET', `/v1/changes?after=${after}`, undefined, {
      accept: FRAMES,
    });
    const frames = await openFrames(bytes);
    return frames.flatMap((frame) =>
      frame.type === 'watermark' ? [[frame.up_to, frame.whole]] : [],
    );
  };
  const [first, second, third] = ends as [number, number, number];
  expect(second - first).toBe(2_500);
  // Whoever begins within the second commit was told before where it begins.
  for (const [after, known] of [
    [0, first],
    [1_500, 0],
  ] as const) {
    const told = await marks(after);
    const within = told.filter(([upTo]) => upTo < second);
    expect(within.length).toBeGreaterThan(1);
    expect(within.every(([, whole]) => whole === known)).toBe(true);
    expect(told.at(-1)).toEqual([third, third]);
  }
});

test('the key of the erased set is told to replicas, and to nobody else (A8)', async () => {
  const api = await startWithJob();
  await api.deps.store.erase({ entity: 'job' }, ['a']);
  const key = Buffer.from(api.deps.store.catalogue.erasureKey());
  const lines = await api.send('GET', '/v1/changes');
  for (const form of ['hex', 'base64', 'latin1'] as const) {
    expect(lines.bytes.toString('latin1')).not.toContain(key.toString(form));
  }
  const frames = await api.send('GET', '/v1/changes', undefined, { accept: FRAMES });
  expect(frames.bytes.includes(key)).toBe(true);
});

test.each(['limit=5', 'vectors=true'])(
  'frames are whole and with vectors: %s is refused',
  async (query) => {
    const api = await startWithJob();
    const answer = await api.send('GET', `/v1/changes?${query}`, undefined, { accept: FRAMES });
    expect([answer.status, answer.body['code']]).toEqual([422, 'BAD_REQUEST']);
  },
);
