import { expect, test } from 'vitest';

import { Bench, range, SOON, vectorMessage } from './bench.ts';
import { Cluster, describeKafka, SILENT } from './cluster.ts';

describeKafka('a Kafka source and erased entities', () => {
  const cluster = Cluster.open();

  test('their records are counted and passed by, no dead letters either (A8, A12)', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, [
      vectorMessage('gone', [1, 1]),
      vectorMessage('kept', [2, 2]),
      { key: 'gone', value: 'no JSON' },
      { key: 'kept', value: 'no JSON' },
      { key: null, value: '{"job": "gone", "vector": [1]}' },
      { key: 'gone', value: null },
      vectorMessage('kept', [3, 3], '2026-03-01T12:00:01Z'),
    ]);
    const bench = new Bench();
    await bench.store.erase({ entity: 'job' }, ['gone']);
    const warned: object[] = [];
    const log = { ...SILENT, warn: (...said: unknown[]) => void warned.push(said) };
    const source = bench.start({ topics: [topic] }, { log });
    await expect
      .poll(() => source.counters.events, SOON)
      .toEqual({ latest: 2, history: 0, duplicate: 0, erased: 4, dead_letter: 1, skipped: 0 });
    expect(bench.said()).toEqual(['kept=2,2', 'kept=3,3']);
    expect(bench.deadLetters().map(({ offset }) => offset)).toEqual([3]);
    expect(source.status().partitions).toMatchObject([{ next_offset: 7 }]);
    expect(JSON.stringify(warned)).not.toContain('gone');
  });

  test('who is erased while a source reads is gone from all that it had read (A8)', async () => {
    const topic = await cluster.topic();
    const bench = new Bench();
    const source = bench.start({ topics: [topic] });
    for (const round of range(0, 20)) {
      const at = `2026-03-01T12:00:${String(10 + round)}Z`;
      const messages = range(0, 50).map((id) => vectorMessage(`e${id}`, [round, id], at));
      await cluster.produce(topic, messages);
      if (round === 10) await bench.store.erase({ entity: 'job' }, ['e7', 'e9']);
    }
    const read = (): number => {
      const { latest, history, duplicate, erased } = source.counters.events;
      return latest + history + duplicate + erased;
    };
    await expect.poll(read, SOON).toBe(1_000);
    const ids = new Set(bench.changes().map(({ entityId }) => entityId));
    expect([ids.size, ids.has('e7'), ids.has('e9')]).toEqual([48, false, false]);
  });
});
