import kafkajs from 'kafkajs';
import { expect, onTestFinished, test } from 'vitest';

import { vectorPreparer } from '../../src/ingest/prepare.ts';
import type { MappedRecord } from '../../src/ingest/source-record.ts';
import { RevisionBatch } from '../../src/store/batch.ts';
import { Bench, numbered, range, SOON, vectorMessage } from './bench.ts';
import { Cluster, describeKafka } from './cluster.ts';

/** Holds up whoever passes until it is opened. */
class Gate {
  arrivals = 0;
  private way = Promise.withResolvers<void>();

  async pass(): Promise<void> {
    this.arrivals++;
    await this.way.promise;
  }

  open(): void {
    this.way.resolve();
  }
}

/** Prepares vectors, behind a gate. */
function gatedPreparer(gate: Gate): { preparer: typeof vectorPreparer } {
  return {
    preparer: (version) => {
      const prepare = vectorPreparer(version);
      return async (records: readonly MappedRecord[]) => {
        await gate.pass();
        return prepare(records);
      };
    },
  };
}

describeKafka('the offsets of a Kafka source', () => {
  const cluster = Cluster.open();

  test('however often it is stopped, every record becomes one revision, in order (A12)', async () => {
    const topic = await cluster.topic();
    const bench = new Bench();
    let produced = 0;
    for (const round of [1, 2, 3, 4]) {
      await cluster.produce(topic, numbered(1_500, produced));
      produced += 1_500;
      const source = bench.start({ topics: [topic] });
      // It is stopped somewhere in the middle, but for the last time.
      const enough = round === 4 ? produced : produced - 1_000;
      const read = () => source.status().partitions[0]?.next_offset ?? 0;
      await expect.poll(read, SOON).toBeGreaterThanOrEqual(enough);
      await bench.reopen();
    }
    expect(bench.offsets()).toEqual(range(0, produced));
    expect(new Set(bench.said()).size).toBe(produced);
  });

  test('the stored offset decides, whatever the brokers have been told (A12)', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(10));
    const groupId = `${topic}-s-job-v1`;
    await cluster.admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '7' }] });
    const bench = new Bench();
    const config = { topics: [topic] };
    const source = bench.start(config);
    await expect.poll(() => bench.offsets(), SOON).toEqual(range(0, 10));
    await source.stop();
    await cluster.admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '2' }] });
    await cluster.produce(topic, numbered(2, 10));
    bench.start(config);
    await expect.poll(() => bench.offsets(), SOON).toEqual(range(0, 12));
  });

  test('the commit of a zombie changes nothing, and it reads on from what is stored (A12)', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(5));
    const bench = new Bench();
    const gate = new Gate();
    const source = bench.start({ topics: [topic] }, gatedPreparer(gate));
    await expect.poll(() => gate.arrivals, SOON).toBe(1);
    // While it holds records 0 to 4 in its hands, another has stored 0 to 2.
    const rows = new RevisionBatch(8, 0);
    const offset = { source: 's', topic, partition: 0, expected: undefined, next: 3n };
    await bench.store.commit('job', 'v1', { rows, offset });
    gate.open();
    await expect.poll(() => bench.offsets(), SOON).toEqual([3, 4]);
    expect(source.counters).toMatchObject({ fenced: 1, retries: 0, crashes: 0 });
    expect(source.status()).toMatchObject({ state: 'running' });
  });

  test('two sources of one name write each record once between them (A12)', async () => {
    const topic = await cluster.topic(2);
    for (const partition of [0, 1]) {
      await cluster.produce(topic, numbered(2_000, partition * 2_000), { partition });
    }
    const bench = new Bench();
    // In groups of their own, both hold all partitions, as a zombie and its successor do.
    bench.start({ topics: [topic] });
    bench.start({ topics: [topic], group_prefix: `other-${topic}` });
    await expect.poll(() => bench.changes().length, SOON).toBe(4_000);
    for (const partition of [0, 1]) expect(bench.offsets(partition)).toEqual(range(0, 2_000));
  });

  test('a foreign member of the group is reported, and takes nothing with it (A12)', async () => {
    const topic = await cluster.topic(2);
    const bench = new Bench();
    const source = bench.start({ topics: [topic] });
    await expect.poll(() => source.status().state, SOON).toBe('running');

    const foreign = cluster.client.consumer({ groupId: `${topic}-s-job-v1` });
    await foreign.connect();
    await foreign.subscribe({ topics: [topic], fromBeginning: true });
    let taken = 0;
    await foreign.run({
      eachMessage: async () => {
        taken++;
      },
    });
    await expect
      .poll(() => source.status(), SOON)
      .toMatchObject({
        state: 'degraded',
        message: expect.stringContaining(`another member of the consumer group ${topic}`),
      });
    for (const partition of [0, 1]) {
      await cluster.produce(topic, numbered(100, partition * 100), { partition });
    }
    await expect.poll(() => taken, SOON).toBe(100);
    await expect.poll(() => bench.changes().length, SOON).toBe(100);

    await foreign.disconnect();
    await expect.poll(() => source.status().state, SOON).toBe('running');
    await expect.poll(() => bench.changes().length, SOON).toBe(200);
    for (const partition of [0, 1]) expect(bench.offsets(partition)).toEqual(range(0, 100));
  });

  test('aborted records are not read, and offsets go past them and past markers', async () => {
    const topic = await cluster.topic();
    const producer = cluster.client.producer({
      transactionalId: `x-${topic}`,
      idempotent: true,
      maxInFlightRequests: 1,
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    });
    await producer.connect();
    onTestFinished(() => producer.disconnect());
    const write = async (id: string, end: 'commit' | 'abort') => {
      const transaction = await producer.transaction();
      await transaction.send({ topic, messages: [vectorMessage(id, [1, 2])] });
      await transaction[end]();
    };
    await write('kept', 'commit');
    await write('aborted', 'abort');
    const bench = new Bench();
    const source = bench.start({ topics: [topic] });
    // A record, a marker, an aborted record, a marker.
    await expect
      .poll(() => source.status().partitions, SOON)
      .toMatchObject([{ next_offset: 4, high_watermark: 4, lag: 0 }]);
    // Now a fetch that brings nothing but what nobody is shown.
    await write('aborted too', 'abort');
    await expect
      .poll(() => source.status().partitions, SOON)
      .toMatchObject([{ next_offset: 6, high_watermark: 6, lag: 0 }]);
    await write('kept too', 'commit');
    await expect.poll(() => bench.said(), SOON).toEqual(['kept=1,2', 'kept too=1,2']);
    expect(source.counters).toMatchObject({ offsetResets: 0, fenced: 0 });
  });
});

describeKafka('records that Kafka deleted before they were read', () => {
  const cluster = Cluster.open();

  /** A source that has read records 0 to 4 and is stopped, and a log that now holds 8 and 9. */
  async function behindRetention(): Promise<{ bench: Bench; topic: string }> {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(5));
    const bench = new Bench();
    const source = bench.start({ topics: [topic] });
    await expect.poll(() => bench.offsets(), SOON).toEqual(range(0, 5));
    await source.stop();
    await cluster.produce(topic, numbered(5, 5));
    await cluster.forget(topic, 8);
    return { bench, topic };
  }

  test('halt the source, and the message says which', async () => {
    const { bench, topic } = await behindRetention();
    const source = bench.start({ topics: [topic] });
    await expect
      .poll(() => source.status(), SOON)
      .toMatchObject({
        state: 'halted',
        message: expect.stringContaining(`Kafka deleted the records 5 to 7 of ${topic}/0`),
        partitions: [{ next_offset: 5, high_watermark: 10 }],
      });
    expect(bench.offsets()).toEqual(range(0, 5));
  });

  test('are counted and passed over where the source says continue', async () => {
    const { bench, topic } = await behindRetention();
    const source = bench.start({ topics: [topic], on_data_loss: 'continue' });
    await expect.poll(() => bench.offsets(), SOON).toEqual([0, 1, 2, 3, 4, 8, 9]);
    expect(source.counters.recordsLost).toBe(3);
    expect(source.status().state).toBe('running');
  });

  test('are no loss to a source that never read the partition', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(5));
    await cluster.forget(topic, 3);
    const bench = new Bench();
    const source = bench.start({ topics: [topic] });
    await expect.poll(() => bench.offsets(), SOON).toEqual([3, 4]);
    expect(source.counters).toMatchObject({ recordsLost: 0, offsetResets: 0 });
    expect(source.status().state).toBe('running');
  });

  test.each([
    ['halt', [0, 1], 'halted'],
    ['continue', [0, 1, 5, 6], 'running'],
  ])('under a running source are noticed, and it %ss', async (policy, offsets, state) => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(2));
    const bench = new Bench();
    const gate = new Gate();
    const source = bench.start({ topics: [topic], on_data_loss: policy }, gatedPreparer(gate));
    await expect.poll(() => gate.arrivals, SOON).toBe(1);
    // It has fetched 0 and 1, and its next fetch finds 2 to 4 gone.
    await cluster.produce(topic, numbered(5, 2));
    await cluster.forget(topic, 5);
    gate.open();
    await expect.poll(() => source.status().state, SOON).toBe(state);
    await expect.poll(() => bench.offsets(), SOON).toEqual(offsets);
    expect(source.counters.recordsLost).toBe(policy === 'halt' ? 0 : 3);
  });

  test('a topic made anew halts the source that had read further', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(5));
    const bench = new Bench();
    const source = bench.start({ topics: [topic] });
    await expect.poll(() => bench.offsets(), SOON).toEqual(range(0, 5));
    await source.stop();
    await cluster.admin.deleteTopics({ topics: [topic] });
    await expect
      .poll(async () => {
        await cluster.admin.createTopics({ topics: [{ topic, numPartitions: 1 }] });
      }, SOON)
      .toBeUndefined();
    const after = bench.start({ topics: [topic] });
    await expect
      .poll(() => after.status(), SOON)
      .toMatchObject({
        state: 'halted',
        message: expect.stringContaining('ends at offset 0, before 5'),
      });
  });
});
