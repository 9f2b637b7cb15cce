import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { expect, test } from 'vitest';

import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';
import { MOMENT, range, SOON } from './bench.ts';
import { Cluster, connection, describeKafka } from './cluster.ts';

/** Records that a server finds when it comes back after a day. */
const BACKLOG = Number(process.env['BACKLOG_RECORDS'] ?? 40_000);
/** What a server may hold of them at once, beside what it takes by itself. */
const BACKLOG_BYTES_MAX = 400e6;
const MEBIBYTE = 1_048_576;

const JOB = {
  entity: 'job',
  join_key: 'job_id',
  version: 'v1',
  dim: 128,
  dtype: 'float32',
  model: {
    name: 'hashing',
    prompt: { template: '{{title}}', fields: ['title'], chars_max: { title: 2_000 } },
  },
};

interface Check {
  state: string;
  message?: string;
  partitions: { next_offset: number | null; lag: number }[];
}

function configOf(topic: string, more: object = {}): string[] {
  const path = join(tempDirectory(), 'tidemark.yaml');
  const source = {
    name: 's',
    feature_view: 'job',
    version: 'v1',
    content: 'fields',
    topics: [topic],
    group_prefix: topic,
    entity_id: 'id',
    event_timestamp: 'record',
    known_timestamp: 'record',
    ...more,
  };
  const settings = {
    log_level: 'info',
    models: resolve('.cache/models'),
    kafka: connection(),
    sources: [source],
  };
  writeFileSync(path, JSON.stringify(settings));
  return ['--config', path];
}

function job(id: string, title: string, at = 0) {
  const timestamp = String(Date.parse(MOMENT) + at * 1_000);
  return { key: id, value: JSON.stringify({ id, title }), timestamp };
}

async function start(data: string, config: string[]): Promise<ServerProcess> {
  const server = await ServerProcess.start(data, config);
  await server.ask('PUT', '/v1/feature-views/job', JOB);
  return server;
}

async function check(server: ServerProcess): Promise<Check> {
  const { body } = await server.send('GET', '/readyz');
  return (body as { checks: { 'source s': Check } }).checks['source s'];
}

async function nextOffset(server: ServerProcess): Promise<number | null | undefined> {
  return (await check(server)).partitions[0]?.next_offset;
}

/** A sample of a metric, or 0 where it has none yet. */
async function metric(server: ServerProcess, sample: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${sample} `));
  return Number(line?.slice(sample.length) ?? 0);
}

/** The ids of the entities that have a vector. */
async function present(server: ServerProcess, ids: readonly string[]): Promise<string[]> {
  const { results } = await server.ask<{ results: [{ statuses: string[] }] }>(
    'POST',
    '/v1/lookup',
    { lookups: [{ feature_view: 'job', entity_ids: ids }] },
  );
  return ids.filter((_, at) => results[0].statuses[at] === 'PRESENT');
}

describeKafka('a server that reads texts from a topic', () => {
  const cluster = Cluster.open();

  test('that was compacted past where it had read goes on with what is left, and calls nothing lost', async () => {
    const topic = await cluster.topic(1, {
      'cleanup.policy': 'compact',
      'segment.ms': '100',
      'min.cleanable.dirty.ratio': '0.001',
      'retention.ms': '-1',
    });
    const data = tempDirectory();
    const first = await start(data, configOf(topic));
    await cluster.produce(
      topic,
      range(0, 10).map((at) => job('a', `Baker ${at}`, at)),
    );
    await expect.poll(() => nextOffset(first), SOON).toBe(10);
    expect(await first.terminate()).toBe(0);
    // Each record of `a` is in the way of the next one. What is in the newest segment stays.
    for (const at of range(10, 40)) {
      await cluster.produce(topic, [job('a', `Baker ${at}`, at), job(`b${at}`, 'Chef', at)]);
    }
    await cluster.produce(topic, [{ ...job('b12', '', 50), value: null }]);
    const left = async () => {
      const probe = cluster.client.consumer({ groupId: `probe-${topic}-${performance.now()}` });
      await probe.connect();
      await probe.subscribe({ topics: [topic], fromBeginning: true });
      const held: number[] = [];
      const end = Promise.withResolvers<void>();
      await probe.run({
        eachMessage: async ({ message }) => {
          held.push(Number(message.offset));
          if (message.offset === '70') end.resolve();
        },
      });
      await end.promise;
      await probe.disconnect();
      return held.filter((offset) => offset >= 10);
    };
    await expect
      .poll(async () => (await left()).length, { ...SOON, interval: 1_000 })
      .toBeLessThan(50);
    const second = await start(data, configOf(topic));
    await expect.poll(() => nextOffset(second), SOON).toBe(71);
    const { state } = await check(second);
    expect(state).toBe('running');
    expect(
      await metric(second, 'tidemark_ingest_incidents_total{source="s",kind="record_lost"}'),
    ).toBe(0);
    const ids = range(10, 40).map((at) => `b${at}`);
    expect(await present(second, ['a', ...ids])).toEqual([
      'a',
      ...ids.filter((id) => id !== 'b12'),
    ]);
  });

  test('whose retention ran past it while it was stopped halts, says so, and goes on where it is told to', async () => {
    const topic = await cluster.topic(1, { 'retention.ms': '-1' });
    const data = tempDirectory();
    await cluster.produce(
      topic,
      range(0, 5).map((at) => job(`e${at}`, `Baker ${at}`)),
    );
    const first = await start(data, configOf(topic));
    await expect.poll(() => nextOffset(first), SOON).toBe(5);
    expect(await first.terminate()).toBe(0);
    await cluster.produce(
      topic,
      range(5, 10).map((at) => job(`e${at}`, `Baker ${at}`)),
    );
    await cluster.forget(topic, 8);

    const halted = await start(data, configOf(topic));
    await expect
      .poll(() => check(halted), SOON)
      .toMatchObject({
        state: 'halted',
        message: expect.stringMatching(
          /Kafka deleted the records 5 to 7 of .*on_data_loss: continue/,
        ),
      });
    expect((await halted.send('GET', '/readyz')).status).toBe(503);
    expect(await metric(halted, 'tidemark_ingest_source_state{source="s",state="halted"}')).toBe(1);
    // What is there is answered all the same.
    expect(
      await present(
        halted,
        range(0, 10).map((at) => `e${at}`),
      ),
    ).toHaveLength(5);
    expect(await halted.terminate()).toBe(0);

    const config = configOf(topic, { on_data_loss: 'continue' });
    const told = await start(data, config);
    await expect.poll(() => nextOffset(told), SOON).toBe(10);
    expect(
      await metric(told, 'tidemark_ingest_incidents_total{source="s",kind="record_lost"}'),
    ).toBe(3);
    expect(await present(told, ['e4', 'e5', 'e7', 'e8', 'e9'])).toEqual(['e4', 'e8', 'e9']);
  });

  test('embeds the beginning of a message of one megabyte; a larger one than it takes is a dead letter', async () => {
    const topic = await cluster.topic(1, { 'max.message.bytes': String(4 * MEBIBYTE) });
    const words = 'baker of bread and rye '.repeat(60_000);
    const large = job('large', '');
    const rest = Buffer.byteLength(large.value);
    const fits = job('large', words.slice(0, MEBIBYTE - rest));
    const oversized = job('oversized', words.slice(0, MEBIBYTE - rest));
    const huge = job('huge', words + words);
    for (const message of [job('before', 'Baker'), fits, oversized, huge, job('after', 'Baker')]) {
      await cluster.produce(topic, [message]);
    }
    const server = await start(tempDirectory(), configOf(topic));
    await expect.poll(() => nextOffset(server), SOON).toBe(5);
    expect(Buffer.byteLength(fits.value)).toBe(MEBIBYTE);
    const ids = ['before', 'large', 'oversized', 'huge', 'after'];
    expect(await present(server, ids)).toEqual(['before', 'large', 'after']);
    const { dead_letters } = await server.ask<{ dead_letters: { offset: number; code: string }[] }>(
      'GET',
      '/v1/dead-letters?feature_view=job',
    );
    expect(dead_letters.map(({ offset, code }) => [offset, code])).toEqual([
      [2, 'LIMIT_EXCEEDED'],
      [3, 'LIMIT_EXCEEDED'],
    ]);
  });

  test(`catches up with ${BACKLOG} records in bounded memory, and then has no lag`, async () => {
    const topic = await cluster.topic(2, { 'retention.ms': '-1' });
    const data = tempDirectory();
    const first = await start(data, configOf(topic));
    await expect.poll(async () => (await check(first)).state, SOON).toBe('running');
    await first.terminate();
    for (const from of range(0, BACKLOG / 2_000).map((at) => at * 2_000)) {
      // One text in ten is one that was not there before.
      const titles = range(from, from + 2_000).map((at) =>
        at % 10 === 0 ? `Baker ${at}` : `Chef of kitchen ${at % 700}`,
      );
      const jobs = titles.map((title, at) => job(`e${(from + at) % 9_999}`, title, from + at));
      await cluster.produce(topic, jobs, { partition: (from / 2_000) % 2 });
    }
    const began = performance.now();
    const server = await start(data, configOf(topic));
    const idle = await metric(server, 'process_resident_memory_bytes');
    let most = 0;
    const done = async () => {
      most = Math.max(most, await metric(server, 'process_resident_memory_bytes'));
      const { partitions } = await check(server);
      return partitions.reduce((sum, { next_offset }) => sum + (next_offset ?? 0), 0);
    };
    await expect.poll(done, { timeout: 250_000, interval: 100 }).toBe(BACKLOG);
    const seconds = (performance.now() - began) / 1_000;
    process.stdout.write(
      `${BACKLOG} records in ${seconds.toFixed(1)} s, ${Math.round(most / 1e6)} MB at most, ` +
        `${Math.round(idle / 1e6)} MB at the start\n`,
    );
    for (const partition of [0, 1]) {
      const labels = `{source="s",topic="${topic}",partition="${partition}"}`;
      const lags = ['records', 'seconds'].map((unit) => `tidemark_ingest_lag_${unit}${labels}`);
      for (const lag of lags) expect(await metric(server, lag)).toBe(0);
    }
    expect(most - idle).toBeLessThan(BACKLOG_BYTES_MAX);
  });
});
