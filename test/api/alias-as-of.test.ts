import { tableFromIPC } from 'apache-arrow';
import { expect, test, vi } from 'vitest';

import type { ExportAnswer, ExportManifest } from '../../src/api/schemas/exports.ts';
import { encodeRecord, parseRecord } from '../../src/timetravel/exports/record.ts';
import { type Answer, type Api, microsOf, minutesAgo, pushTo, startWithJob } from './harness.ts';

const NDJSON = 'application/x-ndjson';
const V2 = { version: 'v2', dim: 2, dtype: 'float32' };

/**
 * The view `job`, made just now: v1, which says [1, 1] of 7, for 20 minutes; v2, which says [2, 2],
 * until the 40th; and v1 again. It is the 60th.
 */
async function startFlipped(): Promise<Api> {
  const api = await startWithJob();
  await api.send('POST', '/v1/feature-views/job/versions', V2);
  for (const [version, vector] of [
    ['v1', [1, 1]],
    ['v2', [2, 2]],
  ]) {
    const records = [{ entity_id: '7', event_timestamp: minutesAgo(30), vector }];
    await pushTo(api, records, { version, known: 'event' });
  }
  api.clock.now = microsOf(after(20));
  await promote(api, 'v2');
  api.clock.now = microsOf(after(40));
  expect((await api.send('POST', '/v1/feature-views/job/rollback', {})).status).toBe(200);
  api.clock.now = microsOf(after(60));
  return api;
}

/** The moment so many minutes after the view was made. */
function after(minutes: number): string {
  return minutesAgo(-minutes);
}

async function promote(api: Api, version: string): Promise<void> {
  const { status } = await api.send(
    'POST',
    `/v1/feature-views/job/versions/${version}/promote`,
    {},
  );
  expect(status).toBe(200);
}

const SPINE = [-20, 20, 19, 40, 75].map((minutes) => ({
  job_id: '7',
  event_timestamp: after(minutes),
}));
const TEXT = SPINE.map((row) => JSON.stringify(row)).join('\n');

function join(api: Api, query: string, accept = NDJSON): Promise<Answer> {
  return api.send('POST', `/v1/get-historical-features?${query}`, TEXT, {
    'content-type': NDJSON,
    accept,
  });
}

type Line = Record<string, unknown>;

function linesOf({ status, bytes }: Answer): Line[] {
  expect(status, bytes.toString()).toBe(200);
  const lines = bytes.toString().trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Line);
}

test('each row has the vector of the version that was current at its moment, and its name', async () => {
  const api = await startFlipped();
  const lines = linesOf(await join(api, 'feature_views=job&alias_as_of=true'));
  const summary = lines.pop();
  expect(lines.map((line) => [line['job__version'], line['job__vector']])).toEqual([
    ['v1', [1, 1]],
    ['v2', [2, 2]],
    ['v1', [1, 1]],
    ['v1', [1, 1]],
    ['v1', [1, 1]],
  ]);
  expect(summary).toMatchObject({
    __summary: {
      question: { alias_as_of: true },
      feature_views: { job: { version: null, versions: { v1: 4, v2: 1 } } },
    },
  });
  // By default the one that is current now answers all rows, and none is told with them.
  const [first, ...others] = linesOf(await join(api, 'feature_views=job'));
  expect(first).not.toHaveProperty('job__version');
  expect(others.at(-1)).toMatchObject({
    __summary: { feature_views: { job: { version: 'v1' } } },
  });
});

test('the same question at the same snapshot has the same bytes, whatever was promoted since (A9)', async () => {
  const api = await startFlipped();
  const query = `feature_views=job&alias_as_of=true&at_snapshot=${api.deps.store.snapshot}`;
  const before = await join(api, query, 'application/vnd.apache.parquet');
  // Its moment lies before that of the last row.
  api.clock.now = microsOf(after(70));
  await promote(api, 'v2');
  const again = await join(api, query, 'application/vnd.apache.parquet');
  expect([again.status, again.bytes.equals(before.bytes)]).toEqual([200, true]);
  const [, , , , last] = linesOf(await join(api, 'feature_views=job&alias_as_of=true'));
  expect(last).toMatchObject({ job__version: 'v2', job__vector: [2, 2] });
});

test('a view that was made just now is joined, and one of before it was made is not known (A9)', async () => {
  const api = await startWithJob();
  const [first] = linesOf(await join(api, 'feature_views=job&alias_as_of=true'));
  expect(first).toMatchObject({ job__version: 'v1', job__status: 'NOT_FOUND' });
  const earlier = await join(api, 'feature_views=job&alias_as_of=true&at_snapshot=0');
  expect([earlier.status, earlier.body.code]).toEqual([409, 'SNAPSHOT_UNAVAILABLE']);
});

test.each(['job@v1', 'job@current', 'job,then=job@v2'])(
  'a version that is named is refused with alias_as_of: %s',
  async (views) => {
    const api = await startFlipped();
    const refused = await join(api, `feature_views=${views}&alias_as_of=true`);
    expect([refused.status, refused.body.code]).toEqual([422, 'BAD_REQUEST']);
    expect(refused.body.detail).toContain('leave the version out, or alias_as_of');
  },
);

test('versions with vectors of another kind are refused, and each can be asked by its name', async () => {
  const api = await startFlipped();
  await api.send('POST', '/v1/feature-views/job/versions', { ...V2, version: 'v3', dim: 3 });
  await promote(api, 'v3');
  const refused = await join(api, 'feature_views=job&alias_as_of=true');
  expect([refused.status, refused.body.code]).toEqual([422, 'BAD_REQUEST']);
  expect(refused.body.detail).toContain('v1 has 2 of float32, v3 has 3 of float32');
});

test('a row whose version is retired is marked, or ends the join when it is strict', async () => {
  const api = await startFlipped();
  await api.send('DELETE', '/v1/feature-views/job/versions/v2');
  const lines = linesOf(await join(api, 'feature_views=job&alias_as_of=true'));
  expect(lines[1]).toMatchObject({
    job__version: 'v2',
    job__vector: null,
    job__status: 'INVALID',
    job__reason: 'VERSION_RETIRED',
  });
  expect(lines[5]).toMatchObject({
    __summary: {
      feature_views: { job: { reasons: { VERSION_RETIRED: 1 }, versions: { v1: 4, v2: 1 } } },
      invalid: [{ row: 'line 2', feature_view: 'job', reason: 'VERSION_RETIRED' }],
    },
  });
  const strict = await join(api, 'feature_views=job&alias_as_of=true&strict=true');
  expect([strict.status, strict.body.code]).toEqual([404, 'VERSION_NOT_FOUND']);
});

async function exported(api: Api, query: string): Promise<ExportAnswer> {
  const { body } = await api.send('POST', `/v1/exports?feature_views=job&${query}`, TEXT, {
    'content-type': NDJSON,
  });
  const path = `/v1/exports/${String(body['id'])}`;
  const told = async () => (await api.send('GET', path)).body as unknown as ExportAnswer;
  await vi.waitUntil(async () => (await told()).ended_timestamp !== null, { timeout: 30_000 });
  return told();
}

test('an export tells the versions and their rows, and its record keeps the reigns', async () => {
  const api = await startFlipped();
  const told = await exported(api, 'format=arrow&vectors=ref&vector_format=arrow&alias_as_of=true');
  expect(told).toMatchObject({
    state: 'done',
    question: { alias_as_of: true },
    feature_views: { job: { version: null, versions: { v1: 4, v2: 1 } } },
  });
  const path = `/v1/exports/${told.id}`;
  const manifest = (await api.send('GET', `${path}/manifest`)).body as unknown as ExportManifest;
  expect(manifest.feature_views).toEqual(told.feature_views);
  expect(manifest.columns).toContainEqual({
    name: 'job__version',
    type: 'Dictionary<Int8, Utf8>',
  });
  const rows: unknown[] = [];
  for (const { path: file } of manifest.files.filter((each) => !each.feature_view)) {
    const { bytes } = await api.send('GET', `${path}/files/${file}`);
    for (const row of tableFromIPC(bytes)) {
      rows.push([row!['job__version'], row!['job__vector_row']]);
    }
  }
  // One of each version, in the order that a window has them in.
  expect(rows).toEqual([
    ['v1', 0],
    ['v2', 1],
    ['v1', 0],
    ['v1', 0],
    ['v1', 0],
  ]);
  const { record } = api.deps.exports.mustGet(told.id);
  expect(parseRecord(encodeRecord(record), 'export.json')).toEqual(record);
});

test('revisions are of one version: alias_as_of is of a join', async () => {
  const api = await startFlipped();
  const body = { revisions: { feature_view: 'job' }, alias_as_of: true };
  const refused = await api.send('POST', '/v1/exports', body);
  expect(refused.status).toBe(422);
  expect(refused.body).toMatchObject({ errors: [{ path: 'body/alias_as_of' }] });
});
