import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test, vi } from 'vitest';

import type { ExportAnswer, ExportManifest } from '../../src/api/schemas/exports.ts';
import { formatInstant, micros } from '../../src/ground/time.ts';
import { ServerProcess } from '../support/server.ts';
import { fillDisk, mountDisk } from '../support/small-disk.ts';
import { tempDirectory } from '../support/temp.ts';

const DIM = 256;
const VECTOR_BYTES = DIM * 4;
const BORN = Date.UTC(2026, 0, 1) * 1_000;
const DISK_MEBIBYTES = 8;
const WAIT = { timeout: 60_000 };

async function fill(server: ServerProcess): Promise<void> {
  await server.ask('PUT', '/v1/feature-views/job', {
    entity: 'job',
    join_key: 'job_id',
    version: 'v1',
    dim: DIM,
    dtype: 'float32',
  });
  await push(server, 100);
}

async function push(server: ServerProcess, entities: number): Promise<void> {
  const event_timestamp = formatInstant(micros(BORN));
  const records = Array.from({ length: entities }, (_, id) => {
    return { entity_id: id, event_timestamp, vector: Array<number>(DIM).fill(id) };
  });
  await server.ask('POST', '/v1/push', { feature_view: 'job', known: 'event', records });
}

function spineOf(rows: number): string {
  const event_timestamp = formatInstant(micros(BORN + 1));
  const lines = Array.from({ length: rows }, (_, row) =>
    JSON.stringify({ job_id: row % 100, event_timestamp }),
  );
  return lines.join('\n');
}

async function post(server: ServerProcess, rows: number): Promise<Response> {
  return fetch(`${server.url}/v1/exports?feature_views=job&format=arrow`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: spineOf(rows),
  });
}

async function begin(server: ServerProcess, rows: number): Promise<string> {
  const answer = await post(server, rows);
  expect(answer.status).toBe(202);
  return ((await answer.json()) as ExportAnswer).id;
}

async function ended(server: ServerProcess, id: string): Promise<ExportAnswer> {
  const ask = async () => server.ask<ExportAnswer>('GET', `/v1/exports/${id}`);
  await vi.waitUntil(async () => (await ask()).ended_timestamp !== null, WAIT);
  return ask();
}

/** Fetches all files of an export and compares them with its manifest. */
async function expectWhole(server: ServerProcess, id: string, rows: number): Promise<void> {
  const manifest = await server.ask<ExportManifest>('GET', `/v1/exports/${id}/manifest`);
  expect(manifest.rows).toBe(rows);
  for (const { path, sha256 } of manifest.files) {
    const answer = await fetch(`${server.url}/v1/exports/${id}/files/${path}`);
    const content = Buffer.from(await answer.arrayBuffer());
    expect(createHash('sha256').update(content).digest('hex'), path).toBe(sha256);
  }
}

test('on a full disk an export fails and says so, the others go on, and with room it can be run again', async ({
  skip,
}) => {
  const data = tempDirectory();
  const config = join(tempDirectory(), 'tidemark.yaml');
  writeFileSync(config, 'exports: { part_rows: 200, threads: 2, concurrent: 1 }\n');
  const more = ['--config', config];
  let server = await ServerProcess.start(data, more);
  await fill(server);
  const exports = join(data, 'exports');
  mkdirSync(exports);
  if (!mountDisk(exports, DISK_MEBIBYTES)) skip('this needs leave to mount a disk');
  const before = await begin(server, 400);
  expect((await ended(server, before)).state).toBe('done');

  // Room for half of the large one, and for all of the small one that waits behind it.
  const large = 3_000;
  let makeRoom = fillDisk(exports, (large / 2) * VECTOR_BYTES);
  const [failing, behind] = [await begin(server, large), await begin(server, 400)];
  const told = await ended(server, failing);
  expect(told).toMatchObject({ state: 'failed', problem: { code: 'STORE_UNAVAILABLE' } });
  expect(told.problem!.detail).toContain('no space left on device');
  expect(told.rows).toBeGreaterThan(0);
  await expect.poll(() => readdirSync(join(exports, failing)), WAIT).toEqual(['export.json']);
  expect((await server.send('GET', `/v1/exports/${failing}/manifest`)).status).toBe(404);
  expect((await ended(server, behind)).state).toBe('done');
  await expectWhole(server, behind, 400);
  await expectWhole(server, before, 400);
  await push(server, 10);
  expect((await server.send('GET', '/readyz')).status).toBe(200);
  makeRoom();
  const again = await begin(server, large);
  expect((await ended(server, again)).state).toBe('done');
  await expectWhole(server, again, large);

  // Now there is not even room for the spine, and none for a start to write anything.
  await server.ask('DELETE', `/v1/exports/${again}`);
  makeRoom = fillDisk(exports, 40_960);
  const there = readdirSync(exports);
  const refused = await post(server, large);
  const { code, detail } = (await refused.json()) as { code: string; detail: string };
  expect([refused.status, code]).toEqual([503, 'STORE_UNAVAILABLE']);
  expect(detail).toMatch(/the disk of .*exports.* is nearly full: .*make room and try again/);
  expect(readdirSync(exports)).toEqual(there);
  expect(await server.terminate()).toBe(0);
  server = await ServerProcess.start(data, more);
  await expectWhole(server, before, 400);
  await server.ask('DELETE', `/v1/exports/${behind}`);
  expect(readdirSync(exports)).not.toContain(behind);
  makeRoom();
  expect((await ended(server, await begin(server, large))).state).toBe('done');
  expect(await server.terminate()).toBe(0);
});
