import kafkajs from 'kafkajs';
import { expect, test } from 'vitest';

import { Bench, MOMENT, numbered, range, SOON, vectorMessage } from './bench.ts';
import { Cluster, describeKafka } from './cluster.ts';

/** The value of a record with a vector, with some of it changed. */
function value(change: object): string {
  return JSON.stringify({ event_timestamp: MOMENT, vector: [1, 2], ...change });
}

/** The moment so many seconds on, as Kafka writes it. */
function second(at: number): string {
  return String(Date.parse(MOMENT) + at * 1_000);
}

describeKafka('a Kafka source', () => {
  const cluster = Cluster.open();

  test('JSON vectors become revisions, in the order of each partition', async () => {
    const topic = await cluster.topic(2);
    for (const partition of [0, 1]) {
      const messages = range(0, 1_200).map((at) => vectorMessage(`p${partition}-${at}`, [at, 0.1]));
      await cluster.produce(topic, messages, { partition });
    }
    const bench = new Bench();
    const source = bench.start({ topics: [topic] });
    await expect.poll(() => source.counters.events.latest, SOON).toBe(2_400);
    expect(bench.offsets(0)).toEqual(range(0, 1_200));
    expect(bench.offsets(1)).toEqual(range(0, 1_200));
    expect(bench.said()).toContain(`p1-7=7,${Math.fround(0.1)}`);
    expect(bench.deadLetters()).toEqual([]);
    expect(source.counters.visible.cumulative().at(-1)).toBe(2_400);
    await expect
      .poll(() => source.status(), SOON)
      .toEqual({
        name: 's',
        state: 'running',
        partitions: [0, 1].map((partition) => ({
          topic,
          partition,
          next_offset: 1_200,
          high_watermark: 1_200,
          lag: 0,
          lag_seconds: 0,
        })),
      });
  });

  test.each([
    ['float16', new Float16Array([0.5, -65_504, 5.960464477539063e-8])],
    // Three numbers, and 0.5 as their scale.
    ['int8', Int8Array.of(127, 0, -128, 0, 0, 0, 0x3f)],
  ] as const)('raw vectors are stored as they are: %s', async (dtype, numbers) => {
    const topic = await cluster.topic();
    const headers = {
      'tidemark-event-timestamp': MOMENT,
      'tidemark-dtype': dtype,
      'tidemark-version': 'v1',
      'tidemark-dim': '3',
    };
    await cluster.produce(topic, [{ key: 'a', value: Buffer.from(numbers.buffer), headers }]);
    const bench = new Bench(3, dtype);
    bench.start({ topics: [topic], encoding: 'bytes' });
    await expect.poll(() => bench.said(), SOON).toEqual([`a=${numbers.join()}`]);
    const [change] = bench.changes();
    expect(change!.event).toBe(Date.parse(MOMENT) * 1_000);
  });

  test('the known time is the time of the record where the source declares it (A5)', async () => {
    const topic = await cluster.topic();
    const timestamp = String(Date.parse(MOMENT) + 5_000);
    await cluster.produce(topic, [{ ...vectorMessage('a', [1, 2]), timestamp }]);
    const bench = new Bench();
    bench.start({ topics: [topic] });
    await expect.poll(() => bench.changes(), SOON).toHaveLength(1);
    expect(bench.changes()[0]).toMatchObject({
      event: Date.parse(MOMENT) * 1_000,
      known: (Date.parse(MOMENT) + 5_000) * 1_000,
    });
  });

  test('what cannot become a revision is a dead letter, and the partition goes on (A12, A14)', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, [
      vectorMessage('first', [1, 1]),
      { key: 'a', value: 'not JSON', headers: { trace: 'abc' } },
      { key: 'a', value: value({ vector: [1] }) },
      { key: 'a', value: value({ vector: [1, null] }).replace('null', '1e999') },
      { key: 'a', value: value({ vector: [1, 1e39] }) },
      { key: 'a', value: value({ event_timestamp: '2026-03-01' }) },
      { key: 'a', value: value({ event_timestamp: '2199-01-01T00:00:00Z' }) },
      { key: null, value: value({}) },
      { key: 'a', value: value({ padding: 'x'.repeat(400) }) },
      { key: 'a', value: null },
      vectorMessage('last', [2, 2]),
    ]);
    const bench = new Bench();
    const source = bench.start({ topics: [topic], max_value_bytes: 300 });
    await expect
      .poll(() => source.counters.events, SOON)
      .toMatchObject({ latest: 2, dead_letter: 9 });
    expect(bench.said()).toEqual(['first=1,1', 'last=2,2']);
    expect(bench.deadLetters().map(({ offset, reason }) => [offset, reason])).toEqual([
      [1, 'BAD_RECORD'],
      [2, 'BAD_VECTOR'],
      [3, 'BAD_VECTOR'],
      [4, 'BAD_VECTOR'],
      [5, 'BAD_TIMESTAMP'],
      [6, 'FUTURE_TIMESTAMP'],
      [7, 'BAD_ENTITY_ID'],
      [8, 'LIMIT_EXCEEDED'],
      [9, 'BAD_TIMESTAMP'],
    ]);
    const [letter] = bench.store.version('job', 'v1').deadLetters.list(1);
    expect(letter).toMatchObject({
      position: { source: 's', topic, partition: 0, offset: 1 },
      key: Buffer.from('a'),
      value: Buffer.from('not JSON'),
      headers: { trace: Buffer.from('abc') },
    });
    expect(source.status()).toMatchObject({ state: 'running', partitions: [{ next_offset: 11 }] });
  });

  test.each([
    ['gzip', kafkajs.CompressionTypes.GZIP],
    ['zstd', kafkajs.CompressionTypes.ZSTD],
  ])('batches compressed with %s are read', async (_name, compression) => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(700), { compression });
    const bench = new Bench();
    bench.start({ topics: [topic] });
    await expect.poll(() => bench.offsets(), SOON).toEqual(range(0, 700));
  });

  test('a null value deletes, and the vector before it stays in history (A7)', async () => {
    const topic = await cluster.topic();
    const vector = { key: 'a', value: JSON.stringify({ vector: [1, 2] }), timestamp: second(0) };
    await cluster.produce(topic, [vector, { key: 'a', value: null, timestamp: second(1) }]);
    const bench = new Bench();
    bench.start({ topics: [topic], event_timestamp: 'record' });
    await expect.poll(() => bench.said(), SOON).toEqual(['a=1,2', 'a deleted']);
    expect(bench.changes()[1]!.event).toBe(Number(second(1)) * 1_000);
  });

  test('a record that says what is stored already is a duplicate, at a moment of its own it is not (A4)', async () => {
    const topic = await cluster.topic();
    const a = vectorMessage('a', [1, 2]);
    await cluster.produce(topic, [a, a, vectorMessage('a', [1, 2], '2026-03-01T12:00:01Z')]);
    await cluster.produce(topic, [vectorMessage('a', [3, 4], '2026-03-01T11:00:00Z')]);
    const bench = new Bench();
    const source = bench.start({ topics: [topic] });
    await expect
      .poll(() => source.counters.events, SOON)
      .toMatchObject({ latest: 2, duplicate: 1, history: 1 });
    expect(bench.changes().map(({ vectorId }) => vectorId)).toEqual([0, 0, 1]);
  });

  test('a source reads from the end where it is told to, also after a restart before any record', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(5));
    const bench = new Bench();
    const source = bench.start({ topics: [topic], from: 'end' });
    await expect.poll(() => source.status().partitions[0]?.next_offset, SOON).toBe(5);
    await bench.reopen();
    await cluster.produce(topic, numbered(3, 5));
    bench.start({ topics: [topic], from: 'end' });
    await expect.poll(() => bench.offsets(), SOON).toEqual([5, 6, 7]);
  });

  test('a source waits for its view, and for its topic', async () => {
    const bench = new Bench();
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(1));
    const source = bench.start({ topics: [topic], feature_view: 'member' });
    await expect
      .poll(() => source.status(), SOON)
      .toMatchObject({
        state: 'degraded',
        message: expect.stringContaining('no feature view "member"'),
      });
    const view = bench.store.catalogue.mustGetView('job');
    bench.store.createView({ ...view, name: 'member' });
    await expect.poll(() => source.counters.events.latest, SOON).toBe(1);
    expect(source.status().state).toBe('running');
    const lost = bench.start({ topics: ['no-such-topic'], name: 'lost' });
    await expect.poll(() => lost.status(), SOON).toMatchObject({ state: 'degraded' });
  });

  test('what operators see of the group is what is stored', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(12));
    const bench = new Bench();
    const source = bench.start({ topics: [topic], group_prefix: `x-${topic}`, name: 'told' });
    await expect.poll(() => source.counters.events.latest, SOON).toBe(12);
    await source.stop();
    const groupId = `x-${topic}-told-job-v1`;
    const [told] = await cluster.admin.fetchOffsets({ groupId, topics: [topic] });
    expect(told!.partitions).toMatchObject([{ partition: 0, offset: '12' }]);
    expect(source.status()).toMatchObject({ state: 'stopped', partitions: [{ next_offset: 12 }] });
  });
});
