import { setTimeout as sleep } from 'node:timers/promises';

import { expect, onTestFinished, test, vi } from 'vitest';

import { seeded } from '../model/random.ts';
import type { Answer } from '../support/flip-reader.ts';
import { Connection, processesOf, type Told } from '../support/processes.ts';
import { type Flip, strayAnswers } from '../support/readers.ts';
import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

const WORKERS = 2;
const READERS = 6;
/** Goes on for so long where it is set: see the script test:flips. */
const SECONDS = Number(process.env['FLIP_SECONDS'] ?? 0);
const SEED = Number(process.env['FLIP_SEED'] ?? 1);
const FLIP_MS = 100;
const READ_MS = 5;
const PATIENCE = { timeout: 60_000, interval: 50 };
/** How a connection ends with its process. */
const BREAKS = new Set<unknown>(['ECONNRESET', 'EPIPE']);
/** Of a moment when there is no worker at all. */
const NOBODY = 'ECONNREFUSED';
const V1 = { entity: 'job', join_key: 'job_id', version: 'v1', dim: 2, dtype: 'float32' };
const V2 = { version: 'v2', dim: 2, dtype: 'float32' };
const IDS = Array.from({ length: 25 }, (_, at) => `a${at}`);
const LOOKUP = { lookups: [{ feature_view: 'job', entity_ids: IDS }] };

interface Result {
  version: string;
  statuses: string[];
  vectors: number[][];
}

/** A connection that is opened anew when it breaks, and counts how often it did. */
class Client {
  breaks = 0;
  private url: string;
  private connection: Connection;

  constructor(url: string) {
    this.url = url;
    this.connection = new Connection(url);
  }

  /** Undefined where the connection broke: nobody knows what came of it. */
  async send(...asked: Parameters<Connection['send']>): Promise<Told | undefined> {
    try {
      return await this.connection.send(...asked);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (BREAKS.has(code)) this.breaks++;
      else if (code !== NOBODY) throw error;
      this.connection.close();
      this.connection = new Connection(this.url);
      return undefined;
    }
  }

  close(): void {
    this.connection.close();
  }
}

/** Reads all the time; every answer is whole, of one version, and no older than the one before. */
async function read(client: Client, answers: Answer[], over: AbortSignal): Promise<void> {
  let [before, breaks] = [0, 0];
  while (!over.aborted) {
    const asked = performance.now();
    const told = await client.send('POST', '/v1/lookup', LOOKUP);
    if (told !== undefined) {
      expect(told.status, JSON.stringify(told.body)).toBe(200);
      const { snapshot, results } = told.body as { snapshot: number; results: [Result] };
      const [{ version, statuses, vectors }] = results;
      expect(new Set(statuses)).toEqual(new Set(['PRESENT']));
      expect(new Set(vectors.map(([first]) => `v${first}`))).toEqual(new Set([version]));
      // Another process may be one snapshot behind.
      if (client.breaks === breaks) expect(snapshot).toBeGreaterThanOrEqual(before);
      [before, breaks] = [snapshot, client.breaks];
      answers.push([asked, performance.now(), snapshot, version]);
    }
    await sleep(READ_MS);
  }
}

/** Flips, and holds what is found after a kill against what was acknowledged before it. */
class Flipper {
  /** What was acknowledged, and from which snapshot on it was to hold. */
  readonly acknowledged: { version: string; snapshot: number }[] = [];
  unknown = 0;
  private client: Client;
  /** What may answer now: what was acknowledged last, and each flip since then that may have been done. */
  private possible = new Set(['v1']);

  constructor(client: Client) {
    this.client = client;
  }

  async flip(): Promise<void> {
    const version = this.possible.has('v1') ? 'v2' : 'v1';
    const view = '/v1/feature-views/job';
    const told = await (version === 'v2'
      ? this.client.send('POST', `${view}/versions/v2/promote`, { force: true })
      : this.client.send('POST', `${view}/rollback`, {}));
    if (told?.status === 200) {
      const snapshot = told.body['snapshot'] as number;
      this.acknowledged.push({ version, snapshot });
      this.possible = new Set([version]);
      return;
    }
    if (told !== undefined) expect(told.body['code']).toBe('WRITER_UNAVAILABLE');
    this.unknown++;
    this.possible.add(version);
    await this.look();
  }

  /** What answers, once somebody can say so: nothing but what may. */
  async look(): Promise<void> {
    const current = await vi.waitUntil(async () => {
      const told = await this.client.send('GET', '/v1/feature-views/job');
      return told?.status === 200 && (told.body['aliases'] as Flip['aliases']).current;
    }, PATIENCE);
    expect([...this.possible]).toContain(current);
    this.possible = new Set([current]);
  }
}

test(
  `processes that are killed while versions are promoted: living connections are answered, and what was acknowledged stands (seed ${SEED})`,
  { timeout: 240_000 + SECONDS * 2_000 },
  async ({ annotate }) => {
    vi.stubEnv('TIDEMARK_LIMITS__MAX_WAIT_MS', '0');
    onTestFinished(() => void vi.unstubAllEnvs());
    const random = seeded(SEED);
    const server = await ServerProcess.start(tempDirectory(), ['--workers', String(WORKERS)]);
    await server.ask('PUT', '/v1/feature-views/job', V1);
    await server.ask('POST', '/v1/feature-views/job/versions', V2);
    for (const version of ['v1', 'v2']) {
      const vector = [Number(version.slice(1)), 0];
      const records = IDS.map((entity_id) => {
        return { entity_id, event_timestamp: '2026-01-01T00:00:00Z', vector };
      });
      await server.ask('POST', '/v1/push', { feature_view: 'job', version, records });
    }
    const clients = Array.from({ length: READERS + 1 }, () => new Client(server.url));
    onTestFinished(() => clients.forEach((client) => client.close()));
    const [first, ...readers] = clients as [Client, ...Client[]];
    const flipper = new Flipper(first);
    const answers: Answer[] = [];
    const over = new AbortController();
    const reading = Promise.all(readers.map(async (each) => read(each, answers, over.signal)));
    const flipping = (async () => {
      while (!over.signal.aborted) {
        await flipper.flip();
        await sleep(FLIP_MS);
      }
    })();
    const kills = { writer: 0, worker: 0 };
    const killing = (async () => {
      const end = performance.now() + SECONDS * 1_000;
      for (let kill = 0; kill < 2 || performance.now() < end; kill++) {
        const breaks = readers.map((each) => each.breaks);
        const acknowledged = flipper.acknowledged.length;
        await sleep(random(400));
        // Each at least once.
        const isWriter = kill < 2 ? kill === 0 : random(2) === 0;
        const { writer, workers } = processesOf(server.child.pid!);
        process.kill(isWriter ? writer[0]! : workers[random(WORKERS)]!, 'SIGKILL');
        kills[isWriter ? 'writer' : 'worker']++;
        await vi.waitUntil(() => {
          const now = processesOf(server.child.pid!);
          const isWhole = now.writer.length === 1 && now.workers.length === WORKERS;
          return isWhole && flipper.acknowledged.length > acknowledged + 2;
        }, PATIENCE);
        for (const [at, { breaks: now }] of readers.entries()) {
          expect(now - breaks[at]!).toBeLessThanOrEqual(isWriter ? 0 : 1);
        }
      }
    })();
    await Promise.race([killing, reading, flipping]);
    over.abort();
    await Promise.all([killing, reading, flipping]);
    await flipper.look();

    const { events } = await server.ask<{ events: Flip[] }>('GET', '/v1/feature-views/job/history');
    expect(strayAnswers({ answers, rows: [], wrong: [] }, events)).toEqual([]);
    for (const { version, snapshot } of flipper.acknowledged) {
      expect(events.findLast(({ seq }) => seq <= snapshot)!.aliases.current).toBe(version);
    }
    await annotate(
      `${kills.writer} writers and ${kills.worker} workers killed; ${flipper.acknowledged.length} flips acknowledged, ` +
        `${flipper.unknown} not; ${answers.length} lookups, ${readers.reduce((sum, each) => sum + each.breaks, 0)} connections broken`,
    );
    expect(answers.length).toBeGreaterThan(0);
  },
);
