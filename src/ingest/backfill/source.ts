import { TidemarkError } from '../../ground/errors.ts';
import type { CommitResult, RevisionBatch } from '../../store/batch.ts';
import type { Store } from '../../store/store.ts';
import type { Chunk } from '../kafka/chunk.ts';
import { Destination } from '../kafka/destination.ts';
import { KafkaSource } from '../kafka/source.ts';
import type { Prepare } from '../prepare.ts';
import type { BoundSource } from '../source-config.ts';
import type { MappedRecord } from '../source-record.ts';
import type { HistoryEvent } from './history.ts';
import { countPage, type Job, noteRejected, recoverRejected } from './job.ts';
import type { SourceOrigin } from './record.ts';
import { findParts, rereadConfig, type SourceNeeds, type SourcePart } from './source-parts.ts';
import type { Ready } from './target.ts';

/** Between looks at a source that reads, ms. */
const LOOK_MS = 500;

/** Reads a source again, by a consumer group of its own, up to where its live reader began. */
export async function runSource(job: Job, needs: SourceNeeds): Promise<void> {
  const { record, folder, target, signal } = job;
  const origin = record.from as SourceOrigin;
  if (origin.parts === undefined) {
    origin.parts = await findParts(needs, record, origin, signal);
    record.total = origin.parts.reduce((sum, { from, end }) => sum + end - from, 0);
    record.counted = { next: 0, snapshot: target.snapshot };
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
  // A crash comes between a commit and the note of it: the log has what was stored.
  const { counted } = record;
  if (counted !== undefined) record.counts.stored += target.storedSince(counted.snapshot).size;
  record.counted = { next: 0, snapshot: target.snapshot };
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
    const { erased, inputs } = this.readies.get(chunk.rows)!;
    countPage(record, result, {
      next: 0,
      inputs,
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
