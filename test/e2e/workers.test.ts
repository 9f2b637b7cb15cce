import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { expect, onTestFinished, test, vi } from 'vitest';

import { isSettled } from '../../src/store/meta-page.ts';
import { Connection, processesOf, type Told } from '../support/processes.ts';
import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

const VIEW = { entity: 'job', join_key: 'job_id', version: 'v1', dim: 2, dtype: 'float32' };
const WORKERS = 2;
/** So many that each worker has some of them, but for once in 30,000 times. */
const CONNECTIONS = 16;
const PATIENCE = { timeout: 100_000, interval: 50 };
/** Between two requests of one client: the processes that start need a share of the machine. */
const PACE_MS = 5;

async function start(): Promise<ServerProcess> {
  // Whatever else keeps the machine busy: what is refused for that is not what is looked at here.
  vi.stubEnv('TIDEMARK_LIMITS__MAX_WAIT_MS', '0');
  onTestFinished(() => void vi.unstubAllEnvs());
  const server = await ServerProcess.start(tempDirectory(), ['--workers', String(WORKERS)]);
  await server.ask('PUT', '/v1/feature-views/job', VIEW);
  return server;
}

function connect(server: ServerProcess, count = CONNECTIONS): Connection[] {
  const connections = Array.from({ length: count }, () => new Connection(server.url));
  onTestFinished(() => connections.forEach((each) => each.close()));
  return connections;
}

function pushBody(entityId: string, second: number, value: number): unknown {
  return {
    feature_view: 'job',
    records: [{ entity_id: entityId, event_timestamp: momentAt(second), vector: [value, 0] }],
  };
}

function momentAt(second: number): string {
  return new Date(Date.UTC(2026, 0, 1) + second * 1_000).toISOString();
}

function lookupBody(ids: readonly string[], minSnapshot = 0): unknown {
  return {
    min_snapshot: minSnapshot,
    lookups: [{ feature_view: 'job', entity_ids: ids }],
  };
}

function vectorsIn({ status, body }: Told): unknown {
  expect(status, JSON.stringify(body)).toBe(200);
  return (body as { results: { vectors: unknown }[] }).results[0]!.vectors;
}

function pidsOf(server: ServerProcess): ReturnType<typeof processesOf> {
  return processesOf(server.child.pid!);
}

test(
  'what one worker passed on to the writer, all of them answer with: rows, views, erasures, other files',
  { timeout: 240_000 },
  async () => {
    const server = await start();
    const connections = connect(server);
    for (const [at, connection] of connections.entries()) {
      const pushed = await connection.send('POST', '/v1/push', pushBody('a', at, at));
      expect(pushed.status).toBe(200);
      const { snapshot } = pushed.body as { snapshot: number };
      const answers = await Promise.all(
        connections.map(async (each) =>
          each.send('POST', '/v1/lookup', lookupBody(['a'], snapshot)),
        ),
      );
      for (const answer of answers) expect(vectorsIn(answer)).toEqual([[at, 0]]);
    }
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    for (const process of ['worker-1', 'worker-2']) {
      const counted = new RegExp(
        `^tidemark_lookup_rows_total\\{[^}]*process="${process}"[^}]*\\} (\\d+)$`,
        'm',
      ).exec(metrics);
      expect(Number(counted?.[1])).toBeGreaterThan(0);
    }
    expect(metrics).toContain(
      'tidemark_store_revisions{feature_view="job",version="v1",process="writer"} 16',
    );
    expect(metrics.match(/^# TYPE tidemark_lookup_rows_total /gm)).toHaveLength(1);

    const feed = await fetch(`${server.url}/v1/changes?after=0`);
    const reader = feed.body!.getReader();
    const { value } = await reader.read();
    expect(new TextDecoder().decode(value)).toContain('"view"');
    await reader.cancel();
    const lines = await fetch(`${server.url}/v1/push?feature_view=job`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: `{"entity_id":"b","event_timestamp":"${momentAt(1)}","vector":[1,2]}\n`,
    });
    expect(await lines.json()).toMatchObject({ versions: { v1: { latest: 1 } } });

    const everywhere = async (): Promise<unknown[]> =>
      Promise.all(
        connections.map(async (each) => {
          const { body } = await each.send('POST', '/v1/lookup', lookupBody(['a']));
          const { results } = body as { results?: { reasons: unknown[]; vectors: unknown[] }[] };
          return results?.[0]!.reasons[0] ?? results?.[0]!.vectors[0] ?? body['code'];
        }),
      );
    await server.ask('POST', '/v1/compact', { feature_view: 'job', version: 'v1' });
    expect(new Set((await everywhere()).map(String))).toEqual(new Set(['15,0']));
    await server.ask('POST', '/v1/erase', { entity: 'job', entity_ids: ['a'] });
    expect(new Set(await everywhere())).toEqual(new Set(['ERASED']));
    await fetch(`${server.url}/v1/feature-views/job`, { method: 'DELETE' });
    expect(new Set(await everywhere())).toEqual(new Set(['VIEW_NOT_FOUND']));
    expect(await server.send('GET', '/nowhere')).toMatchObject({ status: 404 });
    expect(await server.send('GET', '/readyz')).toMatchObject({
      status: 200,
      body: { ready: true },
    });
  },
);

test(
  'a worker that is killed fails the requests of its own connections, and another takes its place',
  { timeout: 240_000 },
  async () => {
    const server = await start();
    await server.ask('POST', '/v1/push', pushBody('a', 1, 1));
    const connections = connect(server);
    const failures = connections.map(() => 0);
    const over = new AbortController();
    const loops = connections.map(async (connection, at) => {
      while (!over.signal.aborted) {
        try {
          expect(vectorsIn(await connection.send('POST', '/v1/lookup', lookupBody(['a'])))).toEqual(
            [[1, 0]],
          );
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
          failures[at]!++;
        }
        await sleep(PACE_MS);
      }
    });
    const [killed] = pidsOf(server).workers;
    process.kill(killed!, 'SIGKILL');
    await vi.waitUntil(() => failures.some((count) => count > 0), PATIENCE);
    await vi.waitUntil(() => {
      const { workers } = pidsOf(server);
      return workers.length === WORKERS && !workers.includes(killed!);
    }, PATIENCE);
    over.abort();
    await Promise.all(loops);
    expect(Math.max(...failures)).toBe(1);
    expect(failures.filter((count) => count === 0).length).toBeGreaterThan(0);
    // Slots of a reader that is gone would keep pages from being used again.
    const bytes = async (): Promise<number> => {
      const view = await server.ask<{ versions: { v1: { file_bytes: number } } }>(
        'GET',
        '/v1/feature-views/job',
      );
      return view.versions.v1.file_bytes;
    };
    const before = await bytes();
    for (let at = 0; at < 150; at++) await server.ask('POST', '/v1/push', pushBody('a', at, at));
    expect((await bytes()) - before).toBeLessThan(2 ** 20);
  },
);

/** How a connection ends with its process, and that of a moment when there is no worker at all. */
const BREAKS = new Set<unknown>(['ECONNRESET', 'EPIPE', 'ECONNREFUSED']);

/** What clients saw while processes were killed under them. */
interface Seen {
  reads: number;
  /** Requests whose connection broke. */
  broken: number;
  /** Writes that were told to come back. */
  refused: number;
}

/** Reads and writes all the time that `kill` takes; then all that was acknowledged must be there, once. */
async function underKills(
  server: ServerProcess,
  kill: (progress: () => Promise<void>) => Promise<void>,
): Promise<Seen> {
  const seen: Seen = { reads: 0, broken: 0, refused: 0 };
  await server.ask('POST', '/v1/push', pushBody('reader', 1, 1));
  const [pusher, ...readers] = connect(server, 5);
  const over = new AbortController();
  const send = async (connection: Connection, ...asked: Parameters<Connection['send']>) => {
    try {
      return await connection.send(...asked);
    } catch (error) {
      if (!BREAKS.has((error as NodeJS.ErrnoException).code)) throw error;
      seen.broken++;
      return undefined;
    }
  };
  const reading = readers.map(async (reader) => {
    while (!over.signal.aborted) {
      const answer = await send(reader, 'POST', '/v1/lookup', lookupBody(['reader', 'pushed']));
      if (answer !== undefined) {
        expect((vectorsIn(answer) as unknown[])[0]).toEqual([1, 0]);
        seen.reads++;
      }
      await sleep(PACE_MS);
    }
  });
  let snapshot = 0;
  let second = 0;
  const pushing = (async () => {
    while (!over.signal.aborted) {
      const answer = await send(pusher!, 'POST', '/v1/push', pushBody('pushed', second, second));
      if (answer?.status === 200) {
        snapshot = answer.body['snapshot'] as number;
        second++;
        const told = await send(
          readers[0]!,
          'POST',
          '/v1/lookup',
          lookupBody(['pushed'], snapshot),
        );
        if (told !== undefined) expect(vectorsIn(told)).toEqual([[second - 1, 0]]);
      } else if (answer !== undefined) {
        const { status, body, headers } = answer;
        expect([status, body['code'], headers['retry-after']]).toEqual([
          503,
          'WRITER_UNAVAILABLE',
          '1',
        ]);
        seen.refused++;
      }
      await sleep(PACE_MS);
    }
  })();
  const progress = async (): Promise<void> => {
    const before = second;
    await vi.waitUntil(() => second > before + 5, PATIENCE);
  };
  await kill(progress);
  await progress();
  over.abort();
  await Promise.all([pushing, ...reading]);
  const { revisions } = await server.ask<{ revisions: { event_timestamp: string }[] }>(
    'POST',
    '/v1/timeline',
    { feature_view: 'job', entity_id: 'pushed', limit: 1_000, at_snapshot: snapshot },
  );
  const last = revisions.toReversed().slice(-second);
  expect(last.map(({ event_timestamp }) => Date.parse(event_timestamp))).toEqual(
    Array.from({ length: second }, (_, at) => Date.parse(momentAt(at))).slice(-last.length),
  );
  const view = await server.ask<{ versions: { v1: { revisions: number } } }>(
    'GET',
    '/v1/feature-views/job',
  );
  expect(view.versions.v1.revisions).toBe(second + 1);
  return seen;
}

test(
  'without the writer reads go on and writes are told when to come back; what was acknowledged is there once',
  { timeout: 240_000 },
  async () => {
    const server = await start();
    const seen = await underKills(server, async (progress) => {
      for (let kills = 0; kills < 2; kills++) {
        await progress();
        process.kill(pidsOf(server).writer[0]!, 'SIGKILL');
        await vi.waitUntil(() => pidsOf(server).writer.length === 1, PATIENCE);
      }
    });
    expect(seen.broken).toBe(0);
    expect(seen.reads).toBeGreaterThan(0);
    expect(seen.refused).toBeGreaterThan(0);
    expect(pidsOf(server).workers).toHaveLength(WORKERS);
  },
);

/** Has every flush of a process wait for ever while there is the file that `HELD` names. */
const HOLD = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
int fdatasync(int fd) {
  while (access(getenv("HELD"), F_OK) == 0) usleep(1000);
  return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
`;

test(
  'what a lost writer had committed and not flushed was never there, and its place is taken by other rows',
  { timeout: 240_000 },
  async ({ skip }) => {
    const folder = tempDirectory();
    const [source, library, held] = ['hold.c', 'hold.so', 'held'].map((name) => join(folder, name));
    writeFileSync(source!, HOLD);
    const gcc = spawnSync('gcc', ['-shared', '-fPIC', '-o', library!, source!, '-ldl']);
    if (gcc.status !== 0 && process.env['CI'] !== 'true') skip('gcc is missing');
    vi.stubEnv('HELD', held);
    vi.stubEnv('LD_PRELOAD', library);
    const server = await start();
    const connections = connect(server);
    const read = async (): Promise<unknown[]> =>
      Promise.all(
        connections.map(async (each) =>
          vectorsIn(await each.send('POST', '/v1/lookup', lookupBody(['a']))),
        ),
      );
    await server.ask('POST', '/v1/push', pushBody('a', 1, 1));
    writeFileSync(held!, '');
    const lost = new Connection(server.url).send('POST', '/v1/push', pushBody('a', 2, 2));
    const file = join(server.data, 'views/job/v1/data.mdb');
    await vi.waitUntil(() => !isSettled(file), PATIENCE);
    // By now it is in the files that they read, and above their snapshot.
    expect(new Set((await read()).map(String))).toEqual(new Set(['1,0']));
    process.kill(pidsOf(server).writer[0]!, 'SIGKILL');
    rmSync(held!);
    expect((await lost).status).toBe(503);
    expect(new Set((await read()).map(String))).toEqual(new Set(['1,0']));
    const pushed = await vi.waitUntil(async () => {
      const { status, body } = await server.send('POST', '/v1/push', pushBody('a', 3, 3));
      return status === 200 && (body as { snapshot: number });
    }, PATIENCE);
    const { revisions } = await server.ask<{ revisions: unknown[] }>('POST', '/v1/timeline', {
      feature_view: 'job',
      entity_id: 'a',
      at_snapshot: pushed.snapshot,
    });
    expect(revisions).toHaveLength(2);
    await vi.waitUntil(async () => {
      const vectors = await read();
      return vectors.every((each) => String(each) === '3,0');
    }, PATIENCE);
  },
);

/** A soak where it is set: see the script test:workers. */
const SECONDS = Number(process.env['WORKERS_SECONDS'] ?? 1);

test(
  'whichever process is killed, what was acknowledged is there once, and connections can be made anew',
  { timeout: 240_000 + SECONDS * 2_000 },
  async ({ annotate }) => {
    const server = await start();
    const killed = { writer: 0, workers: 0 };
    const seen = await underKills(server, async () => {
      const end = performance.now() + SECONDS * 1_000;
      for (let at = 0; at === 0 || performance.now() < end; at++) {
        const kind = at % 3 === 1 ? 'writer' : 'workers';
        const pids = pidsOf(server)[kind];
        const pid = pids[at % Math.max(1, pids.length)];
        if (pid !== undefined) {
          process.kill(pid, 'SIGKILL');
          killed[kind]++;
        }
        await sleep(1_000);
      }
    });
    await annotate(JSON.stringify({ ...seen, killed }));
    expect(seen.reads).toBeGreaterThan(0);
    await vi.waitUntil(() => pidsOf(server).workers.length === WORKERS, PATIENCE);
  },
);

test(
  'SIGTERM answers what was asked, ends all processes and exits with 0; a kill -9 ends them too',
  { timeout: 240_000 },
  async () => {
    const server = await start();
    const pushes = connect(server).map(async (connection, at) =>
      connection.send('POST', '/v1/push', pushBody('a', at, at)).then(
        ({ status }) => status,
        () => 'refused',
      ),
    );
    await Promise.race(pushes);
    const { writer, workers } = pidsOf(server);
    const code = await server.terminate();
    expect(code).toBe(0);
    expect(await Promise.all(pushes)).toContain(200);
    for (const pid of [...writer, ...workers]) expect(isAlive(pid)).toBe(false);

    const other = await start();
    const children = pidsOf(other);
    await other.kill();
    const pids = [...children.writer, ...children.workers];
    await vi.waitUntil(() => !pids.some(isAlive), PATIENCE);
  },
);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
