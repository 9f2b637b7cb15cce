import { expect, onTestFinished, test, vi } from 'vitest';

import { Connection } from '../support/processes.ts';
import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

const V1 = { entity: 'job', join_key: 'job_id', version: 'v1', dim: 2, dtype: 'float32' };
const IDS = Array.from({ length: 20 }, (_, at) => `e${at}`);
/** So many that each worker has some of them, but for once in 30,000 times. */
const CONNECTIONS = 16;

interface Shown {
  process: string;
  candidate: string;
  lookups: number;
  coverage: number;
}

test(
  'every worker asks the candidate what it was asked, and says which one it is; the metrics have all of them, and what was measured',
  { timeout: 120_000 },
  async () => {
    vi.stubEnv('TIDEMARK_SHADOW__SAMPLE', '1');
    vi.stubEnv('TIDEMARK_MAINTENANCE__INTERVAL_SECONDS', '1');
    vi.stubEnv('TIDEMARK_LIMITS__MAX_WAIT_MS', '0');
    onTestFinished(() => void vi.unstubAllEnvs());
    const server = await ServerProcess.start(tempDirectory(), ['--workers', '2']);
    await server.ask('PUT', '/v1/feature-views/job', V1);
    await server.ask('POST', '/v1/feature-views/job/versions', {
      version: 'v2',
      dim: 2,
      dtype: 'float32',
    });
    for (const [version, ids] of [
      ['v1', IDS],
      ['v2', IDS.slice(5)],
    ] as const) {
      const records = ids.map((entity_id, at) => {
        return {
          entity_id,
          event_timestamp: '2026-01-01T00:00:00Z',
          vector: [Math.cos(at), Math.sin(at)],
        };
      });
      await server.ask('POST', '/v1/push', { feature_view: 'job', version, records });
    }
    const connections = Array.from({ length: CONNECTIONS }, () => new Connection(server.url));
    onTestFinished(() => connections.forEach((each) => each.close()));
    const ask = async (method: string, path: string, body?: unknown) =>
      Promise.all(connections.map(async (each) => (await each.send(method, path, body)).body));
    await ask('POST', '/v1/lookup', { lookups: [{ feature_view: 'job', entity_ids: IDS }] });

    const shown = await vi.waitUntil(async () => {
      const all = (await ask('GET', '/v1/feature-views/job/shadow')) as unknown as Shown[];
      const each = [...new Map(all.map((one) => [one.process, one])).values()];
      return each.reduce((sum, { lookups }) => sum + lookups, 0) === CONNECTIONS && each;
    });
    expect(shown.map(({ process }) => process).toSorted()).toEqual(['worker-1', 'worker-2']);
    for (const { candidate, coverage } of shown) {
      expect([candidate, coverage]).toEqual(['v2', 0.75]);
    }
    await expect
      .poll(async () => (await fetch(`${server.url}/metrics`)).text(), { timeout: 30_000 })
      .toContain('tidemark_version_ok{feature_view="job",version="v2",process="writer"} 1');
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    for (const { process, lookups } of shown) {
      expect(metrics).toContain(
        `tidemark_shadow_lookups_total{feature_view="job",version="v2",process="${process}"} ${lookups}\n`,
      );
    }
  },
);
