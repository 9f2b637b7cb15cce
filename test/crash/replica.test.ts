import { once } from 'node:events';
import { createServer } from 'node:net';

import { expect, test } from 'vitest';

import { formatInstant, micros } from '../../src/ground/time.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { seeded } from '../model/random.ts';
import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

const KILLS = Number(process.env['CRASH_KILLS'] ?? 4);
const ENTITIES = 30;
const DIM = 64;
const random = seeded(20_261_122);

async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, 'close');
  return port;
}

/** Pushes until the server is gone; how many of the revisions were acknowledged. */
async function pushAway(server: ServerProcess, pushed: { count: number }): Promise<void> {
  for (;;) {
    const records = Array.from({ length: 1 + random(60) }, () => ({
      entity_id: `e${random(ENTITIES)}`,
      event_timestamp: formatInstant(micros(random(10_000))),
      vector: random(9) === 0 ? null : Array.from({ length: DIM }, () => random(1_000)),
    }));
    try {
      await server.ask('POST', '/v1/push', { feature_view: 'job', known: 'event', records });
      pushed.count += records.length;
    } catch (error) {
      // Only a server that goes is what this is about.
      if (error instanceof TypeError || String(error).includes('SHUTTING_DOWN')) return;
      throw error;
    }
  }
}

async function snapshotOf(server: ServerProcess): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(/^tidemark_store_snapshot (\d+)$/m.exec(text)![1]);
}

async function bodyOf(server: ServerProcess, path: string, body?: unknown): Promise<string> {
  const isLines = typeof body === 'string';
  const answer = await fetch(server.url + path, {
    ...(body !== undefined && {
      method: 'POST',
      headers: { 'content-type': isLines ? 'application/x-ndjson' : 'application/json' },
      body: isLines ? body : JSON.stringify(body),
    }),
  });
  expect([path, answer.status]).toEqual([path, 200]);
  return answer.text();
}

/** All that there is, and questions about it, as bytes. */
async function answersOf(server: ServerProcess, at_snapshot: number): Promise<string[]> {
  const ids = Array.from({ length: ENTITIES + 1 }, (_, at) => `e${at}`);
  const changes = await bodyOf(server, '/v1/changes?vectors=true');
  const all = [changes.replace(/\n\{"type":"watermark".*\n$/, '')];
  for (const entity_id of ids) {
    let cursor: string | undefined;
    do {
      const page = await bodyOf(server, '/v1/timeline', {
        feature_view: 'job',
        entity_id,
        include_vectors: true,
        ...(cursor === undefined ? { at_snapshot } : { cursor }),
      });
      all.push(page);
      cursor = (JSON.parse(page) as { next: string | null }).next ?? undefined;
    } while (cursor !== undefined);
  }
  const lookups = [{ feature_view: 'job', entity_ids: ids }];
  for (const as_of of [null, 5_000, 50]) {
    const moment = as_of === null ? null : formatInstant(micros(as_of));
    all.push(await bodyOf(server, '/v1/lookup', { lookups, as_of: moment, at_snapshot }));
  }
  const spine = ids.flatMap((job_id) =>
    [7, 700, 7_000].map((at) => ({ job_id, event_timestamp: formatInstant(micros(at)) })),
  );
  const lines = spine.map((row) => `${JSON.stringify(row)}\n`).join('');
  const query = `feature_views=job&created_timestamps=true&at_snapshot=${at_snapshot}`;
  all.push(await bodyOf(server, `/v1/get-historical-features?${query}`, lines));
  return all;
}

test(`after ${KILLS} kills of a leader under load, of its replica, or of both, they answer alike, byte for byte`, async () => {
  const [data, copy] = [tempDirectory(), tempDirectory()];
  const port = await freePort();
  const startLeader = async () => ServerProcess.start(data, ['--port', String(port)]);
  const startReplica = async () =>
    ServerProcess.start(copy, ['--follow', `http://127.0.0.1:${port}`]);
  let leader = await startLeader();
  await leader.ask('PUT', '/v1/feature-views/job', {
    entity: 'job',
    join_key: 'job_id',
    version: 'v1',
    dim: DIM,
    dtype: 'float32',
  });
  let replica = await startReplica();
  const pushed = { count: 0 };
  for (let kill = 0; kill < KILLS; kill++) {
    const before = pushed.count;
    const running = [pushAway(leader, pushed), pushAway(leader, pushed)];
    const enough = 300 + random(1_500);
    await expect
      .poll(() => pushed.count - before, { timeout: 60_000, interval: 1 })
      .toBeGreaterThan(enough);
    const victim = kill % 3;
    if (victim !== 0) {
      await replica.kill();
      replica = await startReplica();
    }
    if (victim !== 1) {
      await leader.kill();
      await Promise.all(running);
      leader = await startLeader();
    } else {
      await leader.terminate();
      await Promise.all(running);
      leader = await startLeader();
    }
  }
  const snapshot = await snapshotOf(leader);
  await expect
    .poll(async () => snapshotOf(replica), { timeout: 60_000 })
    .toBeGreaterThanOrEqual(snapshot);
  const expected = await answersOf(leader, snapshot);
  expect(await answersOf(replica, snapshot)).toEqual(expected);
  expect(expected[0]!.split('\n').length).toBeGreaterThan(pushed.count * 0.9);
  for (const server of [replica, leader]) expect(await server.terminate()).toBe(0);
  for (const directory of [copy, data]) {
    expect((await verifyStore(directory)).problems).toEqual([]);
  }
});
