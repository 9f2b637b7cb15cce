import type { FastifyInstance } from 'fastify';
import { Registry } from 'prom-client';
import { afterAll, onTestFinished } from 'vitest';

import type { Deps } from '../../src/api/deps.ts';
import { limitsSchema } from '../../src/api/limits.ts';
import { buildServer } from '../../src/api/server.ts';
import { TidemarkError } from '../../src/ground/errors.ts';
import { micros } from '../../src/ground/time.ts';
import { DELETED } from '../../src/store/batch.ts';
import { writeNumbers } from '../../src/store/dtype.ts';
import { openStore } from '../../src/store/store.ts';
import { JoinPool } from '../../src/timetravel/join/pool.ts';
import { runJoin } from '../../src/timetravel/join/run.ts';
import { testExports } from '../support/exports.ts';
import { RESIDENT_BYTES, TestClock } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

/** What the test's clock says unless a test moves it. */
export const NOW = '2026-03-01T12:00:00Z';
const NOW_MICROS = Date.UTC(2026, 2, 1, 12) * 1_000;

/** Of all servers of a file: its thread keeps nothing of a store, and takes longer to start than most tests. */
const joinPool = new JoinPool(1);
afterAll(async () => joinPool.close());

export interface Answer {
  status: number;
  type: string;
  headers: Headers;
  bytes: Buffer;
  /** The body as JSON, whatever it is of; a test says what it expects of it. */
  body: Record<string, unknown>;
}

export interface Api {
  url: string;
  deps: Deps;
  clock: TestClock;
  /** A body that is neither bytes nor text is sent as JSON. */
  send(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer>;
  server: FastifyInstance;
}

/** A server on a port of its own over a store in a new directory; gone when the test is done. */
export async function startApi(overrides: Partial<Deps> = {}): Promise<Api> {
  const clock = new TestClock(NOW_MICROS);
  const directory = tempDirectory();
  const store = openStore(directory, clock.read, { residentBytes: RESIDENT_BYTES });
  const deps: Deps = {
    store,
    limits: limitsSchema.parse({}),
    bindModel,
    checkGates: async () => [],
    addTexts,
    embed: async () => {
      throw new Error('no test of the API alone has models');
    },
    pendingOf: () => undefined,
    readiness: () => ({ ready: true, checks: { store: { ok: true } } }),
    replayLetters: async () => {
      throw new Error('no test of the API alone has sources');
    },
    sinkTopics: [],
    compacted: () => {},
    promote: async () => store.replica.promote(Math.random),
    joinPool,
    exports: testExports(store, directory, (job) => runJoin({ store, pool: joinPool, ...job })),
    backfills: NO_BACKFILLS,
    backfillDirectories: [],
    spineDirectories: [],
    backupDirectories: [],
    maxFutureSkew: 300e6,
    logger: false,
    registry: new Registry(),
    ...overrides,
  };
  const server = await buildServer(deps);
  const url = await server.listen({ host: '127.0.0.1', port: 0 });
  onTestFinished(async () => {
    await server.close();
    await deps.exports.stop();
    await store.close();
  });
  return {
    url,
    deps,
    clock,
    server,
    async send(method, path, body, headers = {}) {
      const isRaw = typeof body === 'string' || body instanceof Uint8Array;
      const response = await fetch(url + path, {
        method,
        headers: {
          ...(body !== undefined && !isRaw && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: isRaw ? (body as string) : JSON.stringify(body) }),
      });
      const bytes = Buffer.from(await response.arrayBuffer());
      const type = response.headers.get('content-type') ?? '';
      return {
        status: response.status,
        type,
        headers: response.headers,
        bytes,
        body: type.includes('json') && !type.includes('ndjson') ? JSON.parse(bytes.toString()) : {},
      };
    },
  };
}

export const JOB = {
  entity: 'job',
  join_key: 'job_id',
  version: 'v1',
  dim: 2,
  dtype: 'float32',
};

/** A server with the view `job`, of dim 2. */
export async function startWithJob(overrides: Partial<Deps> = {}): Promise<Api> {
  const api = await startApi(overrides);
  await api.send('PUT', '/v1/feature-views/job', JOB);
  return api;
}

/** The moment so many minutes before now, as text. */
export function minutesAgo(minutes: number): string {
  return new Date(NOW_MICROS / 1_000 - minutes * 60_000).toISOString();
}

export function pushTo(
  api: Api,
  records: unknown[],
  rest: Record<string, unknown> = {},
): Promise<Answer> {
  return api.send('POST', '/v1/push', { feature_view: 'job', records, ...rest });
}

function noBackfills(): never {
  throw new Error('no test of the API alone has backfills');
}

const NO_BACKFILLS: Deps['backfills'] = {
  submit: noBackfills,
  plan: noBackfills,
  list: () => [],
  mustGet: noBackfills,
  remove: noBackfills,
};

/** A model that makes of a text its length and how many vowels it has; `missing` is none. */
async function bindModel({ name, prompt, keep_inputs }: Parameters<Deps['bindModel']>[0]) {
  if (name === 'missing') throw new TidemarkError('MODEL_INVALID', 'there is no model missing');
  const binding = {
    name,
    fingerprint: 'of-today',
    ...(prompt && { prompt }),
    ...(keep_inputs && { keep_inputs }),
  };
  return { binding, dim: 2 };
}

const addTexts: Deps['addTexts'] = async (_view, version, batch, records) => {
  const rows = records.map(({ event, known, input }) => {
    if (input === null) return [{ event, known, payload: DELETED }];
    const text = 'text' in input ? input.text : JSON.stringify(input.fields);
    if (text === 'flood') throw new TidemarkError('OVERLOADED', 'the queue is full');
    if (text === 'unreadable') return new TidemarkError('BAD_INPUT', 'got an unreadable text');
    const numbers = [text.length, text.replaceAll(/[^aeiou]/g, '').length];
    writeNumbers(numbers, version.dim, version.dtype, batch.nextPayload());
    return [{ event, known, payload: batch.addFilled() }];
  });
  return { rows, release: () => {} };
};

export function microsOf(text: string): number {
  return micros(Date.parse(text) * 1_000);
}
