import { randomUUID } from 'node:crypto';

import { sourceRecord } from '../kafka/chunk.ts';
import { clientLog, createClient } from '../kafka/client.ts';
import { registryOf } from '../kafka/source.ts';
import { compileMapping } from '../mapping.ts';
import type { SourceRecord } from '../source-record.ts';
import type { HistoryPage } from './history.ts';
import type { PlannedPages } from './plan.ts';
import type { BackfillRecord, SourceOrigin } from './record.ts';
import { findParts, rereadConfig, type SourceNeeds, type SourcePart } from './source-parts.ts';
import { eventOf } from './source.ts';
import type { BackfillTarget } from './target.ts';

/** Records of a source that are looked at for a plan, and in how many places of each partition. */
const RECORDS = 8_000;
const SPOTS = 4;

/** Some of what a backfill from a source would read, from all over its topics. */
export async function sampleSource(
  needs: SourceNeeds,
  record: BackfillRecord,
  { model }: BackfillTarget,
  signal: AbortSignal,
): Promise<PlannedPages> {
  const origin = record.from as SourceOrigin;
  const parts = await findParts(needs, record, origin, signal);
  const total = parts.reduce((sum, { from, end }) => sum + end - from, 0);
  const config = rereadConfig(needs, origin, record);
  const schemas = registryOf({ config, connection: needs.connection! });
  const { futureSkewMax, store } = needs;
  const map = compileMapping(config, model, futureSkewMax, schemas);
  async function* pages(): AsyncGenerator<HistoryPage> {
    for await (const records of readSpots(needs, parts, signal)) {
      await schemas?.load(records);
      const page: HistoryPage = {
        next: 0,
        read: records.length,
        events: [],
        rejected: [],
        erased: 0,
      };
      for (const each of records) {
        const said = map(each, store.clock());
        if (said.kind === 'rejected') page.rejected.push({ ...said, offset: each.offset });
        else if (said.kind !== 'skip') page.events.push(eventOf(said));
      }
      yield page;
    }
  }
  return { pages: pages(), total };
}

/** A place in a partition from which some records are read. */
interface Spot {
  topic: string;
  partition: number;
  from: number;
  to: number;
}

/** Spots of a partition one after another, by a group that nobody else knows. */
async function* readSpots(
  needs: SourceNeeds,
  parts: readonly SourcePart[],
  signal: AbortSignal,
): AsyncGenerator<SourceRecord[]> {
  const spots = spotsOf(parts);
  if (spots.length === 0) return;
  const groupId = `tidemark-backfill-plan-${randomUUID()}`;
  const client = createClient(needs.connection!, groupId, clientLog(needs.log, signal));
  const consumer = client.consumer({ groupId, allowAutoTopicCreation: false });
  const read: SourceRecord[][] = [];
  let moved = Promise.withResolvers<void>();
  const wake = (): void => {
    moved.resolve();
    moved = Promise.withResolvers();
  };
  const seekFirst = (topic: string, partition: number): boolean => {
    const spot = spots.find((each) => each.topic === topic && each.partition === partition);
    if (spot === undefined) consumer.pause([{ topic, partitions: [partition] }]);
    else consumer.seek({ topic, partition, offset: String(spot.from) });
    return spot !== undefined;
  };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    for (const [topic, partitions] of Object.entries(payload.memberAssignment)) {
      for (const partition of partitions) seekFirst(topic, partition);
    }
  });
  signal.addEventListener('abort', wake, { once: true });
  try {
    await consumer.connect();
    const topics = [...new Set(spots.map(({ topic }) => topic))];
    await consumer.subscribe({ topics, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: async ({ batch: { topic, partition, messages } }) => {
        const at = spots.findIndex((each) => each.topic === topic && each.partition === partition);
        const spot = spots[at];
        if (spot === undefined) return;
        const wanted = messages.filter(({ offset }) => Number(offset) < spot.to);
        read.push(
          wanted
            .filter(({ offset }) => Number(offset) >= spot.from)
            .map((message) => sourceRecord(topic, partition, message)),
        );
        const last = Number(messages.at(-1)?.offset ?? spot.to);
        if (last + 1 >= spot.to) spots.splice(at, 1);
        else spot.from = last + 1;
        seekFirst(topic, partition);
        wake();
      },
    });
    for (;;) {
      signal.throwIfAborted();
      const records = read.shift();
      if (records !== undefined) yield records;
      else if (spots.length === 0) return;
      else await moved.promise;
    }
  } finally {
    signal.removeEventListener('abort', wake);
    await consumer.disconnect().catch(() => {});
  }
}

/** All of a partition that has few records; of another one several places, as far apart as can be. */
function spotsOf(parts: readonly SourcePart[]): Spot[] {
  const filled = parts.filter(({ from, end }) => end > from);
  const each = Math.ceil(RECORDS / Math.max(1, filled.length) / SPOTS);
  return filled.flatMap(({ topic, partition, from, end }) => {
    if (end - from <= each * SPOTS) return [{ topic, partition, from, to: end }];
    const step = (end - from - each) / (SPOTS - 1);
    return Array.from({ length: SPOTS }, (_, at) => {
      const first = from + Math.floor(step * at);
      return { topic, partition, from: first, to: first + each };
    });
  });
}
