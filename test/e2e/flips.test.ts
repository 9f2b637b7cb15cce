import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

import { expect, onTestFinished, test, vi } from 'vitest';

import type { Answered } from '../support/flip-reader.ts';
import { Connection } from '../support/processes.ts';
import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

const READER = join(import.meta.dirname, '../support/flip-reader.ts');
const READERS = 2;
/** Longer where it is set: see the script test:flips. */
const SECONDS = Number(process.env['FLIP_SECONDS'] ?? 3);
const FLIP_MS = 100;
const V1 = { entity: 'job', join_key: 'job_id', version: 'v1', dim: 2, dtype: 'float32' };
const V2 = { version: 'v2', dim: 2, dtype: 'float32' };

/** Starts a process that looks up; gives what ends it, and tells what it was answered. */
function startReader(url: string): () => Promise<Answered> {
  const child = spawn(process.execPath, [READER, url], { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  return async () => {
    const said = text(child.stdout);
    const exit = once(child, 'exit');
    child.stdin.write('over\n');
    await exit;
    return JSON.parse(await said) as Answered;
  };
}

async function fill(server: ServerProcess, version: string, minute: number): Promise<void> {
  const records = ['a', 'b'].flatMap((name) =>
    Array.from({ length: 25 }, (_, at) => ({
      entity_id: `${name}${at}`,
      event_timestamp: new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString(),
      vector: [Number(version.slice(1)), minute],
    })),
  );
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
    const readers = Array.from({ length: READERS }, () => startReader(server.url));

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

    const { events } = await server.ask<{
      events: { seq: number; aliases: { current: string } }[];
    }>('GET', '/v1/feature-views/job/history');
    let requests = 0;
    for (const stop of readers) {
      const { requests: asked, seen, wrong } = await stop();
      expect(wrong).toEqual([]);
      for (const pair of seen) {
        const [snapshot, version] = pair.split(' ') as [string, string];
        const reign = events.findLast(({ seq }) => seq <= Number(snapshot));
        expect(`${snapshot} ${reign!.aliases.current}`).toBe(`${snapshot} ${version}`);
      }
      requests += asked;
    }
    const flips = took.toSorted((a, b) => a - b);
    const median = flips[Math.floor(flips.length / 2)]!;
    await annotate(
      `${flips.length} flips, answered in ${median.toFixed(1)} ms (median), ${flips.at(-1)!.toFixed(1)} ms (most); ${requests} lookups`,
    );
    expect(requests).toBeGreaterThan(0);
  },
);
