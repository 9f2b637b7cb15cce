import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, onTestFinished, test } from 'vitest';

import { LetterOutbox } from '../../src/ingest/kafka/letter-outbox.ts';
import type { Outbox } from '../../src/ingest/kafka/outbox.ts';
import { RevisionOutbox } from '../../src/ingest/kafka/revision-outbox.ts';
import { Sink } from '../../src/ingest/kafka/sink.ts';
import { sinkConfigSchema } from '../../src/ingest/sink-config.ts';
import { numbersOf } from '../../src/store/dtype.ts';
import { run } from '../cli/run.ts';
import { ServerProcess } from '../support/server.ts';
import { batchOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { Bench, numbered, range, SOON, vectorMessage } from './bench.ts';
import { Broker, missingForBroker } from './broker.ts';
import { Cluster, connection, describeKafka, SILENT } from './cluster.ts';
import { expectAllOf, readTopic, seqOf } from './topic.ts';

const describeOwnBroker = missingForBroker() === undefined ? describe : describe.skip;

function sinkOf(outbox: Outbox, address?: string): Sink {
  const pace = { idle: 10, retry: 50, retryLongest: 500 };
  const sink = new Sink({
    name: 'out',
    outbox,
    connection: connection(address),
    log: SILENT,
    pace,
  });
  onTestFinished(() => sink.stop());
  sink.start();
  return sink;
}

function outboxOf({ store }: Bench, topic: string, more: object = {}): RevisionOutbox {
  const config = { name: 'out', feature_view: 'job', version: 'v1', topic, ...more };
  return new RevisionOutbox(store, sinkConfigSchema.parse(config));
}

function seqsOf(bench: Bench): number[] {
  return bench.changes().map(({ seq }) => seq);
}

/** Commits one vector of each entity, in one commit. */
async function push(bench: Bench, ids: readonly string[], event: number): Promise<void> {
  const rows = ids.map((id, at) => ({ id, event, vector: [event, at] }));
  await bench.store.commit('job', 'v1', { rows: batchOf(rows) });
}

describeKafka('a sink', () => {
  const cluster = Cluster.open();

  test('publishes each revision as it was committed, with where it comes from', async () => {
    const [from, to] = [await cluster.topic(), await cluster.topic()];
    await cluster.produce(from, [
      vectorMessage('a', [1, 2]),
      { key: 'a', value: null, timestamp: String(Date.parse('2026-03-02T12:00:00Z')) },
    ]);
    const bench = new Bench();
    const source = bench.start({ topics: [from], delete_timestamp: 'record' });
    await expect.poll(() => source.counters.events.latest, SOON).toBe(2);
    await push(bench, ['b'], 7);
    const sink = sinkOf(outboxOf(bench, to));
    const written = await readTopic(to);
    await expect.poll(() => written.length, SOON).toBe(3);
    const created = bench.changes().map((each) => new Date(each.created / 1_000).toISOString());
    expect(written[0]).toMatchObject({
      key: 'a',
      headers: {
        'tidemark-feature-view': 'job',
        'tidemark-version': 'v1',
        'tidemark-dtype': 'float32',
        'tidemark-dim': '2',
        'tidemark-event-timestamp': '2026-03-01T12:00:00Z',
        'tidemark-seq': String(seqsOf(bench)[0]),
        'tidemark-source-topic': from,
        'tidemark-source-partition': '0',
        'tidemark-source-offset': '0',
      },
    });
    expect(Date.parse(written[0]!.headers['tidemark-created-timestamp']!)).toBe(
      Date.parse(created[0]!),
    );
    expect(Array.from(numbersOf(new Uint8Array(written[0]!.value!), 'float32'))).toEqual([1, 2]);
    expect(written[1]).toMatchObject({
      key: 'a',
      value: null,
      headers: { 'tidemark-event-timestamp': '2026-03-02T12:00:00Z' },
    });
    expect(written[2]).toMatchObject({
      key: 'b',
      headers: { 'tidemark-known-timestamp': '1970-01-01T00:00:00.000007Z' },
    });
    expect(written[2]!.headers).not.toHaveProperty('tidemark-source-topic');
    await expect.poll(() => sink.waiting(), SOON).toEqual({ records: 0, seconds: 0 });
    await expect.poll(() => sink.counters, SOON).toMatchObject({ published: 3, errors: 0 });
    expect(sink.status()).toEqual({ name: 'out', state: 'running' });
  });

  test('has an entity in the partition that a Java client gives its key', async () => {
    const topic = await cluster.topic(7);
    const bench = new Bench();
    // What Kafka's own tests say of its hash, murmur2.
    const hashes = {
      '21': -973_932_308,
      foobar: -790_332_482,
      'a-little-bit-long-string': -985_981_536,
      'a-little-bit-longer-string': -1_486_304_829,
      abc: 479_470_107,
    };
    await push(bench, Object.keys(hashes), 1);
    sinkOf(outboxOf(bench, topic));
    const written = await readTopic(topic);
    // A partition that was not there yet has all of them told again.
    await expect.poll(() => new Set(written.map(({ key }) => key)).size, SOON).toBe(5);
    expect(Object.fromEntries(written.map(({ key, partition }) => [key, partition]))).toEqual(
      Object.fromEntries(
        Object.entries(hashes).map(([key, hash]) => [key, (hash & 0x7fffffff) % 7]),
      ),
    );
  });

  test('another Tidemark that reads its topic answers alike, however often it is told', async () => {
    const topic = await cluster.topic(3);
    const bench = new Bench();
    for (const round of range(0, 8)) {
      const rows = range(0, 150).map((at) => ({
        id: `e${at}`,
        event: 1_000 * ((round * 5) % 8) + at,
        known: 9_000 + round,
        vector: (at + round) % 11 === 0 ? null : [at % 7, (round * at) % 5],
      }));
      await bench.store.commit('job', 'v1', { rows: batchOf(rows) });
    }
    const first = sinkOf(outboxOf(bench, topic));
    await expect.poll(() => first.counters.published, SOON).toBe(bench.changes().length);
    await first.stop();
    // One of another name knows of no position, and tells all of it again.
    const again = sinkOf(outboxOf(bench, topic, { name: 'again' }));
    await expect.poll(() => again.counters.published, SOON).toBe(bench.changes().length);
    const other = new Bench();
    const source = other.start({
      topics: [topic],
      encoding: 'bytes',
      known_timestamp: { header: 'tidemark-known-timestamp' },
    });
    const read = (): number => {
      const { latest, history, duplicate } = source.counters.events;
      return latest + history + duplicate;
    };
    await expect.poll(read, SOON).toBe(2 * bench.changes().length);
    expect(factsOf(other)).toEqual(factsOf(bench));
    expect(other.deadLetters()).toEqual([]);
  });

  test('begins at the end where it is told to, and goes on from there after a restart', async () => {
    const topic = await cluster.topic();
    const bench = new Bench();
    await push(bench, ['before'], 1);
    const first = sinkOf(outboxOf(bench, topic, { from: 'end' }));
    await expect.poll(() => first.status().state, SOON).toBe('running');
    await first.stop();
    await push(bench, ['after'], 2);
    await bench.reopen();
    sinkOf(outboxOf(bench, topic, { from: 'end' }));
    const written = await readTopic(topic);
    await expect.poll(() => written.map(({ key }) => key), SOON).toEqual(['after']);
  });

  test('does not publish what was erased before it came to it (A8)', async () => {
    const topic = await cluster.topic();
    const bench = new Bench();
    await push(bench, ['kept', 'gone', 'last'], 1);
    await bench.store.erase({ entity: 'job' }, ['gone']);
    sinkOf(outboxOf(bench, topic));
    const written = await readTopic(topic);
    await expect.poll(() => written.map(({ key }) => key), SOON).toEqual(['kept', 'last']);
  });

  test('waits for a topic that is not there, and says so', async () => {
    const bench = new Bench();
    await push(bench, ['a'], 1);
    const sink = sinkOf(outboxOf(bench, 'no-such-topic'));
    await expect
      .poll(() => sink.status(), SOON)
      .toMatchObject({ state: 'degraded', message: expect.stringContaining('topic') as string });
    expect(sink.waiting()).toMatchObject({ records: 1 });
    expect(sink.counters.errors).toBeGreaterThan(0);
  });
});

/** All that is known of every entity, without what is the store's own. */
function factsOf(bench: Bench): string[] {
  const { vectors } = bench.store.version('job', 'v1');
  return bench
    .changes()
    .map(({ entityId, event, known, vectorId }) => {
      const bytes = new Uint8Array(vectors.vectorBytes);
      if (vectorId >= 0) vectors.copyInto(vectorId, bytes, 0);
      return `${entityId} ${event} ${known} ${vectorId < 0 ? 'deleted' : bytes.toString()}`;
    })
    .toSorted();
}

describeKafka('dead letters in a topic', () => {
  const cluster = Cluster.open();

  test('have their bytes and headers untouched, and the reason beside them', async () => {
    const [from, to] = [await cluster.topic(2), await cluster.topic()];
    const poison = Buffer.from([0xff, 0x00, 0xfe]);
    const at = Date.parse('2026-03-01T12:00:00Z');
    await cluster.produce(
      from,
      [
        vectorMessage('a', [1, 2]),
        { key: poison, value: poison, headers: { trace: 'x1' }, timestamp: String(at) },
        { key: null, value: 'no JSON' },
      ],
      { partition: 1 },
    );
    const bench = new Bench();
    bench.start({ topics: [from] });
    const config = { name: 's', feature_view: 'job', version: 'v1', dead_letter_topic: to };
    const sink = sinkOf(new LetterOutbox(bench.store, config));
    const written = await readTopic(to);
    await expect.poll(() => written.length, SOON).toBe(2);
    expect(written[0]!.value).toEqual(poison);
    expect(written[0]!.headers).toEqual({
      trace: 'x1',
      'tidemark-dlq-source': 's',
      'tidemark-dlq-topic': from,
      'tidemark-dlq-partition': '1',
      'tidemark-dlq-offset': '1',
      'tidemark-dlq-timestamp': '2026-03-01T12:00:00Z',
      'tidemark-dlq-code': bench.deadLetters()[0]!.reason,
      'tidemark-dlq-message': bench.deadLetters()[0]!.message,
    });
    expect(written[1]).toMatchObject({ key: null, headers: { 'tidemark-dlq-offset': '2' } });
    expect(String(written[1]!.value)).toBe('no JSON');
    await expect.poll(() => sink.waiting(), SOON).toEqual({ records: 0 });
    await bench.reopen();
    await cluster.produce(from, [{ key: null, value: 'no JSON either' }]);
    bench.start({ topics: [from] });
    sinkOf(new LetterOutbox(bench.store, config));
    await expect.poll(() => written.length, SOON).toBe(3);
    expect(String(written[2]!.value)).toBe('no JSON either');
  });

  test('have headers of any name, and all that are of one name', async () => {
    const [from, to] = [await cluster.topic(), await cluster.topic()];
    const headers = Object.fromEntries([
      ['__proto__', 'x1'],
      ['constructor', 'x2'],
      ['toJSON', 'x3'],
      ['twice', ['a', 'b']],
    ]);
    await cluster.produce(from, [{ key: null, value: 'no JSON', headers }]);
    const bench = new Bench();
    bench.start({ topics: [from] });
    const config = { name: 's', feature_view: 'job', version: 'v1', dead_letter_topic: to };
    sinkOf(new LetterOutbox(bench.store, config));
    const written = await readTopic(to);
    await expect.poll(() => written.length, SOON).toBe(1);
    const names = Object.entries(written[0]!.headers).filter(([name]) => name in headers);
    // The client that reads here gives one more value under names that every object has.
    expect(names.map(([name, value]) => [name, value.split(',').at(-1)])).toEqual([
      ['__proto__', 'x1'],
      ['constructor', 'x2'],
      ['toJSON', 'x3'],
      ['twice', 'b'],
    ]);
    expect(written[0]!.headers['twice']).toBe('a,b');
  });

  test('one that is larger than the topic takes is passed by, and stays in the store', async () => {
    const from = await cluster.topic();
    const to = await cluster.topic(1, { 'max.message.bytes': '2000' });
    await cluster.produce(
      from,
      ['small', 'x'.repeat(5_000), 'small too'].map((value) => ({ key: null, value })),
    );
    const bench = new Bench();
    bench.start({ topics: [from] });
    const config = { name: 's', feature_view: 'job', version: 'v1', dead_letter_topic: to };
    const sink = sinkOf(new LetterOutbox(bench.store, config));
    const written = await readTopic(to);
    await expect
      .poll(() => written.map(({ value }) => String(value)), SOON)
      .toEqual(['small', 'small too']);
    await expect.poll(() => sink.counters, SOON).toEqual({ published: 2, tooLarge: 1, errors: 0 });
    expect(bench.deadLetters()).toHaveLength(3);
  });
});

describeOwnBroker('a sink whose broker fails', () => {
  test('misses nothing while the broker is killed and started again, and ingestion goes on', async () => {
    const broker = await Broker.launch();
    onTestFinished(() => broker.remove());
    const cluster = new Cluster(broker.address);
    onTestFinished(() => cluster.close());
    const topic = await cluster.topic(3);
    const bench = new Bench();
    const sink = sinkOf(outboxOf(bench, topic), broker.address);
    const ids = range(0, 200).map((at) => `e${at}`);
    for (const round of range(0, 60)) {
      await push(bench, ids, round);
      if (round === 20) {
        await expect.poll(() => sink.counters.published, SOON).toBeGreaterThan(200);
        await broker.kill();
      }
      if (round === 40) {
        await expect.poll(() => sink.status().state, SOON).toBe('degraded');
        expect(sink.waiting()!.records).toBeGreaterThan(3_000);
        await broker.start();
      }
    }
    await expect.poll(() => sink.waiting(), SOON).toEqual({ records: 0, seconds: 0 });
    expect(sink.status().state).toBe('running');
    const written = await readTopic(topic, broker.address);
    await expect.poll(() => new Set(written.map(seqOf)).size, SOON).toBe(12_000);
    expectAllOf(written, seqsOf(bench));
  });
});

/** With `group`, the source is in a group of its own, and need not wait for one that was killed. */
function configOf(
  topic: string,
  entityId: string,
  sinkTopic?: string,
  group: string = topic,
): string {
  const path = join(tempDirectory(), 'tidemark.yaml');
  const sinks =
    sinkTopic === undefined
      ? []
      : [{ name: 'out', feature_view: 'job', version: 'v1', topic: sinkTopic }];
  const source = {
    name: 's',
    feature_view: 'job',
    version: 'v1',
    content: 'vector',
    known_timestamp: 'record',
    topics: [topic],
    group_prefix: group,
    entity_id: entityId,
    dead_letter_topic: `${topic}.dlq`,
  };
  const kafka = connection();
  writeFileSync(path, JSON.stringify({ log_level: 'info', kafka, sources: [source], sinks }));
  return path;
}

/** A JSON record whose id is not where a source looks by default. */
function jobValue(id: string, vector: unknown): string {
  return JSON.stringify({ job: id, event_timestamp: '2026-03-01T12:00:00Z', vector });
}

async function listLetters(
  url: string,
  ...more: string[]
): Promise<{ offset: number; code: string }[]> {
  const { out } = await run(['dlq', 'list', '--json', '--url', url, ...more]);
  return (JSON.parse(out) as { dead_letters: { offset: number; code: string }[] }).dead_letters;
}

describeKafka('a server with sinks', () => {
  const cluster = Cluster.open();
  const JOB = { entity: 'job', join_key: 'job_id', version: 'v1', dim: 2, dtype: 'float32' };

  test('that is killed over and over has every revision and dead letter in the topics', async () => {
    const [from, to] = [await cluster.topic(2), await cluster.topic(2)];
    await cluster.admin.createTopics({ waitForLeaders: false, topics: [{ topic: `${from}.dlq` }] });
    const data = tempDirectory();
    const start = async (life: number): Promise<ServerProcess> => {
      const config = configOf(from, 'entity_id', to, `${from}-${life}`);
      return ServerProcess.start(data, ['--config', config]);
    };
    let server = await start(0);
    await server.ask('PUT', '/v1/feature-views/job', JOB);
    const [written, letters] = [await readTopic(to), await readTopic(`${from}.dlq`)];
    for (const round of range(0, 4)) {
      for (const partition of [0, 1]) {
        const messages = numbered(500, (2 * round + partition) * 500).map((message, at) =>
          at % 50 === 7 ? { key: message.key, value: 'no JSON' } : message,
        );
        await cluster.produce(from, messages, { partition });
      }
      // Somewhere in the middle of what there is to publish.
      const published = (): number => new Set(written.map(seqOf)).size;
      await expect.poll(published, SOON).toBeGreaterThan(round * 980 + 300);
      await server.kill();
      server = await start(round + 1);
    }
    const committed = async (): Promise<number[]> => {
      const answer = await fetch(`${server.url}/v1/changes?feature_view=job`);
      const lines = (await answer.text()).trim().split('\n');
      const changes = lines.map((line) => JSON.parse(line) as { type: string; seq: number });
      return changes.flatMap(({ type, seq }) => (type === 'revision' ? [seq] : []));
    };
    await expect.poll(async () => (await committed()).length, SOON).toBe(3_920);
    await expect.poll(() => new Set(written.map(seqOf)).size, SOON).toBe(3_920);
    expectAllOf(written, await committed());
    const distinct = (): string[] => [
      ...new Set(
        letters.map(
          ({ headers }) => `${headers['tidemark-dlq-partition']}/${headers['tidemark-dlq-offset']}`,
        ),
      ),
    ];
    await expect.poll(() => distinct().length, SOON).toBe(80);
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics).toMatch(/tidemark_sink_published_total\{sink="out"\} \d+/);
    expect(metrics).toContain('tidemark_sink_lag_records{sink="out"} 0');
    const { body } = await server.send('GET', '/readyz');
    expect(body).toMatchObject({
      checks: { 'sink out': { ok: true, records: 0 }, 'sink dead letters of s': { ok: true } },
    });
    const erased = { entity: 'job', entity_ids: ['e1'] };
    expect(JSON.stringify(await server.ask('POST', '/v1/erase', erased))).toContain(to);
  });

  test('publishes nothing while it follows another, and all of it once it is promoted', async () => {
    const topic = await cluster.topic();
    const leader = await ServerProcess.start(tempDirectory());
    await leader.ask('PUT', '/v1/feature-views/job', JOB);
    const record = { event_timestamp: '2026-03-01T12:00:00Z', vector: [1, 2] };
    const records = range(0, 20).map((at) => ({ entity_id: `e${at}`, ...record }));
    const { snapshot } = await leader.ask<{ snapshot: number }>('POST', '/v1/push', {
      feature_view: 'job',
      records,
    });
    const config = configOf(await cluster.topic(), 'entity_id', topic);
    const settings = ['--config', config, '--follow', leader.url];
    const follower = await ServerProcess.start(tempDirectory(), settings);
    const asked = `/v1/feature-views/job/entities/e0?min_snapshot=${snapshot}`;
    await expect.poll(async () => (await follower.send('GET', asked)).status, SOON).toBe(200);
    const written = await readTopic(topic);
    const metrics = await (await fetch(`${follower.url}/metrics`)).text();
    expect(metrics).toContain('tidemark_sink_state{sink="out",state="stopped"} 1');
    expect(metrics).toContain('tidemark_sink_published_total{sink="out"} 0');
    await leader.kill();
    await fetch(`${follower.url}/v1/replica/promote`, { method: 'POST' });
    const keys = records.map(({ entity_id }) => entity_id);
    await expect.poll(() => written.map(({ key }) => key), SOON).toEqual(keys);
  });

  test('tries dead letters again, by the settings of now, and drops what nobody wants', async () => {
    const from = await cluster.topic();
    const records = ['a', 'b', 'gone', 'a'].map((id, at) => ({ value: jobValue(id, [at, 1]) }));
    await cluster.produce(from, [...records, { value: jobValue('c', ['x']) }]);
    const data = tempDirectory();
    const wrong = await ServerProcess.start(data, ['--config', configOf(from, 'entity_id')]);
    await wrong.ask('PUT', '/v1/feature-views/job', JOB);
    await expect.poll(async () => (await listLetters(wrong.url)).length, SOON).toBe(5);
    expect(await listLetters(wrong.url, 'job@v1', '--code', 'BAD_ENTITY_ID')).toHaveLength(5);
    expect(await listLetters(wrong.url, '--topic', 'another')).toEqual([]);
    const table = await run(['dlq', 'list', '--url', wrong.url]);
    expect(table.out).toContain(`s/${from}/0/4`);
    await wrong.ask('POST', '/v1/erase', { entity: 'job', entity_ids: ['gone'] });
    expect(await listLetters(wrong.url)).toHaveLength(4);
    await wrong.kill();

    const config = configOf(from, 'job', undefined, `${from}-again`);
    const right = await ServerProcess.start(data, ['--config', config]);
    const { url } = right;
    const one = await run(['dlq', 'replay', '--position', `s/${from}/0/1`, '--json', '--url', url]);
    expect(one.code).toBe(0);
    expect(JSON.parse(one.out)).toMatchObject({ tried: 1, latest: 1, failed: 0 });
    const rest = await run(['dlq', 'replay', 'job', '--json', '--url', url]);
    expect(rest.code).toBe(1);
    // Of the two of `a` the later one of the topic is the correction, as when they had been read.
    expect(JSON.parse(rest.out)).toMatchObject({ tried: 3, latest: 2, failed: 1, erased: 0 });
    expect(await listLetters(url)).toMatchObject([{ offset: 4, code: 'BAD_VECTOR' }]);
    const entity = await right.ask('GET', '/v1/feature-views/job/entities/a');
    expect(entity).toMatchObject({ vector: [3, 1] });
    const explained = await fetch(`${url}/v1/changes?feature_view=job`);
    expect(await explained.text()).toContain(`"topic":"${from}","partition":0,"offset":3`);
    expect(await run(['dlq', 'drop', '--url', url])).toMatchObject({ code: 2 });
    const dropped = await run(['dlq', 'drop', '--code', 'BAD_VECTOR', '--url', url]);
    expect(dropped.err).toContain('1 dead letters dropped');
    expect(await listLetters(url)).toEqual([]);
  });
});
