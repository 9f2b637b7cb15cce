import { expect, test } from 'vitest';

import { Destination } from '../../src/ingest/kafka/destination.ts';
import { LetterOutbox } from '../../src/ingest/kafka/letter-outbox.ts';
import type { Parcel } from '../../src/ingest/kafka/outbox.ts';
import { sourceConfigSchema } from '../../src/ingest/source-config.ts';
import { type DeadLetter, RevisionBatch } from '../../src/store/batch.ts';
import type { Store } from '../../src/store/store.ts';
import { testStore } from '../support/store.ts';

const config = sourceConfigSchema.parse({
  name: 's',
  feature_view: 'job',
  version: 'v1',
  content: 'vector',
  known_timestamp: 'record',
  topics: ['t'],
  dead_letter_topic: true,
});

/** Commits dead letters as the source does: with the offset after them. */
async function read(
  store: Store,
  partition: number,
  values: readonly string[],
  version = 'v1',
): Promise<void> {
  const at = { source: 's', topic: 't', partition };
  const expected = store.version('job', version).offsets.next(at);
  const start = Number(expected ?? 0n);
  const deadLetters = values.map((value, index): DeadLetter => ({
    position: { ...at, offset: start + index },
    reason: 'BAD_RECORD',
    message: 'expected JSON',
    key: null,
    value: Buffer.from(value),
    headers: {},
    timestamp: 0,
  }));
  const offset = { ...at, expected, next: BigInt(start + values.length) };
  const rows = new RevisionBatch(8, 0);
  await store.commit('job', version, { rows, deadLetters, offset });
}

function outboxOf(store: Store): LetterOutbox {
  return new LetterOutbox(store, { ...config, dead_letter_topic: true });
}

function textsOf(parcel: Parcel | undefined): string[] | undefined {
  return parcel?.messages.map(({ value }) => String(value));
}

test('each partition has its turn, and what is acknowledged does not come again', async () => {
  const store = testStore();
  await read(store, 0, ['a', 'b']);
  await read(store, 1, ['c']);
  const outbox = outboxOf(store);
  expect(outbox.waiting()).toEqual({ records: 3 });
  const [first, second] = [await outbox.next(1), await outbox.next(1)];
  expect(new Set([textsOf(first)?.join(), textsOf(second)?.join()])).toEqual(new Set(['a', 'c']));
  expect(first!.topic).toBe('t.dlq');
  await first!.acknowledge();
  await second!.acknowledge();
  expect(textsOf(await outboxOf(store).next(10))).toEqual(['b']);
  expect(outbox.waiting()).toEqual({ records: 1 });
});

test('what is not acknowledged comes again', async () => {
  const store = testStore();
  await read(store, 0, ['a', 'b']);
  const outbox = outboxOf(store);
  expect(textsOf(await outbox.next(10))).toEqual(['a', 'b']);
  expect(textsOf(await outbox.next(10))).toEqual(['a', 'b']);
});

test('a parcel is no larger than brokers take, and never empty', async () => {
  const store = testStore();
  await read(store, 0, ['x'.repeat(900_000), 'y'.repeat(300_000), 'z'.repeat(300_000)]);
  const outbox = outboxOf(store);
  const counts: number[] = [];
  for (let parcel = await outbox.next(10); parcel; parcel = await outbox.next(10)) {
    counts.push(parcel.messages.length);
    await parcel.acknowledge();
  }
  expect(counts).toEqual([1, 1, 1]);
});

test('of a topic that was made anew they are published from the first offset on', async () => {
  const store = testStore();
  await read(store, 0, ['a', 'b']);
  const outbox = outboxOf(store);
  await (await outbox.next(10))!.acknowledge();
  expect(await outbox.next(10)).toBeUndefined();
  await new Destination(store, { ...config, version: 'v1' }).publishLettersAgain({
    topic: 't',
    partition: 0,
  });
  expect(textsOf(await outbox.next(10))).toEqual(['a', 'b']);
});

test('those of a source that feeds each version name it, and a version that is retired has none', async () => {
  const store = testStore();
  const { v1 } = store.catalogue.mustGetView('job').versions;
  store.addVersion('job', { ...v1!, version: 'v2' });
  await read(store, 0, ['a', 'b'], 'v1');
  await read(store, 0, ['a', 'c'], 'v2');
  const { version: _of, ...unbound } = config;
  const outbox = new LetterOutbox(store, { ...unbound, dead_letter_topic: true });
  expect(outbox.waiting()).toEqual({ records: 4 });
  const said: string[] = [];
  for (let turn = 0; turn < 2; turn++) {
    const parcel = await outbox.next(1);
    const [{ value, headers } = {}] = parcel!.messages;
    said.push(`${String(headers!['tidemark-dlq-version'])} ${String(value)}`);
    await parcel!.acknowledge();
  }
  expect(said.toSorted()).toEqual(['v1 a', 'v2 a']);
  const parcels = [await outbox.next(1), await outbox.next(1)];
  await store.retire('job', 'v2', {});
  for (const parcel of parcels) await parcel!.acknowledge();
  expect(outbox.waiting()).toEqual({ records: 0 });
  expect(await outbox.next(10)).toBeUndefined();
});

test('while what was erased is still to be removed, none is published (A8)', async () => {
  const store = testStore();
  await read(store, 0, ['gone', 'kept']);
  const work = Promise.withResolvers<void>();
  const busy = store.maintenance.run(undefined, () => work.promise);
  await store.erase({ entity: 'job' }, ['gone']);
  const outbox = outboxOf(store);
  expect(await outbox.next(10)).toBeUndefined();
  work.resolve();
  await busy;
  await expect.poll(async () => textsOf(await outbox.next(10))).toEqual(['kept']);
});
