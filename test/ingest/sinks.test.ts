import { expect, onTestFinished, test } from 'vitest';

import { Sinks } from '../../src/ingest/kafka/sinks.ts';
import { sinkConfigSchema } from '../../src/ingest/sink-config.ts';
import { RevisionBatch } from '../../src/store/batch.ts';
import { sinkKey } from '../../src/store/drained.ts';
import type { Store } from '../../src/store/store.ts';
import { SILENT } from '../support/replica.ts';
import { batchOf, testStore } from '../support/store.ts';

/** Nobody listens there. */
const kafka = { brokers: ['127.0.0.1:1'], ssl: false };

function start(store: Store, names: readonly string[]): Sinks {
  const sinks = names.map((name) =>
    sinkConfigSchema.parse({ name, feature_view: 'job', version: 'v1', topic: 'jobs' }),
  );
  const all = new Sinks(store, { kafka, sinks, sources: [] }, SILENT);
  onTestFinished(() => all.stop());
  all.start();
  return all;
}

function positionsOf(store: Store): string[] {
  const { environment, offsets } = store.version('job', 'v1');
  environment.refresh();
  return offsets.all().map(({ key, next }) => `${key.source} ${key.topic} ${next}`);
}

test('the position of a sink that is not configured any more is forgotten, so that it holds nothing back', async () => {
  const store = testStore();
  const at = { source: 's', topic: 'jobs', partition: 0 };
  for (const key of [sinkKey('old', 'jobs'), sinkKey('kept', 'jobs'), sinkKey('kept', 'x'), at]) {
    const offset = { ...key, expected: undefined, next: BigInt(store.snapshot) };
    await store.commit('job', 'v1', { rows: new RevisionBatch(8, 0), offset });
  }
  start(store, ['kept']);
  await expect.poll(() => positionsOf(store).length).toBe(2);
  expect(positionsOf(store)).toEqual([
    `s jobs ${store.snapshot}`,
    `sink/kept jobs ${store.snapshot}`,
  ]);
});

test('a sink whose brokers are away says so, and what waits for it', async () => {
  const store = testStore();
  const rows = batchOf([{ id: 'a', event: 1, vector: [1, 2] }]);
  const sinks = start(store, ['out']);
  const [sink] = sinks.all;
  await expect.poll(() => sink!.status().state).toBe('running');
  await store.commit('job', 'v1', { rows });
  await expect
    .poll(() => sink!.status(), { timeout: 20_000 })
    .toMatchObject({ name: 'out', state: 'degraded', message: expect.any(String) as string });
  expect(sink!.waiting()).toMatchObject({ records: 1 });
  expect(sink!.counters.errors).toBeGreaterThan(0);
  await sinks.stop();
  expect(sink!.status().state).toBe('stopped');
});

test('a sink waits for its view, and goes on when it is there', async () => {
  const store = testStore();
  await store.dropView('job');
  const [sink] = start(store, ['out']).all;
  await expect.poll(() => sink!.status().state).toBe('degraded');
  expect(sink!.waiting()).toBeUndefined();
  store.createView({
    name: 'job',
    entity: 'job',
    join_key: 'job_id',
    created_timestamp: store.clock(),
    aliases: { current: 'v1' },
    versions: {
      v1: { version: 'v1', dim: 2, dtype: 'float32', created_timestamp: store.clock() },
    },
  });
  await expect.poll(() => sink!.status().state, { timeout: 20_000 }).toBe('running');
});
