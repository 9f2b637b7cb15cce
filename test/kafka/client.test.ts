import { randomUUID } from 'node:crypto';

import kafkajs, { type Consumer } from 'kafkajs';
import { afterEach, expect, test } from 'vitest';

import { Cluster, describeKafka } from './cluster.ts';
import { produceWithJava } from './java.ts';

const SECONDS_30 = { timeout: 30_000, interval: 20 };

function numbered(count: number): { value: string }[] {
  return Array.from({ length: count }, (_, at) => ({ value: String(at) }));
}

// Node warns once a process, so who listens must do so before the first client.
const warnings: string[] = [];
process.on('warning', ({ name }) => warnings.push(name));

/** What the source builds on, shown of this kafkajs against a real broker. */
describeKafka('the Kafka client', () => {
  const cluster = Cluster.open();
  const consumers: Consumer[] = [];
  afterEach(async () => {
    await Promise.all(consumers.splice(0).map((consumer) => consumer.disconnect()));
  });

  interface Seen {
    partition: number;
    fetchedOffset: string;
    offsets: string[];
    values: string[];
  }

  /** A member of the group that seeks at every join, and notes what it is given. */
  async function join(
    groupId: string,
    topic: string,
    seek: (partition: number) => string | undefined,
  ): Promise<{ seen: Seen[]; assigned: () => number[] | undefined }> {
    const consumer = cluster.client.consumer({
      groupId,
      sessionTimeout: 6_000,
      heartbeatInterval: 100,
      maxWaitTimeInMs: 100,
      allowAutoTopicCreation: false,
      // A broker that has just started takes a while until it knows of groups.
      retry: { retries: 30 },
    });
    consumers.push(consumer);
    const seen: Seen[] = [];
    let assigned: number[] | undefined;
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      assigned = payload.memberAssignment[topic] ?? [];
      for (const partition of assigned) {
        const offset = seek(partition);
        if (offset !== undefined) consumer.seek({ topic, partition, offset });
      }
    });
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: async (payload) => {
        const { batch } = payload;
        const { fetchedOffset } = batch as unknown as { fetchedOffset: string };
        seen.push({
          partition: batch.partition,
          fetchedOffset,
          offsets: batch.messages.map(({ offset }) => offset),
          values: batch.messages.map(({ value }) => String(value)),
        });
        payload.resolveOffset(batch.lastOffset());
      },
    });
    return { seen, assigned: () => assigned };
  }

  test('a seek while joining decides what the first fetch reads', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(10));
    const { seen } = await join(randomUUID(), topic, () => '7');
    await expect.poll(() => seen, SECONDS_30).toHaveLength(1);
    expect(seen[0]).toEqual({
      partition: 0,
      fetchedOffset: '7',
      offsets: ['7', '8', '9'],
      values: ['7', '8', '9'],
    });
  });

  test('a second member takes partitions, and both go on where they seek to', async () => {
    const topic = await cluster.topic(2);
    const group = randomUUID();
    for (const partition of [0, 1]) await cluster.produce(topic, numbered(4), { partition });
    const first = await join(group, topic, () => '2');
    await expect.poll(() => first.assigned(), SECONDS_30).toEqual([0, 1]);
    await expect.poll(() => first.seen.length, SECONDS_30).toBe(2);
    const second = await join(group, topic, () => '3');
    await expect.poll(() => second.assigned(), SECONDS_30).toHaveLength(1);
    await expect.poll(() => first.assigned(), SECONDS_30).toHaveLength(1);
    await expect.poll(() => second.seen, SECONDS_30).toHaveLength(1);
    expect(second.seen[0]).toMatchObject({ fetchedOffset: '3', offsets: ['3'] });
  });

  test('an offset before the log is read from elsewhere, and only fetchedOffset shows it', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(10));
    await cluster.forget(topic, 6);
    const { seen } = await join(randomUUID(), topic, () => '3');
    await expect.poll(() => seen, SECONDS_30).toHaveLength(1);
    expect(seen[0]).toMatchObject({ fetchedOffset: '6', offsets: ['6', '7', '8', '9'] });
  });

  const { GZIP, Snappy, LZ4, ZSTD } = kafkajs.CompressionTypes;

  test.each([
    ['gzip', GZIP],
    ['snappy', Snappy],
    ['lz4', LZ4],
    ['zstd', ZSTD],
  ])('batches that kafkajs compressed with %s are read', async (_name, compression) => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(3), { compression });
    const { seen } = await join(randomUUID(), topic, () => '0');
    await expect
      .poll(() => seen.flatMap(({ values }) => values), SECONDS_30)
      .toEqual(['0', '1', '2']);
  });

  test.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'])(
    'batches that Java’s client compressed with %s are read',
    async (codec) => {
      const topic = await cluster.topic();
      // Hard to compress, and so long that every codec has several blocks of it.
      await produceWithJava(topic, codec, { count: 2_000, padding: 200 });
      const { seen } = await join(randomUUID(), topic, () => '0');
      await expect
        .poll(() => seen.flatMap(({ offsets }) => offsets), SECONDS_30)
        .toHaveLength(2_000);
      const values = seen.flatMap((batch) => batch.values);
      expect(values.map((value) => Number(value.split(' ')[0]))).toEqual([...values.keys()]);
      expect(new Set(values.map((value) => value.replace(/^.*?x/, '').length))).toEqual(
        new Set([199]),
      );
    },
  );

  test('the client set no timer in the past', () => {
    expect(warnings).not.toContain('TimeoutNegativeWarning');
  });
});
