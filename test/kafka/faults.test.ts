import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { describe, expect, onTestFinished, test } from 'vitest';

import { TidemarkError } from '../../src/ground/errors.ts';
import { systemClock } from '../../src/ground/time.ts';
import { rejection } from '../../src/ingest/source-record.ts';
import { DELETED, RevisionBatch } from '../../src/store/batch.ts';
import { vectorBytes, writeNumbers } from '../../src/store/dtype.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { Bench, numbered, range, SOON } from './bench.ts';
import { Broker, missingForBroker } from './broker.ts';
import { Cluster, connection, describeKafka } from './cluster.ts';
import { Proxy } from './proxy.ts';

const describeOwnBroker = missingForBroker() === undefined ? describe : describe.skip;

/** The store of the bench, whose first `failures` commits of rows the disk refuses. */
function failing({ store }: Bench, failures: number): Store {
  let left = failures;
  const commit: Store['commit'] = async (view, version, request) => {
    if (request.rows.rows > 0 && left-- > 0) {
      throw new TidemarkError('STORE_UNAVAILABLE', 'the disk is full');
    }
    return await store.commit(view, version, request);
  };
  return Object.create(store, { commit: { value: commit } }) as Store;
}

describeKafka('a Kafka source under faults', () => {
  const cluster = Cluster.open();

  test('what the disk refuses is tried again from the same offset (A12)', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(1_700));
    const bench = new Bench();
    const source = bench.start({ topics: [topic] }, { store: failing(bench, 3) });
    await expect.poll(() => source.counters.events.latest, SOON).toBe(1_700);
    expect(bench.offsets()).toEqual(range(0, 1_700));
    expect(source.counters.retries).toBeGreaterThan(0);
    expect(source.counters.crashes).toBe(0);
    await expect.poll(() => source.status().state, SOON).toBe('running');
  });

  test('while the disk refuses, the status says so, and stop stops', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(3));
    const bench = new Bench();
    const source = bench.start({ topics: [topic] }, { store: failing(bench, Infinity) });
    await expect
      .poll(() => source.status(), SOON)
      .toMatchObject({
        state: 'degraded',
        message: 'the disk is full',
        partitions: [{ next_offset: null, lag: 3 }],
      });
    await source.stop();
    expect(source.status().state).toBe('stopped');
    expect(bench.changes()).toEqual([]);
  });

  test('texts that fail to embed are tried again; one that cannot be embedded is a dead letter', async () => {
    const topic = await cluster.topic();
    await cluster.produce(
      topic,
      ['Analyst', '', 'Baker'].map((title, at) => ({
        value: JSON.stringify({ op: 'c', ts_ms: at, id: at, after: { title } }),
      })),
    );
    await cluster.produce(topic, [{ value: JSON.stringify({ op: 'd', ts_ms: 9, id: 0 }) }]);
    const bench = new Bench();
    let calls = 0;
    const source = bench.start(
      {
        topics: [topic],
        content: 'fields',
        entity_id: 'id',
        event_timestamp: { path: 'ts_ms', unit: 'ms' },
        delete_when: { path: 'op', equals: 'd' },
        fields: 'after',
      },
      {
        preparer:
          ({ dim, dtype }) =>
          async (records) => {
            if (calls++ === 0) throw new Error('the embedder is away');
            const rows = new RevisionBatch(vectorBytes(dim, dtype));
            const rejected = [];
            for (const [index, record] of records.entries()) {
              let payload = DELETED;
              if (record.kind === 'text') {
                const title = record.fields['title'] as string;
                if (title === '') {
                  const error = new TidemarkError('BAD_INPUT', 'there is no title');
                  rejected.push({ ...rejection(error), index });
                  continue;
                }
                writeNumbers([title.length, 0], dim, dtype, rows.nextPayload());
                payload = rows.addFilled();
              }
              rows.addRow(record.entityId, record.event, record.known, payload, record.offset);
            }
            return { rows, rejected };
          },
      },
    );
    await expect.poll(() => bench.said(), SOON).toEqual(['0=7,0', '2=5,0', '0 deleted']);
    expect(bench.deadLetters()).toEqual([
      { offset: 1, reason: 'BAD_INPUT', message: 'there is no title' },
    ]);
    expect(source.counters).toMatchObject({ retries: 1, crashes: 0 });
  });

  test('a process that is killed while it reads goes on exactly where it was (A12)', async () => {
    const topic = await cluster.topic();
    const bench = new Bench();
    await bench.store.close();
    let produced = 0;
    while (produced < 8_000) {
      await cluster.produce(topic, numbered(4_000, produced));
      produced += 4_000;
      const enough = produced - 3_000;
      const address = connection().brokers[0]!;
      const reader = spawn(
        process.execPath,
        ['test/kafka/reader.ts', bench.directory, address, topic],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const gone = once(reader, 'exit');
      for await (const line of createInterface(reader.stdout)) {
        if (Number(line) >= enough) reader.kill('SIGKILL');
      }
      await gone;
    }
    bench.store = openStore(bench.directory, systemClock);
    // In a group of its own it need not wait for the one that is dead, as the reader before had to.
    bench.start({ topics: [topic], group_prefix: `${topic}-again` });
    await expect.poll(() => bench.offsets().length, SOON).toBe(produced);
    expect(bench.offsets()).toEqual(range(0, produced));
  });
});

describeOwnBroker('a Kafka source whose broker fails', () => {
  test('reads each record once while the broker is killed and started again (A12)', async () => {
    const broker = await Broker.launch();
    onTestFinished(() => broker.remove());
    const cluster = new Cluster(broker.address);
    onTestFinished(() => cluster.close());
    const topic = await cluster.topic();
    const bench = new Bench();
    const source = bench.start({ topics: [topic] }, { address: broker.address });
    const restarts: Promise<void>[] = [];
    for (const round of range(0, 30)) {
      if (round === 10 || round === 20) {
        await Promise.all(restarts);
        await broker.kill();
        restarts.push(broker.start());
      }
      // The producer gives up at times while there is no broker.
      const send = () => cluster.produce(topic, numbered(50, round * 50)).then(() => true);
      await expect.poll(send, SOON).toBe(true);
    }
    await Promise.all(restarts);
    const [held] = await cluster.admin.fetchTopicOffsets(topic);
    const high = Number(held!.high);
    await expect.poll(() => source.status().partitions[0]?.next_offset, SOON).toBe(high);
    // A batch that was sent twice is there twice, and says nothing new the second time.
    const { latest, duplicate } = source.counters.events;
    expect(latest + duplicate).toBe(high);
    const ids = bench.changes().map(({ entityId }) => entityId);
    expect(ids).toEqual(range(0, 1_500).map((at) => `e${at}`));
    await expect.poll(() => source.status().state, SOON).toBe('running');
  });

  test('replaces a client whose connections fell silent', async () => {
    const proxy = await Proxy.listen();
    onTestFinished(() => proxy.close());
    const broker = await Broker.launch(proxy.port);
    onTestFinished(() => broker.remove());
    proxy.passTo(broker.port);
    const address = `127.0.0.1:${proxy.port}`;
    const cluster = new Cluster(address);
    onTestFinished(() => cluster.close());
    const topic = await cluster.topic();
    await cluster.produce(topic, numbered(10));
    const bench = new Bench();
    const pace = { tick: 200, silence: 3_000, retry: 50, retryLongest: 500 };
    const source = bench.start({ topics: [topic] }, { address, pace });
    await expect.poll(() => bench.offsets(), SOON).toEqual(range(0, 10));
    await cluster.close();

    proxy.freeze();
    const later = new Cluster(address);
    onTestFinished(() => later.close());
    await later.produce(topic, numbered(10, 10));
    await expect.poll(() => bench.offsets(), SOON).toEqual(range(0, 20));
    expect(source.counters.crashes).toBeGreaterThan(0);
    await expect.poll(() => source.status().state, SOON).toBe('running');
  });
});
