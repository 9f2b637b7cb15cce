import { statSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { Broker } from '../../test/kafka/broker.ts';
import { startChild } from '../harness/child.ts';
import { watchCpu } from '../harness/cpu.ts';
import { DISK, writeSynced } from '../harness/disk.ts';
import { removeFolder } from '../harness/folder.ts';
import type { Contender } from '../harness/rows.ts';
import { Server } from '../harness/server.ts';
import { dataFile } from '../store/histories.ts';
import type { FilledTopic } from './records.ts';

/** Names in the table. */
export const IDLE = 'kafkajs, doing nothing';
export const TIDEMARK = 'Tidemark, durable';

/** Of one write to the disk, as much as a large commit has. */
export const SYNCED_BYTES = 4e6;
const SYNCED_SECONDS = 3;
const IDLE_CONSUMER = join(import.meta.dirname, 'idle-consumer.ts');
/** Between looks at how far it is. */
const POLL_MS = 100;

/** Reads the topic for so long, again and again, in a process of its own. */
export function idleConsumer(broker: Broker, filled: FilledTopic, seconds: number): Contender {
  return {
    name: IDLE,
    group: groupOf(filled),
    turn: eachAnew(async () => {
      const told = Promise.withResolvers<number>();
      const child = await startChild({
        command: process.execPath,
        args: [IDLE_CONSUMER, broker.address, filled.topic, `${seconds}`],
        ready: /^joined$/,
        onLine: (line) => {
          const records = /^records (\d+)$/.exec(line)?.[1];
          if (records !== undefined) told.resolve(Number(records));
        },
      });
      const stop = watch(broker, child.pid, filled);
      const sample = stop(await told.promise);
      await child.close();
      return sample;
    }),
  };
}

/** As many of the vectors as the disk takes when they are all that is written. */
export function disk(folder: string, filled: FilledTopic): Contender {
  return {
    name: DISK,
    group: groupOf(filled),
    turn: eachAnew(async () => {
      const { rate } = await writeSynced(folder, SYNCED_BYTES, SYNCED_SECONDS);
      const bytes = rate * SYNCED_BYTES;
      return { records: bytes / (filled.dim * 4), vectors: bytes / 1e6 };
    }),
  };
}

/** Nobody keeps anything from one turn to the next: there is nothing to warm up. */
function eachAnew(turn: () => Promise<Record<string, number>>): Contender['turn'] {
  return async (isWarmUp) => (isWarmUp ? {} : turn());
}

/** Stores the topic's records in a new store, for so long: what counts is what is durable then. */
export function tidemark(
  broker: Broker,
  folder: string,
  filled: FilledTopic,
  seconds: number,
): Contender {
  return {
    name: TIDEMARK,
    group: groupOf(filled),
    turn: eachAnew(async () => {
      const home = await mkdtemp(join(folder, 'turn-'));
      const data = join(home, 'data');
      const source = {
        name: 'vectors',
        content: 'vector',
        topics: [filled.topic],
        feature_view: 'job',
        version: 'v1',
        known_timestamp: 'record',
        ...filled.format.mapping,
      };
      const settings = { kafka: { brokers: [broker.address] }, sources: [source] };
      const server = await Server.start({ folder: home, data, settings });
      const view = {
        entity: 'job',
        join_key: 'job_id',
        version: 'v1',
        dim: filled.dim,
        dtype: 'float32',
      };
      await server.ask('PUT', '/v1/feature-views/job', view);
      while ((await positionsOf(server)).state !== 'running') await delay(2);
      const stop = watch(broker, server.pid, filled);
      const records = await storedWithin(seconds, server, filled);
      const sample = stop(records);
      // It goes on reading, if there is more.
      const revisions = await revisionsOf(server, records);
      const { size } = statSync(dataFile(data));
      await server.close();
      removeFolder(home);
      return { ...sample, stored: size / revisions };
    }),
  };
}

/** What is stored after so long, or all of it; asks seldom, since to answer takes time from the work. */
async function storedWithin(
  seconds: number,
  server: Server,
  { format }: FilledTopic,
): Promise<number> {
  const end = performance.now() + seconds * 1_000;
  for (;;) {
    const { stored } = await positionsOf(server);
    const left = end - performance.now();
    if (left <= 0 || stored >= format.records) return stored;
    await delay(Math.min(POLL_MS, left));
  }
}

function groupOf({ format, partitions }: FilledTopic): string {
  return `${format.name}, ${partitions === 1 ? 'one partition' : `${partitions} partitions`}`;
}

/** What was measured of so many records, when it is over. */
function watch(broker: Broker, pid: number, { dim }: FilledTopic) {
  const own = watchCpu(pid);
  const ofBroker = watchCpu(broker.pid!);
  const start = performance.now();
  return (records: number) => {
    const ms = performance.now() - start;
    return {
      records: (records / ms) * 1_000,
      vectors: (records * dim * 4) / ms / 1_000,
      own: own() / ms,
      broker: ofBroker() / ms,
      each: (own() * 1_000) / records,
    };
  };
}

async function positionsOf(server: Server): Promise<{ state: string; stored: number }> {
  // Also when it is not ready.
  const answer = await fetch(`${server.url}/readyz`);
  const { checks } = (await answer.json()) as {
    checks: Record<string, { state: string; partitions: { next_offset: number | null }[] }>;
  };
  const { state, partitions } = checks['source vectors']!;
  if (state === 'halted') throw new Error('the source has halted');
  return { state, stored: partitions.reduce((sum, each) => sum + (each.next_offset ?? 0), 0) };
}

/**
 * How many records have become revisions by now. Throws where that is fewer than were counted, or
 * one was not the newest of its entity then.
 */
async function revisionsOf(server: Server, counted: number): Promise<number> {
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const told = metrics.matchAll(/^tidemark_ingest_events_total\{(.*)\} (\d+)$/gm);
  let revisions = 0;
  for (const [, labels, count] of told) {
    if (labels!.includes('"latest"')) revisions += Number(count);
    else if (count !== '0') throw new Error(`${count} events of ${labels}`);
  }
  if (revisions < counted) throw new Error(`stored ${revisions} of ${counted}`);
  return revisions;
}
