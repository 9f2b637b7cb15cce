import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test, vi } from 'vitest';

import type { ExportAnswer, ExportManifest } from '../../src/api/schemas/exports.ts';
import { formatInstant, micros } from '../../src/ground/time.ts';
import { seeded } from '../model/random.ts';
import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

const KILLS = Number(process.env['CRASH_KILLS'] ?? 2);
const ENTITIES = 500;
const ROWS = 30_000;
const PART_ROWS = 200;
const DIM = 32;
const BORN = Date.UTC(2026, 0, 1) * 1_000;
const HOUR = 3_600e6;

function configOf(): string {
  const path = join(tempDirectory(), 'tidemark.yaml');
  writeFileSync(path, `exports: { part_rows: ${PART_ROWS}, threads: 2 }\nlog_level: info\n`);
  return path;
}

async function fill(server: ServerProcess): Promise<void> {
  await server.ask('PUT', '/v1/feature-views/job', {
    entity: 'job',
    join_key: 'job_id',
    version: 'v1',
    dim: DIM,
    dtype: 'float32',
  });
  for (let hour = 0; hour < 4; hour++) {
    const records = Array.from({ length: ENTITIES }, (_, id) => ({
      entity_id: id,
      event_timestamp: formatInstant(micros(BORN + hour * HOUR)),
      vector: Array.from({ length: DIM }, (__, at) => hour * 1_000 + id + at),
    }));
    await server.ask('POST', '/v1/push', { feature_view: 'job', known: 'event', records });
  }
}

function spineOf(random: (below: number) => number): string {
  const rows = Array.from({ length: ROWS }, (_, label) => {
    const event_timestamp = formatInstant(micros(BORN + random(5) * HOUR - HOUR / 2));
    return JSON.stringify({ job_id: random(ENTITIES), event_timestamp, label });
  });
  return rows.join('\n');
}

async function begin(server: ServerProcess, spine: string, query: string): Promise<string> {
  const answer = await fetch(`${server.url}/v1/exports?feature_views=job&${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: spine,
  });
  expect(answer.status).toBe(202);
  return ((await answer.json()) as ExportAnswer).id;
}

async function progress(server: ServerProcess, id: string): Promise<ExportAnswer> {
  return server.ask('GET', `/v1/exports/${id}`);
}

async function manifestOf(server: ServerProcess, id: string): Promise<ExportManifest> {
  await vi.waitUntil(async () => (await progress(server, id)).state === 'done', {
    timeout: 60_000,
  });
  return server.ask('GET', `/v1/exports/${id}/manifest`);
}

test.each(['format=parquet', 'format=ndjson&vectors=ref', 'format=arrow&vectors=ref&order=entity'])(
  'an export of %s that is killed in its middle, again and again, has the files of one that was not (A9)',
  async (format) => {
    const random = seeded(7);
    const data = tempDirectory();
    const more = ['--config', configOf()];
    let server = await ServerProcess.start(data, more);
    await fill(server);
    const spine = spineOf(random);
    const whole = await manifestOf(server, await begin(server, spine, format));
    const query = `${format}&at_snapshot=${whole.snapshot}`;
    const id = await begin(server, spine, query);
    const seen = new Set<number>();
    for (let kill = 0; kill < KILLS; kill++) {
      const least = ((kill + 1) * ROWS) / (KILLS + 2);
      await vi.waitUntil(async () => (await progress(server, id)).rows >= least, {
        timeout: 60_000,
        interval: 5,
      });
      seen.add((await progress(server, id)).rows);
      await server.kill();
      server = await ServerProcess.start(data, more);
    }
    // A run that was over before it was killed would prove nothing.
    expect([...seen].filter((rows) => rows < ROWS).length, [...seen].join()).toBeGreaterThan(1);
    const { files, rows, feature_views } = await manifestOf(server, id);
    expect([rows, feature_views]).toEqual([ROWS, whole.feature_views]);
    expect(files).toEqual(whole.files);
    const folder = join(data, 'exports', id);
    for (const { path, sha256 } of files) {
      const content = readFileSync(join(folder, path));
      expect(createHash('sha256').update(content).digest('hex'), path).toBe(sha256);
    }
    await vi.waitUntil(() => !existsSync(join(folder, 'spine')));
    const there = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    expect(there.filter((name) => /\.(tmp|ids|new)$/.test(name))).toEqual([]);
    expect(await server.terminate()).toBe(0);
  },
);
