import { expect, test } from 'vitest';

import { World } from '../ingest/backfill/world.ts';
import { range, SOON } from './bench.ts';
import { Cluster, connection, describeKafka } from './cluster.ts';

const PACE = { tick: 200, silence: 20_000, retry: 50, retryLongest: 500 };
const prompt = { template: '{{title}}', fields: ['title'] };

/** Jobs whose titles have as many letters as their numbers say, as of so many seconds. */
function titled(from: number, to: number) {
  return range(from, to).map((at) => ({
    key: `e${at}`,
    timestamp: '999000',
    value: JSON.stringify({ at, title: 'x'.repeat(1 + (at % 7)) }),
  }));
}

function sourceOf(topic: string): object {
  return {
    name: 'jobs',
    feature_view: 'job',
    content: 'fields',
    event_timestamp: { path: 'at', unit: 's' },
    known_timestamp: 'arrival',
    group_prefix: topic,
    topics: [topic],
  };
}

describeKafka('a backfill from a source', () => {
  const cluster = Cluster.open();

  test('reads its topics up to where the live reader began: no gap, and nothing twice (A4, A12)', async () => {
    const topic = await cluster.topic(2);
    await cluster.produce(topic, titled(0, 700));
    await cluster.produce(topic, titled(700, 900), { partition: 1 });
    const kafka = { connection: connection(), source: sourceOf(topic), pace: PACE };
    const world = await World.open({ kafka, prompt });
    const live = () => world.fixture.sources.readersOf('job', 'v2')[0]?.positions();
    await expect.poll(() => live()?.length, SOON).toBe(2);
    await cluster.produce(topic, titled(900, 950));
    await cluster.produce(topic, [{ key: 'bad', value: 'no JSON' }]);
    await expect.poll(() => world.held('v2').length, SOON).toBe(50);

    const plan = await world.fixture.backfills.plan(
      { view: 'job', version: 'v2', from: { kind: 'source', name: 'jobs' }, window: {} },
      new AbortController().signal,
    );
    expect(plan).toMatchObject({ events: 900, wanted: 900, distinctInputs: 7, isExact: false });

    const asked = { view: 'job', version: 'v2', window: {} };
    const from = { kind: 'source' as const, name: 'jobs' };
    const { record } = await world.fixture.backfills.submit({ ...asked, from });
    await expect
      .poll(() => world.fixture.backfills.mustGet(record.id).record.state, SOON)
      .toBe('done');
    expect(record.counts).toEqual({
      read: 900,
      stored: 900,
      duplicate: 0,
      erased: 0,
      rejected: 0,
      skipped: 0,
    });
    const ids = world.held('v2').map(([id]) => id);
    expect(ids.toSorted()).toEqual(
      range(0, 950)
        .map((at) => `e${at}`)
        .toSorted(),
    );
    // The records' own timestamp tells when they were known, for who reads them again.
    expect(world.held('v2').find(([id]) => id === 'e3')).toEqual(['e3', 3, 999, 4]);
    const { offsets } = world.fixture.store.version('job', 'v2');
    const sources = offsets.all().map(({ key }) => key.source);
    expect(sources.filter((source) => source.startsWith('backfill/'))).toEqual([]);
  });
});
