import { setTimeout as delay } from 'node:timers/promises';

import { TidemarkError } from '../../ground/errors.ts';
import type { CommitResult, RevisionBatch } from '../../store/batch.ts';
import type { Store } from '../../store/store.ts';
import { BrokerView } from '../kafka/broker-view.ts';
import type { Chunk } from '../kafka/chunk.ts';
import { clientLog, createClient, type Log } from '../kafka/client.ts';
import { Destination } from '../kafka/destination.ts';
import { messageOf } from '../kafka/session-end.ts';
import { KafkaSource, type SourceOptions, type StoredPosition } from '../kafka/source.ts';
import type { Prepare } from '../prepare.ts';
import type { BoundSource, KafkaConnection, SourceConfig } from '../source-config.ts';
import type { MappedRecord } from '../source-record.ts';
import { type HistoryEvent, NotNow } from './history.ts';
import { countPage, type Job, noteRejected, recoverRejected } from './job.ts';
import { type BackfillRecord, type SourceOrigin, sourceOf } from './record.ts';
import type { Ready } from './target.ts';

/** Between looks at a source that reads, ms. */
const LOOK_MS = 500;

export interface SourceNeeds extends Pick<SourceOptions, 'pace'> {
  store: Store;
  sources: readonly SourceConfig[];
  connection: KafkaConnection | undefined;
  /** What reads into a version as records come. */
  readersOf: (
    view: string,
    version: string,
  ) => readonly Pick<KafkaSource, 'config' | 'positioned' | 'positions'>[];
  futureSkewMax: number;
  log: Log;
}

/** What is to be read of a partition. */
export type SourcePart = NonNullable<SourceOrigin['parts']>[number];

/**
 * The settings by which a source is read again. When a record arrives now says nothing of when it
 * was known: its own timestamp does.
 */
export function rereadConfig(
  needs: Pick<SourceNeeds, 'sources'>,
  { name }: SourceOrigin,
  record: Pick<BackfillRecord, 'id' | 'version'>,
): BoundSource {
  const config = needs.sources.find((each) => each.name === name);
  if (config === undefined) {
    throw new TidemarkError('BAD_REQUEST', `the settings have no source ${name} any more`);
  }
  const mappings = Object.fromEntries(
    Object.entries(config.mappings).map(([topic, mapping]) => [
      topic,
      mapping.known_timestamp === 'arrival'
        ? { ...mapping, known_timestamp: 'record' as const }
        : mapping,
    ]),
  );
  const { version } = record;
  return { ...config, mappings, version, name: sourceOf(record), from: 'beginning' };
}

/**
 * What there is to read of a source: from where its topics begin to where the live reader of the
 * version began, or to their end where there is none. Throws NotNow while the brokers do not answer.
 */
export async function findParts(
  needs: SourceNeeds,
  { view, version }: Pick<BackfillRecord, 'view' | 'version'>,
  { name }: SourceOrigin,
  signal: AbortSignal,
): Promise<SourcePart[]> {
  const config = rereadConfig(needs, { kind: 'source', name }, { id: '', version });
  const log = clientLog(needs.log, signal);
  const brokers = new BrokerView(createClient(needs.connection!, 'tidemark-backfill', log));
  try {
    const live = needs.readersOf(view, version).find((reader) => reader.config.name === name);
    const begun = live && (await begunAt(live, signal));
    const parts: SourcePart[] = [];
    for (const topic of config.topics) {
      for (const [partition, { low, high }] of await brokers.heldOffsets(topic)) {
        const at = begun?.find((each) => each.topic === topic && each.partition === partition);
        // A reader that began with the topic has read what is there up to where it is.
        const end = begun === undefined ? high : (at?.first ?? at?.next ?? low);
        parts.push({ topic, partition, from: Number(low), end: Number(end > low ? end : low) });
      }
    }
    return parts;
  } catch (error) {
    if (error instanceof TidemarkError || signal.aborted) throw error;
    throw new NotNow(`the brokers cannot be asked: ${messageOf(error)}`, { cause: error });
  } finally {
    await brokers.close().catch(() => {});
  }
}

/** Where a live reader began, as soon as that is stored. */
async function begunAt(
  live: Pick<KafkaSource, 'positioned' | 'positions'>,
  signal: AbortSignal,
): Promise<StoredPosition[]> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([live.positioned(), aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  for (;;) {
    const positions = live.positions();
    if (positions !== undefined) return positions;
    await delay(LOOK_MS, undefined, { signal });
  }
}

/** Reads a source again, by a consumer group of its own, up to where its live reader began. */
export async function runSource(job: Job, needs: SourceNeeds): Promise<void> {
  const { record, folder, target, signal } = job;
  const origin = record.from as SourceOrigin;
  if (origin.parts === undefined) {
    origin.parts = await findParts(needs, record, origin, signal);
    record.total = origin.parts.reduce((sum, { from, end }) => sum + end - from, 0);
    await folder.writeRecord(record);
  }
  const rereading = new Rereading(job, needs, origin.parts);
  await recoverRejected(job, ({ topic, partition, offset }) => {
    return offset < target.nextOffset(topic, partition);
  });
  record.counts.read = origin.parts.reduce(
    (sum, { topic, partition, from }) =>
      sum + Math.max(0, target.nextOffset(topic, partition) - from),
    0,
  );
  await rereading.run();
}

class Rereading {
  private job: Job;
  private needs: SourceNeeds;
  private parts: readonly SourcePart[];
  private over = Promise.withResolvers<void>();
  /** What was made ready, by its rows, until it is stored. */
  private readies = new WeakMap<RevisionBatch, Ready>();

  constructor(job: Job, needs: SourceNeeds, parts: readonly SourcePart[]) {
    this.job = job;
    this.needs = needs;
    this.parts = parts;
  }

  async run(): Promise<void> {
    if (this.isThrough) return;
    const { record, signal } = this.job;
    const { store, connection, futureSkewMax, log, pace } = this.needs;
    const source = new KafkaSource({
      config: rereadConfig(this.needs, record.from as SourceOrigin, record),
      connection: connection!,
      store,
      futureSkewMax,
      log,
      ...(pace && { pace }),
      preparer: () => this.prepare,
      until: ({ topic, partition }) => BigInt(this.partOf(topic, partition)?.end ?? 0),
      destination: (_store, config) => new Rows(store, config, this.job, this.readies),
    });
    const onAbort = (): void => this.over.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    source.start();
    const looking = setInterval(() => this.look(source), LOOK_MS);
    try {
      await this.over.promise;
    } finally {
      clearInterval(looking);
      signal.removeEventListener('abort', onAbort);
      await source.stop();
    }
  }

  private look(source: KafkaSource): void {
    try {
      const { state, message } = source.status();
      this.job.waitsFor(state === 'running' ? undefined : message);
      if (this.isThrough) this.over.resolve();
      else if (state === 'halted') throw new TidemarkError('BAD_REQUEST', message ?? state);
    } catch (error) {
      this.over.reject(error);
    }
  }

  /** Throws VERSION_NOT_FOUND. */
  private get isThrough(): boolean {
    return this.parts.every(
      ({ topic, partition, from, end }) =>
        end <= from || this.job.target.nextOffset(topic, partition) >= end,
    );
  }

  private partOf(topic: string, partition: number): SourcePart | undefined {
    return this.parts.find((each) => each.topic === topic && each.partition === partition);
  }

  private prepare: Prepare = async (records) => {
    const { target, signal } = this.job;
    const ready = await target.prepare(records.map(eventOf), signal);
    this.readies.set(ready.rows, ready);
    const indexes = new Map(records.map(({ offset }, index) => [offset, index]));
    const { rows, fields, rejected, skipped, erased, release } = ready;
    return {
      rows,
      rejected: rejected
        .map(({ offset, ...why }) => ({ ...why, index: indexes.get(offset)! }))
        .toSorted((a, b) => a.index - b.index),
      skipped: skipped + erased,
      release,
      ...(fields && { fields }),
    };
  };
}

/** What a mapped record says. */
export function eventOf({
  entityId,
  event,
  known,
  offset,
  part,
  ...said
}: MappedRecord): HistoryEvent {
  const at = { entityId, event, known, offset, part };
  if (said.kind === 'text') return { ...at, kind: 'text', input: { fields: said.fields } };
  return said.kind === 'vector' ? { ...at, ...said } : { ...at, kind: 'delete' };
}

/** Takes chunks one after another: counts them, and keeps what is rejected in the job's folder. */
class Rows extends Destination {
  private job: Job;
  private readies: WeakMap<RevisionBatch, Ready>;
  private last: Promise<unknown> = Promise.resolve();

  constructor(store: Store, config: BoundSource, job: Job, readies: WeakMap<RevisionBatch, Ready>) {
    super(store, config);
    this.job = job;
    this.readies = readies;
  }

  override async commit(
    chunk: Chunk,
    at: { topic: string; partition: number },
    expected: bigint | undefined,
    next: bigint,
  ): Promise<CommitResult> {
    // In their order, although each waits for those who write beside it.
    const stored = this.last.then(() => this.storeChunk(chunk, at, expected, next));
    this.last = stored.catch(() => {});
    return stored;
  }

  private async storeChunk(
    chunk: Chunk,
    { topic, partition }: { topic: string; partition: number },
    expected: bigint | undefined,
    next: bigint,
  ): Promise<CommitResult> {
    const { record, folder, target } = this.job;
    await target.yieldToOthers();
    const rejected = chunk.deadLetters.map(({ position: { offset }, reason: code, message }) => ({
      topic,
      partition,
      offset,
      code,
      message,
    }));
    await noteRejected(this.job, rejected);
    const at = { topic, partition };
    const result = await super.commit({ ...chunk, deadLetters: [] }, at, expected, next);
    if (result.fenced) return result;
    const { parts = [] } = record.from as SourceOrigin;
    const part = parts.find((each) => each.topic === topic && each.partition === partition);
    const erased = this.readies.get(chunk.rows)?.erased ?? 0;
    countPage(record, result, {
      read: Number(next) - Number(expected ?? part?.from ?? 0),
      rows: chunk.rows,
      rejected: rejected.length,
      skipped: chunk.skipped - erased,
      erased,
    });
    await folder.noteProgress(record);
    return result;
  }
}
