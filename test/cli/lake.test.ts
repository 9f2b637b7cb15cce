import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { Client } from '../../src/cli/client.ts';
import { CHANGES_FORMAT_MAX, encodeFrame, type Hello } from '../../src/store/change-frames.ts';
import { bucketOf } from '../../src/timetravel/lake/layout.ts';
import { type Api, JOB, minutesAgo, pushTo, startApi, startWithJob } from '../api/harness.ts';
import { exportLake, pushHistory, seeded, startForLake } from '../support/lake-history.ts';
import { type LakeRow, readLake, tableOf } from '../support/lake-table.ts';
import { tempDirectory } from '../support/temp.ts';
import { run } from './run.ts';

function record(entity_id: string, minutes: number, vector: number[] | null): object {
  const event_timestamp = minutesAgo(minutes);
  return { entity_id, event_timestamp, ...(vector === null ? { deleted: true } : { vector }) };
}

function stateOf(table: string): Record<string, unknown> {
  const text = readFileSync(join(table, '_tidemark/state.json'), 'utf8');
  return JSON.parse(text) as Record<string, unknown>;
}

function micros(text: unknown): number {
  return Date.parse(text as string) * 1_000;
}

/** What the changes say that a lake should hold. */
async function told(api: Api): Promise<LakeRow[]> {
  const { bytes } = await api.send('GET', '/v1/changes?vectors=true&feature_view=job');
  const lines = bytes.toString().trimEnd().split('\n');
  return lines.flatMap((text) => {
    const line = JSON.parse(text) as Record<string, unknown>;
    if (line['type'] !== 'revision') return [];
    return {
      entity_id: line['entity_id'] as string,
      event: micros(line['event_timestamp']),
      known: micros(line['known_timestamp']),
      created: micros(line['created_timestamp']),
      seq: line['seq'] as number,
      deleted: line['deleted'] as boolean,
      vector: line['vector'] as number[] | null,
    };
  });
}

test('an export writes each revision in the folder of its day and bucket, and each vector once', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  await pushTo(api, [
    record('a', 10, [1, 0]),
    record('a', 5, [1, 0]),
    record('b', 60 * 24, [0.5, 1]),
    record('b', 1, null),
  ]);
  const table = tableOf(out);
  expect(await exportLake(api, out, ['--buckets', '16'])).toEqual({
    feature_view: 'job',
    version: 'v1',
    directory: table,
    after: 0,
    snapshot: api.deps.store.snapshot,
    revisions: 4,
    vectors: 2,
    files: 4,
    erased: 0,
  });
  const { rows, vectors, files } = await readLake(table);
  expect(rows).toEqual(await told(api));
  // The second of a's revisions confirms the first.
  expect([...vectors.values()]).toEqual([
    [1, 0],
    [0.5, 1],
  ]);
  const to = String(api.deps.store.snapshot).padStart(16, '0');
  const [a, b] = ['a', 'b'].map((id) => bucketOf(id, 16));
  expect(files).toEqual(
    [
      `revisions/event_day=2026-02-28/bucket=${b}/seq-${'0'.repeat(16)}-${to}.parquet`,
      `revisions/event_day=2026-03-01/bucket=${a}/seq-${'0'.repeat(16)}-${to}.parquet`,
      `revisions/event_day=2026-03-01/bucket=${b}/seq-${'0'.repeat(16)}-${to}.parquet`,
      `vectors/seq-${'0'.repeat(16)}-${to}.parquet`,
    ].toSorted(),
  );
  expect(stateOf(table)).toMatchObject({
    format: 1,
    feature_view: 'job',
    version: 'v1',
    buckets: 16,
    dim: 2,
    dtype: 'float32',
    snapshot: api.deps.store.snapshot,
    horizon: null,
  });
});

test('the next export adds what came since, and refers to vectors that are there', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  await pushTo(api, [record('a', 10, [1, 0]), record('b', 10, [0, 1])]);
  const { snapshot } = await exportLake(api, out);
  const before = (await readLake(tableOf(out))).files;
  expect(await exportLake(api, out)).toMatchObject({ after: snapshot, revisions: 0, files: 0 });
  expect((await readLake(tableOf(out))).files).toEqual(before);
  await pushTo(api, [record('a', 5, [1, 0])]);
  expect(await exportLake(api, out)).toMatchObject({
    after: snapshot,
    revisions: 1,
    vectors: 0,
    files: 1,
  });
  const { rows, files } = await readLake(tableOf(out));
  expect(rows).toEqual(await told(api));
  expect(files).toEqual(expect.arrayContaining(before));
});

test('a history that is exported piece by piece is the one that the changes tell', async () => {
  const api = await startForLake();
  const out = tempDirectory();
  const random = seeded(5);
  for (const to of [24, 48, 240]) {
    await pushHistory(api, random, to / 2, to);
    await exportLake(api, out);
  }
  expect((await readLake(tableOf(out))).rows).toEqual(await told(api));
});

test('numbers of float16 are the same numbers in the lake', async () => {
  const api = await startApi();
  await api.send('PUT', '/v1/feature-views/job', { ...JOB, dim: 3, dtype: 'float16' });
  const out = tempDirectory();
  await pushTo(api, [record('a', 10, [1 / 3, -65_504, 6e-8]), record('b', 10, [0.1, 2, 3])]);
  await exportLake(api, out);
  const { rows } = await readLake(tableOf(out));
  expect(rows.map(({ vector }) => vector)).toEqual([
    [Math.f16round(1 / 3), -65_504, Math.f16round(6e-8)],
    [Math.f16round(0.1), 2, 3],
  ]);
});

test('numbers of int8 times their scale are float32 in the lake, each rounded once', async () => {
  const api = await startApi();
  await api.send('PUT', '/v1/feature-views/job', { ...JOB, dim: 3, dtype: 'int8' });
  const out = tempDirectory();
  await pushTo(api, [{ ...record('a', 10, [1, -128, 127]), scale: 0.1 }]);
  await exportLake(api, out);
  const { rows } = await readLake(tableOf(out));
  const scale = Math.fround(0.1);
  expect(rows.map(({ vector }) => vector)).toEqual([
    [scale, Math.fround(-128 * scale), Math.fround(127 * scale)],
  ]);
});

test('what an export began and did not finish is removed by the next one', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  await pushTo(api, [record('a', 10, [1, 0])]);
  await exportLake(api, out);
  const table = tableOf(out);
  const { files } = await readLake(table);
  const [revisions, vectors] = files as [string, string];
  for (const path of [revisions, vectors]) {
    copyFileSync(
      join(table, path),
      join(table, path.replace(/-\d+\.parquet/, `-${'9'.repeat(16)}.parquet`)),
    );
  }
  writeFileSync(join(table, '_tidemark/writing/7'), 'half a file');
  await expect(readLake(table)).rejects.toThrow(/out of order/);
  await exportLake(api, out);
  expect((await readLake(table)).files).toEqual(files);
  expect(readdirSync(join(table, '_tidemark/writing'))).toEqual([]);
});

test('an entity that was erased leaves the lake, and the vectors that were its alone (A8)', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  await pushTo(api, [
    record('a', 60 * 24, [1, 0]),
    record('a', 10, [7, 7]),
    record('b', 9, [1, 0]),
    record('c', 8, [0, 1]),
  ]);
  await exportLake(api, out);
  const table = tableOf(out);
  await api.send('POST', '/v1/erase', { entity: 'job', entity_ids: ['a'] });
  await pushTo(api, [record('d', 1, [2, 2])]);
  expect(await exportLake(api, out)).toMatchObject({ revisions: 1, vectors: 1, erased: 2 });
  const { rows, vectors } = await readLake(table);
  expect(rows).toEqual(await told(api));
  expect(rows.map(({ entity_id }) => entity_id)).toEqual(['b', 'c', 'd']);
  expect([...vectors.values()]).toEqual(
    expect.arrayContaining([
      [0, 1],
      [2, 2],
    ]),
  );
  expect([...vectors.values()]).not.toContainEqual([7, 7]);
});

test('an entity that comes again after its erasure was lifted has what came since alone (A8)', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  await pushTo(api, [record('a', 10, [1, 0]), record('b', 10, [0, 1])]);
  await exportLake(api, out);
  const scope = { entity: 'job', feature_view: 'job', entity_ids: ['a'] };
  await api.send('POST', '/v1/erase', scope);
  await api.send('POST', '/v1/erase/lift', scope);
  await pushTo(api, [record('a', 5, [3, 3])]);
  expect(await exportLake(api, out)).toMatchObject({ erased: 1 });
  const { rows } = await readLake(tableOf(out));
  expect(rows).toEqual(await told(api));
  expect(rows.map(({ entity_id, vector }) => [entity_id, vector])).toEqual([
    ['b', [0, 1]],
    ['a', [3, 3]],
  ]);
});

test('an erasure that was not written down as done is done again (A8)', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  await pushTo(api, [record('a', 10, [1, 0]), record('b', 10, [0, 1])]);
  await exportLake(api, out);
  const table = tableOf(out);
  const state = join(table, '_tidemark/state.json');
  const before = readFileSync(state);
  await api.send('POST', '/v1/erase', { entity: 'job', entity_ids: ['a'] });
  await exportLake(api, out);
  const swept = await readLake(table);
  writeFileSync(state, before);
  expect(await exportLake(api, out)).toMatchObject({ erased: 0 });
  expect(await readLake(table)).toEqual(swept);
  expect(swept.rows).toEqual(await told(api));
});

test('an erasure of another view’s entities changes nothing', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  await api.send('PUT', '/v1/feature-views/member', { ...JOB, entity: 'member' });
  await pushTo(api, [record('a', 10, [1, 0])]);
  await pushTo(api, [record('a', 10, [4, 4])], { feature_view: 'member' });
  await exportLake(api, out);
  await api.send('POST', '/v1/erase', { entity: 'member', entity_ids: ['a'] });
  expect(await exportLake(api, out)).toMatchObject({ erased: 0 });
  expect((await readLake(tableOf(out))).rows).toEqual(await told(api));
});

test('the state tells how far back a view with a retention can be asked (A10)', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  await pushTo(api, [record('a', 10, [1, 0])]);
  await exportLake(api, out);
  await api.send('PUT', '/v1/feature-views/job', { ...JOB, retention: 'P1D' });
  await exportLake(api, out);
  expect(stateOf(tableOf(out))).toMatchObject({ horizon: '2026-02-28T12:00:00Z' });
});

async function refusal(
  url: string,
  out: string,
  more: readonly string[] = [],
): Promise<[number, string]> {
  const asked = ['lake', 'export', 'job', '--out', join(out, 'lake'), '--url', url, ...more];
  const { code, err } = await run(asked);
  return [code, err];
}

test('a table is of one view, one store and one number of buckets', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  await pushTo(api, [record('a', 10, [1, 0])]);
  await exportLake(api, out, ['--buckets', '4']);
  expect(await refusal(api.url, out, ['--buckets', '5'])).toEqual([
    2,
    expect.stringMatching(/VIEW_CONFLICT: the lake table .* has 4 buckets, got 5/),
  ]);
  const other = await startWithJob();
  await pushTo(other, [record('a', 10, [1, 0]), record('b', 10, [1, 0])]);
  expect(await refusal(other.url, out)).toEqual([
    2,
    expect.stringMatching(/SNAPSHOT_UNAVAILABLE: .* is of another store, or of another past/),
  ]);
  const young = await startWithJob();
  expect(await refusal(young.url, out)).toEqual([
    2,
    expect.stringMatching(
      /the server has not come as far as the lake table .*: wait for a replica/,
    ),
  ]);
  await api.send('DELETE', '/v1/feature-views/job?confirm=job');
  expect((await refusal(api.url, out))[0]).toBe(1);
  await api.send('PUT', '/v1/feature-views/job', JOB);
  expect(await refusal(api.url, out)).toEqual([
    2,
    expect.stringMatching(/VIEW_CONFLICT: the feature view job was dropped at seq \d+/),
  ]);
});

test('a model version that was retired, and made anew, is not added to the table of the one that was', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  await pushTo(api, [record('a', 10, [1, 0])]);
  const v1 = ['lake', 'export', 'job@v1', '--out', join(out, 'lake'), '--url', api.url];
  expect((await run(v1)).code).toBe(0);
  const { store } = api.deps;
  const { v1: first } = store.catalogue.mustGetView('job').versions;
  store.addVersion('job', { ...first!, version: 'v2' });
  await store.promote('job', 'v2', { kept_until: undefined });
  expect((await run(v1)).code).toBe(0);
  await store.retire('job', 'v1', {});
  store.addVersion('job', first!);
  await store.retire('job', 'v1', {});
  store.addVersion('job', first!);
  const { code, err } = await run(v1);
  expect([code, err]).toEqual([
    2,
    expect.stringMatching(/VIEW_CONFLICT: the model version job@v1 was retired at seq \d+/),
  ]);
  expect((await run(v1.with(4, join(out, 'other')))).code).toBe(0);
});

/** A server that has the view, and tells these frames of it before it ends the answer, or cuts it. */
async function serverOf(frames: readonly Buffer[], isCut: boolean): Promise<string> {
  const view = {
    feature_view: 'job',
    aliases: { current: 'v1' },
    versions: { v1: { dim: 2, dtype: 'float32', revisions: 1 } },
    entity: 'job',
    join_key: 'job_id',
  };
  const server = createServer((request, response) => {
    if (request.url === '/v1/feature-views/job') {
      response.end(JSON.stringify(view));
      return;
    }
    response.write(Buffer.concat(frames));
    if (isCut) setImmediate(() => response.destroy());
    else response.end();
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const HELLO: Hello = {
  type: 'hello',
  format: 1,
  lineage: { id: 'one', parents: [] },
  erasure_key: new Uint8Array(16),
  snapshot: 10,
};
const HALF = encodeFrame({
  type: 'watermark',
  up_to: 5,
  whole: 5,
  snapshot: 10,
  seq_reserved: 20,
  time: 0,
});

test.each([
  ['ends', false, /the server ended at the change 5 of 10: export again/],
  ['breaks off', true, /broke off .*run it again, and it goes on where it was/],
] as const)(
  'a server that %s before its changes are told is one to ask again',
  async (_how, isCut, message) => {
    const out = tempDirectory();
    const url = await serverOf([encodeFrame(HELLO), HALF], isCut);
    const [code, err] = await refusal(url, out);
    expect(err).toMatch(message);
    expect(code).toBe(3);
    expect(stateOf(tableOf(out))).toMatchObject({ snapshot: 0 });
  },
);

test('changes in a format of another time are not read', async () => {
  const hello = encodeFrame({ ...HELLO, format: CHANGES_FORMAT_MAX + 1 });
  const url = await serverOf([hello], false);
  const [code, err] = await refusal(url, tempDirectory());
  expect(err).toMatch(
    /STORE_FORMAT: .* in the format 4, expected up to 3: use the tidemark of the server/,
  );
  expect(code).toBe(2);
});

test('what a server says of its own failure is told', async () => {
  const detail = 'a checksum';
  const error = encodeFrame({ type: 'error', code: 'STORE_CORRUPT', detail });
  const url = await serverOf([encodeFrame(HELLO), error], true);
  const [code, err] = await refusal(url, tempDirectory());
  expect([code, err]).toEqual([1, 'tidemark: STORE_CORRUPT: a checksum\n']);
});

test('files that no state tells of are not taken for a table', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  const folder = join(tableOf(out), 'vectors');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `seq-${'0'.repeat(16)}-${'1'.repeat(16)}.parquet`), '');
  expect(await refusal(api.url, out)).toEqual([
    2,
    expect.stringMatching(/STORE_FORMAT: .* holds files as .* and no _tidemark\/state\.json/),
  ]);
});

test('a view, or a version, that there is not is an answer of no', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  for (const name of ['nobody', 'job@v9']) {
    const asked = ['lake', 'export', name, '--out', out, '--url', api.url];
    expect((await run(asked)).code).toBe(1);
  }
  expect(readdirSync(out)).toEqual([]);
});

test.each(['0', '5000', 'many'])('%s is no number of buckets', async (buckets) => {
  const asked = ['lake', 'export', 'job', '--out', tempDirectory(), '--buckets', buckets];
  expect((await run(asked)).code).toBe(2);
});

test('for a person an export is a line', async () => {
  const api = await startWithJob();
  const out = tempDirectory();
  await pushTo(api, [record('a', 10, [1, 0])]);
  const asked = ['lake', 'export', 'job', '--out', out, '--url', api.url];
  const { out: said } = await run(asked);
  expect(said).toBe(
    `${join(out, 'job/v1')}: 1 revisions and 1 vectors in 2 new files, snapshot ${api.deps.store.snapshot}.\n`,
  );
});

test('changes of one view come without the vectors of others', async () => {
  const api = await startWithJob();
  await api.send('PUT', '/v1/feature-views/member', { ...JOB, entity: 'member' });
  await pushTo(api, [record('a', 10, [1, 0])]);
  await pushTo(api, [record('m', 10, [4, 4])], { feature_view: 'member' });
  const frames = await Array.fromAsync(new Client(api.url).changes('job', 0));
  const views = frames.flatMap((frame) => (frame.type === 'changes' ? [frame.view] : []));
  expect(views).toEqual(['job']);
  expect(frames.at(-1)).toMatchObject({ type: 'watermark', up_to: api.deps.store.snapshot });
});
