import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

import { expect, onTestFinished, test, vi } from 'vitest';

import type { ExportAnswer, ExportManifest } from '../../src/api/schemas/exports.ts';
import { JoinPool } from '../../src/timetravel/join/pool.ts';
import { type Api, JOB, minutesAgo, pushTo, startWithJob } from './harness.ts';

const ENTITIES = [1, 2];
const WAIT = { timeout: 30_000 };

/** A server with two entities, the first one's vector twice as old. */
async function startFilled(): Promise<Api> {
  const api = await startWithJob();
  const records = ENTITIES.map((id) => ({
    entity_id: id,
    event_timestamp: minutesAgo(40 / id),
    vector: [id, id],
  }));
  await pushTo(api, records, { known: 'event' });
  return api;
}

/** Four windows of one row for each entity. */
const WINDOWS = 4;
const SPINE = Array.from({ length: WINDOWS }, () =>
  ENTITIES.map((id) => JSON.stringify({ job_id: id, event_timestamp: minutesAgo(5) })),
)
  .flat()
  .join('\n');

/** Lets the windows of exports begin only up to a number of them. */
class Gate {
  private reached = 0;
  private upTo: number;
  private opened = Promise.withResolvers<void>();

  constructor(upTo: number) {
    this.upTo = upTo;
    // oxlint-disable-next-line typescript/unbound-method
    const { lend } = JoinPool.prototype;
    const pass = async (): Promise<void> => {
      if (this.reached++ >= this.upTo) await this.opened.promise;
    };
    const spy = vi.spyOn(JoinPool.prototype, 'lend').mockImplementation(async function (
      this: JoinPool,
      owner,
    ) {
      await pass();
      return lend.call(this, owner);
    });
    onTestFinished(() => {
      spy.mockRestore();
      this.open();
    });
  }

  open(): void {
    this.upTo = Number.POSITIVE_INFINITY;
    this.opened.resolve();
  }
}

async function statusOf(api: Api, id: string): Promise<ExportAnswer> {
  return (await api.send('GET', `/v1/exports/${id}`)).body as unknown as ExportAnswer;
}

/** Begins an export; its id when so many of its rows are done. */
async function begin(api: Api, query: string, rows: number): Promise<string> {
  const path = `/v1/exports?feature_views=job&format=ndjson&${query}`;
  const answer = await api.send('POST', path, SPINE, { 'content-type': 'application/x-ndjson' });
  expect(answer.status, answer.bytes.toString()).toBe(202);
  const { id } = answer.body as unknown as ExportAnswer;
  const { rows: done } = await vi.waitUntil(async () => {
    const told = await statusOf(api, id);
    return told.rows >= rows || told.ended_timestamp !== null ? told : undefined;
  }, WAIT);
  expect(done).toBe(rows);
  return id;
}

async function ended(api: Api, id: string): Promise<ExportAnswer> {
  await vi.waitUntil(async () => (await statusOf(api, id)).ended_timestamp !== null, WAIT);
  return statusOf(api, id);
}

/** Of each part, what its rows are answered with. */
async function answersOf(api: Api, id: string): Promise<unknown[][]> {
  const manifest = (await api.send('GET', `/v1/exports/${id}/manifest`)).body;
  const { files } = manifest as unknown as ExportManifest;
  const parts: unknown[][] = [];
  for (const { path, feature_view } of files) {
    if (feature_view !== undefined) continue;
    const { bytes } = await api.send('GET', `/v1/exports/${id}/files/${path}`);
    const lines = bytes.toString().trimEnd().split('\n').slice(0, -1);
    const rows = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    parts.push(rows.map((row) => row['job__vector'] ?? row['job__reason']));
  }
  return parts;
}

function folderOf(api: Api, id: string): string {
  return api.deps.exports.pathOf(id, '.');
}

test('an entity that is erased while an export runs is in no part that begins after it, and stays in those before (A8)', async () => {
  const api = await startFilled();
  const gate = new Gate(2);
  const id = await begin(api, '', 4);
  const erased = await api.send('POST', '/v1/erase', { entity: 'job', entity_ids: [1] });
  expect(erased.body['out_of_reach']).toContainEqual(expect.stringContaining('exports'));
  await api.send('POST', '/v1/compact', {});
  gate.open();
  expect(await ended(api, id)).toMatchObject({
    state: 'done',
    feature_views: { job: { statuses: { PRESENT: 6, NOT_FOUND: 2 }, reasons: { ERASED: 2 } } },
  });
  const before = [
    [1, 1],
    [2, 2],
  ];
  const after = ['ERASED', [2, 2]];
  expect(await answersOf(api, id)).toEqual([before, before, after, after]);
});

test('rows that retention takes out of reach while an export runs are marked from its next part on (A10)', async () => {
  const api = await startFilled();
  const gate = new Gate(2);
  const id = await begin(api, '', 4);
  api.clock.now += 3_600e6;
  const put = await api.send('PUT', '/v1/feature-views/job', { ...JOB, retention: 'PT1H' });
  expect(put.status, put.bytes.toString()).toBe(200);
  gate.open();
  expect(await ended(api, id)).toMatchObject({
    state: 'done',
    feature_views: { job: { statuses: { PRESENT: 4, INVALID: 4 } } },
  });
  expect((await answersOf(api, id)).slice(2).flat()).toEqual(
    Array<string>(4).fill('BEFORE_RETENTION'),
  );
});

test.each(['vectors=inline', 'vectors=ref'])(
  'a view that is dropped ends its exports as failed, without files, and no others: %s',
  async (query) => {
    const api = await startFilled();
    const before = await begin(api, query, 2 * WINDOWS);
    expect((await ended(api, before)).state).toBe('done');
    const gate = new Gate(1);
    const id = await begin(api, query, 2);
    const dropped = await api.send('DELETE', '/v1/feature-views/job');
    expect(dropped.status).toBeLessThan(300);
    gate.open();
    expect(await ended(api, id)).toMatchObject({
      state: 'failed',
      problem: { code: 'VERSION_NOT_FOUND', detail: expect.stringContaining('job@v1') as string },
      expires_timestamp: null,
    });
    await expect.poll(() => readdirSync(folderOf(api, id)), WAIT).toEqual(['export.json']);
    const manifest = await api.send('GET', `/v1/exports/${id}/manifest`);
    expect([manifest.status, manifest.body['code']]).toEqual([404, 'EXPORT_NOT_FOUND']);
    // What was written while there was one is kept for as long as was promised.
    expect((await answersOf(api, before)).flat()).toHaveLength(2 * WINDOWS);
    const views = join(folderOf(api, id), '../../views/job');
    await expect.poll(() => existsSync(views), WAIT).toBe(false);
    expect(openIn(views)).toEqual([]);
  },
);

function openIn(folder: string): string[] {
  return readdirSync('/proc/self/fd').filter((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`).startsWith(folder);
    } catch {
      // That of the listing itself.
      return false;
    }
  });
}

test('an export that many compactions overtake is the one that none has, byte for byte (A9)', async () => {
  const api = await startFilled();
  const whole = await begin(api, 'vectors=ref', 2 * WINDOWS);
  await ended(api, whole);
  const gate = new Gate(1);
  const { snapshot } = await statusOf(api, whole);
  const id = await begin(api, `vectors=ref&at_snapshot=${snapshot}`, 2);
  for (let round = 0; round < 3; round++) {
    await pushTo(api, [{ entity_id: 1, event_timestamp: minutesAgo(30 - round), vector: [9, 9] }], {
      known: 'event',
    });
    expect((await api.send('POST', '/v1/compact', {})).status).toBe(200);
  }
  gate.open();
  expect((await ended(api, id)).state).toBe('done');
  const filesOf = (of: string): string[] =>
    ['parts', 'vectors'].flatMap((folder) => {
      const path = join(folderOf(api, of), folder);
      return readdirSync(path).map((name) => readFileSync(join(path, name), 'hex'));
    });
  expect(filesOf(id)).toEqual(filesOf(whole));
});
