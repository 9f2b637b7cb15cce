import { expect, test } from 'vitest';

import { recordedBytes, stubRegistry } from '../ingest/formats/recorded.ts';
import { Bench, SOON } from './bench.ts';
import { Cluster, connection, describeKafka } from './cluster.ts';

const AVRO = {
  encoding: 'avro',
  entity_id: 'text',
  event_timestamp: { path: 'at', unit: 'ms' },
};
const EVERYTHING = recordedBytes('everything');

/** The same value, as a schema that nobody registered would have written it. */
function byAnotherSchema(): Buffer {
  const value = Buffer.from(EVERYTHING);
  value.writeUInt32BE(9_999, 1);
  return value;
}

async function start(topic: string) {
  const registry = await stubRegistry();
  const bench = new Bench(3);
  const begin = () =>
    bench.start(
      { topics: [topic], ...AVRO },
      { connection: { ...connection(), registry: { url: registry.url } } },
    );
  return { registry, bench, begin };
}

/** Records by Python’s serialisers, and a stub that repeats what its registry recorded. */
describeKafka('a source of Avro', () => {
  const cluster = Cluster.open();

  test('reads what the registry has the schema of, and puts the rest aside', async () => {
    const topic = await cluster.topic();
    const damaged = EVERYTHING.subarray(0, 30);
    const values = [EVERYTHING, byAnotherSchema(), damaged, Buffer.from('{}')];
    await cluster.produce(
      topic,
      values.map((value) => ({ value })),
    );
    const { registry, bench, begin } = await start(topic);
    const source = begin();
    await expect.poll(() => source.status().partitions[0]?.next_offset, SOON).toBe(4);
    expect(bench.said()).toEqual(['größer 🌊=0.5,-1.5,3.25']);
    expect(bench.deadLetters()).toMatchObject([
      { offset: 1, reason: 'BAD_RECORD', message: expect.stringContaining('the schema 9999') },
      { offset: 2, reason: 'BAD_RECORD' },
      { offset: 3, reason: 'BAD_RECORD', message: expect.stringContaining('no header') },
    ]);
    const asked = registry.asked.map(({ path }) => path);
    expect(asked.filter((path) => path !== '/schemas/ids/9999')).toHaveLength(1);
  });

  test('waits for a registry that is away, and no record is a dead letter for it (A12)', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, [{ value: EVERYTHING }]);
    const { registry, bench, begin } = await start(topic);
    registry.broken = { status: 503, body: 'away' };
    const source = begin();
    await expect.poll(() => source.counters.retries, SOON).toBeGreaterThan(1);
    expect(source.status()).toMatchObject({
      state: 'degraded',
      message: expect.stringContaining('the schema registry answered 503'),
    });
    registry.broken = undefined;
    await expect.poll(() => bench.said(), SOON).toHaveLength(1);
    expect(bench.deadLetters()).toEqual([]);
    await expect.poll(() => source.status().state, SOON).toBe('running');
  });
});
