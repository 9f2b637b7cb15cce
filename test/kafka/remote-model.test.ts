import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import {
  type EmbeddingsStub,
  refuse,
  startEmbeddingsStub,
  stubVector,
} from '../support/embeddings-stub.ts';
import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';
import { MOMENT, range, SOON } from './bench.ts';
import { Cluster, connection, describeKafka } from './cluster.ts';

const REFUSED = 'a text that is refused';
const DEADLY = 'a text that the server dies of';
const VIEW = {
  entity: 'job',
  join_key: 'job_id',
  version: 'v1',
  dim: 2,
  dtype: 'float32',
  model: { name: 'far', prompt: { template: '{{title}}', fields: ['title'] } },
};

async function startWith(stub: EmbeddingsStub, topic: string): Promise<ServerProcess> {
  const config = join(tempDirectory(), 'tidemark.yaml');
  const settings = {
    kafka: { brokers: connection().brokers },
    remote_models: [{ name: 'far', url: stub.url, model: 'theirs', dim: 2, retries: 0 }],
    sources: [
      {
        name: 'jobs',
        feature_view: 'job',
        version: 'v1',
        content: 'fields',
        topics: [topic],
        event_timestamp: { path: 'at', unit: 'rfc3339' },
        known_timestamp: 'arrival',
        fields: { title: 'title' },
      },
    ],
  };
  writeFileSync(config, JSON.stringify(settings));
  const server = await ServerProcess.start(tempDirectory(), ['--config', config]);
  await server.ask('PUT', '/v1/feature-views/job', VIEW);
  return server;
}

describeKafka('a Kafka source whose model another server runs', () => {
  const cluster = Cluster.open();

  test('loses nothing while that server is away, and lets only those texts go that it refuses (A12, A14)', async () => {
    const topic = await cluster.topic();
    const stub = await startEmbeddingsStub();
    const answer = stub.manner;
    stub.manner = (asked, response) => {
      if (asked.input.includes(REFUSED)) refuse(422)(asked, response);
      else if (asked.input.includes(DEADLY)) response.socket!.resetAndDestroy();
      else answer(asked, response);
    };
    const well = stub.manner;
    const server = await startWith(stub, topic);
    const titles = range(0, 120).map((at) => (at % 60 === 7 ? REFUSED : `${'x'.repeat(at)}job`));
    titles[30] = DEADLY;
    const produce = async (from: number, to: number): Promise<void> =>
      cluster.produce(
        topic,
        range(from, to).map((at) => ({
          key: `job-${at}`,
          value: JSON.stringify({ at: MOMENT, title: titles[at] }),
        })),
      );
    const lookedUp = async () => {
      const entity_ids = range(0, 120).map((at) => `job-${at}`);
      const body = { lookups: [{ feature_view: 'job', entity_ids }] };
      type Answer = { results: { vectors: (number[] | null)[] }[] };
      return (await server.ask<Answer>('POST', '/v1/lookup', body)).results[0]!.vectors;
    };
    const stored = async () => (await lookedUp()).filter((vector) => vector !== null).length;

    await produce(0, 60);
    await expect.poll(stored, SOON).toBe(58);
    stub.manner = (_asked, response) => response.socket!.resetAndDestroy();
    await produce(60, 120);
    await expect
      .poll(async () => (await server.send('GET', '/readyz')).body, SOON)
      .toMatchObject({ checks: { 'model far': { ok: false, circuit: 'open' } } });
    expect(await stored()).toBe(58);
    stub.manner = well;
    await expect.poll(stored, SOON).toBe(117);
    expect(await lookedUp()).toEqual(
      titles.map((title) => (title === REFUSED || title === DEADLY ? null : stubVector(title))),
    );
    const letters = await server.ask<{ dead_letters: { offset: number; code: string }[] }>(
      'GET',
      '/v1/dead-letters?feature_view=job',
    );
    expect(letters.dead_letters.map(({ offset, code }) => [offset, code])).toEqual([
      [7, 'BAD_INPUT'],
      [30, 'INFERENCE_FAILED'],
      [67, 'BAD_INPUT'],
    ]);
  });
});
