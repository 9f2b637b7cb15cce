import { setTimeout as sleep } from 'node:timers/promises';

import { expect, onTestFinished, test, vi } from 'vitest';

import { Connection } from '../support/processes.ts';
import { type Flip, startReader, strayAnswers } from '../support/readers.ts';
import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

const READERS = 2;
const PACE = { connections: 4, restMs: 0 };
/** Longer where it is set: see the script test:flips. */
const SECONDS = Number(process.env['FLIP_SECONDS'] ?? 3);
const FLIP_MS = 100;
const IDS = ['a', 'b'].map((name) => Array.from({ length: 25 }, (_, at) => `${name}${at}`));
/** Two of one request that name no version: both are to be of the same one. */
const LOOKUPS = IDS.map((entity_ids, at) => ({ name: `${at}`, feature_view: 'job', entity_ids }));
const V1 = { entity: 'job', join_key: 'job_id', version: 'v1', dim: 2, dtype: 'float32' };
const V2 = { version: 'v2', dim: 2, dtype: 'float32' };

async function fill(server: ServerProcess, version: string, minute: number): Promise<void> {
  const records = IDS.flat().map((entity_id) => ({
    entity_id,
    event_timestamp: new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString(),
    vector: [Number(version.slice(1)), 2 * minute],
  }));
  await server.ask('POST', '/v1/push', { feature_view: 'job', version, records });
}

test.for([[[]], [['--workers', '2']]])(
  'ten promotions and rollbacks a second: no answer is of two versions, none fails, and none is of the version before once that was answered (serve %j)',
  { timeout: 120_000 + SECONDS * 2_000 },
  async ([options], { annotate }) => {
    vi.stubEnv('TIDEMARK_LIMITS__MAX_WAIT_MS', '0');
    onTestFinished(() => void vi.unstubAllEnvs());
    const server = await ServerProcess.start(tempDirectory(), options);
    await server.ask('PUT', '/v1/feature-views/job', V1);
    await server.ask('POST', '/v1/feature-views/job/versions', V2);
    await fill(server, 'v1', 0);
    await fill(server, 'v2', 0);
    const readers = await Promise.all(
      Array.from({ length: READERS }, async () => startReader(server.url, PACE, LOOKUPS)),
    );
    onTestFinished(() => readers.forEach(({ kill }) => kill()));

    // Commits are under way at most of the flips.
    const over = new AbortController();
    const pushing = (async () => {
      for (let minute = 1; !over.signal.aborted; minute++) {
        await Promise.all([fill(server, 'v1', minute), fill(server, 'v2', minute)]);
      }
    })();
    const probes = Array.from({ length: 8 }, () => new Connection(server.url));
    onTestFinished(() => probes.forEach((probe) => probe.close()));
    const lookup = { lookups: [{ feature_view: 'job', entity_ids: ['a0'] }] };
    const took: number[] = [];
    const end = performance.now() + SECONDS * 1_000;
    for (let flip = 0; performance.now() < end; flip++) {
      const expected = flip % 2 === 0 ? 'v2' : 'v1';
      const began = performance.now();
      if (expected === 'v2') {
        await server.ask('POST', '/v1/feature-views/job/versions/v2/promote', { force: true });
      } else {
        await server.ask('POST', '/v1/feature-views/job/rollback', {});
      }
      took.push(performance.now() - began);
      const told = await Promise.all(
        probes.map(async (probe) => probe.send('POST', '/v1/lookup', lookup)),
      );
      const versions = told.map(
        ({ body }) => (body['results'] as { version: string }[])[0]!.version,
      );
      expect(new Set(versions)).toEqual(new Set([expected]));
      await sleep(Math.max(0, FLIP_MS - (performance.now() - began)));
    }
    over.abort();
    await pushing;

    const { events } = await server.ask<{ events: Flip[] }>('GET', '/v1/feature-views/job/history');
    let requests = 0;
    for (const reader of readers) {
      const answered = await reader.stop();
      expect(answered.wrong).toEqual([]);
      expect(strayAnswers(answered, events)).toEqual([]);
      for (const row of answered.rows) {
        // What the numbers of a vector come to is even for v2 alone.
        const [version, , , sum] = row.split(' ');
        expect(`${row}: ${version}`).toBe(`${row}: ${Number(sum) % 2 === 0 ? 'v2' : 'v1'}`);
      }
      requests += answered.answers.length;
    }
    const flips = took.toSorted((a, b) => a - b);
    const median = flips[Math.floor(flips.length / 2)]!;
    await annotate(
      `${flips.length} flips, answered in ${median.toFixed(1)} ms (median), ${flips.at(-1)!.toFixed(1)} ms (most); ${requests} lookups`,
    );
    expect(requests).toBeGreaterThan(0);
  },
);
