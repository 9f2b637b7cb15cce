import { statSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';

import { Redis } from 'ioredis';
import { Packr } from 'msgpackr';

import { RevisionBatch } from '../../src/store/batch.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { FIRST_EVENT } from '../harness/data-set.ts';
import { openJobs } from '../harness/jobs.ts';
import { latestOf } from '../harness/latest.ts';
import type { Options } from '../harness/options.ts';
import { startRedis } from '../harness/redis.ts';
import { startPinned } from '../serving/running.ts';
import { dataFile } from './histories.ts';
import { post } from './post.ts';
import type { PushedRows } from './pushed-rows.ts';

/** Somebody who stores rows and answers when they are on the disk. */
export interface PushTarget {
  name: string;
  /** Of the process that stores, where it is one of its own. */
  pid?: number;
  push(rows: PushedRows): Promise<void>;
  /** The bytes that it has for an entity now. */
  read(id: string): Promise<Uint8Array>;
  /** Of its files. */
  bytes(): number;
  close(): Promise<void>;
}

const MSGPACK = 'application/vnd.msgpack';
/** Its name in the table. */
export const REDIS = 'Redis, MSET';

/** Moments of pushes, one after the other, µs. */
function eventTimes(): () => number {
  let event = FIRST_EVENT;
  return () => (event += 1_000);
}

/** The server, asked over connections that are kept. */
export async function overHttp(folder: string, dim: number, options: Options): Promise<PushTarget> {
  const data = join(folder, 'http');
  const server = await startPinned(folder, data, options);
  const job = { entity: 'job', join_key: 'job_id', version: 'v1', dim, dtype: 'float32' };
  await server.ask('PUT', '/v1/feature-views/job', job);
  const agent = new Agent({ keepAlive: true });
  const packr = new Packr({ useRecords: false });
  const nextEvent = eventTimes();
  return {
    name: 'Tidemark over HTTP',
    pid: server.pid,
    async push({ ids, vectors }) {
      const event_timestamp = nextEvent();
      const records = ids.map((entity_id, row) => ({
        entity_id,
        event_timestamp,
        vector: vectors[row],
      }));
      const body = packr.pack({ feature_view: 'job', records });
      const answer = await post(agent, `${server.url}/v1/push`, body, { 'content-type': MSGPACK });
      const told = JSON.parse(answer.toString()) as Told;
      const { latest } = told.versions.v1;
      if (latest !== ids.length) throw new Error(JSON.stringify(told));
    },
    async read(id) {
      const path = `/v1/feature-views/job/entities/${id}`;
      const { vector } = await server.ask<{ vector: number[] }>('GET', path);
      return new Uint8Array(Float32Array.from(vector).buffer);
    },
    bytes: () => statSync(dataFile(data)).size,
    async close() {
      agent.destroy();
      await server.close();
    },
  };
}

interface Told {
  versions: { v1: { latest: number } };
}

/** The store in the process of who asks. */
export function inProcess(folder: string, dim: number): PushTarget {
  const directory = join(folder, 'in-process');
  const store = openJobs(directory, dim);
  const nextEvent = eventTimes();
  return {
    name: 'Tidemark in process',
    async push({ ids, vectors }) {
      const event = nextEvent();
      const rows = new RevisionBatch(dim * 4, ids.length);
      for (let row = 0; row < ids.length; row++) {
        rows.nextPayload().set(vectors[row]!);
        rows.addRow(ids[row]!, event, event, rows.addFilled());
      }
      await store.commit('job', 'v1', { rows });
    },
    async read(id) {
      const version = store.version('job', 'v1');
      const bytes = new Uint8Array(dim * 4);
      gather(version.vectors, resolveMany(version, [id], latestOf(store)), bytes);
      return bytes;
    },
    bytes: () => statSync(dataFile(directory)).size,
    close: () => store.close(),
  };
}

/** Redis that flushes its log before it answers. */
export async function redis(folder: string, cores: string): Promise<PushTarget> {
  // Rewriting the log meanwhile would be held against it.
  const settings = ['--appendonly', 'yes', '--appendfsync', 'always'];
  const server = await startRedis(folder, cores, [
    ...settings,
    '--auto-aof-rewrite-percentage',
    '0',
  ]);
  const client = new Redis(server.port);
  return {
    name: REDIS,
    pid: server.pid,
    async push({ ids, vectors }) {
      await client.mset(ids.flatMap((id, row) => [id, vectors[row]!]));
    },
    async read(id) {
      return (await client.getBuffer(id))!;
    },
    bytes: () => statSync(join(folder, 'appendonlydir/appendonly.aof.1.incr.aof')).size,
    async close() {
      client.disconnect();
      await server.close();
    },
  };
}
