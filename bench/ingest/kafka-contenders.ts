import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { Broker } from '../../test/kafka/broker.ts';
import { startChild } from '../harness/child.ts';
import { watchCpu } from '../harness/cpu.ts';
import type { Contender } from '../harness/rows.ts';
import { Server } from '../harness/server.ts';
import type { FilledTopic } from './records.ts';

const IDLE = join(import.meta.dirname, 'idle-consumer.ts');
/** Between looks at how far it is: the shorter, the nearer it must be to the end. */
const [POLL_MS_MIN, POLL_MS_MAX] = [10, 1_000];

/** Reads the topic in a process of its own, and does nothing with it. */
export function idleConsumer(broker: Broker, filled: FilledTopic): Contender {
  return {
    name: 'kafkajs, doing nothing',
    group: groupOf(filled),
    async turn() {
      const done = Promise.withResolvers<void>();
      const words = [IDLE, broker.address, filled.topic, String(filled.format.records)];
      const child = await startChild({
        command: process.execPath,
        args: words,
        ready: /^joined$/,
        onLine: (line) => {
          if (line === 'done') done.resolve();
        },
      });
      const stop = watch(broker, child.pid, filled);
      await done.promise;
      const sample = stop();
      await child.close();
      return sample;
    },
  };
}

/** Stores the topic's records in a new store: until the last offset is durable. */
export function tidemark(
  broker: Broker,
  folder: string,
  filled: FilledTopic,
  dim: number,
): Contender {
  return {
    name: 'Tidemark, durable',
    group: groupOf(filled),
    async turn() {
      const home = await mkdtemp(join(folder, 'turn-'));
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
      const server = await Server.start({ folder: home, data: join(home, 'data'), settings });
      const view = { entity: 'job', join_key: 'job_id', version: 'v1', dim, dtype: 'float32' };
      await server.ask('PUT', '/v1/feature-views/job', view);
      while ((await positionsOf(server)).state !== 'running') await delay(2);
      const stop = watch(broker, server.pid, filled);
      await waitUntilStored(server, filled);
      const sample = stop();
      await checkStored(server, filled);
      await server.close();
      return sample;
    },
  };
}

/** Resolves when all is stored; asks seldom, since to answer takes time from the work. */
async function waitUntilStored(server: Server, { format }: FilledTopic): Promise<void> {
  const start = performance.now();
  for (;;) {
    const { stored } = await positionsOf(server);
    if (stored >= format.records) return;
    const left = ((performance.now() - start) * (format.records - stored)) / Math.max(1, stored);
    await delay(Math.min(POLL_MS_MAX, Math.max(POLL_MS_MIN, left / 2)));
  }
}

function groupOf({ format, partitions }: FilledTopic): string {
  return `${format.name}, ${partitions === 1 ? 'one partition' : `${partitions} partitions`}`;
}

/** What was measured of all records, when it is over. */
function watch(broker: Broker, pid: number, { format, bytes }: FilledTopic) {
  const own = watchCpu(pid);
  const ofBroker = watchCpu(broker.pid!);
  const start = performance.now();
  return () => {
    const ms = performance.now() - start;
    return {
      records: (format.records / ms) * 1_000,
      megabytes: bytes / ms / 1_000,
      own: own() / ms,
      broker: ofBroker() / ms,
      each: (own() * 1_000) / format.records,
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

/** Every record has become a revision that was then the newest of its entity. */
async function checkStored(server: Server, { format }: FilledTopic): Promise<void> {
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const told = /^tidemark_ingest_events_total\{.*"latest".*\} (\d+)$/m.exec(metrics)?.[1];
  if (Number(told) !== format.records) throw new Error(`stored ${told} of ${format.records}`);
}
