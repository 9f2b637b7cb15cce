import type { CommitResult, RevisionBatch } from '../../store/batch.ts';
import { outcomesOf } from '../kafka/chunk.ts';
import type { PipelineCounts } from '../pipeline.ts';
import type { BackfillFolder } from './folder.ts';
import type { History, HistoryPage } from './history.ts';
import type { BackfillCounts, BackfillRecord, RejectedEvent } from './record.ts';
import { type BackfillTarget, placeOf, type Ready } from './target.ts';

/** Pages whose texts wait for the model while others are committed, so that it is never idle. */
const PAGES_AHEAD = 4;
/** Of the events that are rejected so many are told of, and so many are in the folder. */
const REJECTED_TOLD = 20;
const REJECTED_KEPT = 100_000;

/** A backfill at work. */
export interface Job {
  record: BackfillRecord;
  folder: BackfillFolder;
  target: BackfillTarget;
  signal: AbortSignal;
  /** Told what keeps it from going on for now; undefined: nothing. */
  waitsFor: (message: string | undefined) => void;
}

interface Ahead {
  page: HistoryPage;
  ready: Promise<Ready>;
}

/**
 * Goes through a history from where the store says that it has come to; `record` is kept up to date.
 * What is stored of a page and the place behind it are one commit (A12), so that a process which
 * goes on with it stores nothing twice, and leaves nothing out.
 */
export async function runHistory(job: Job, history: History): Promise<void> {
  const { record, folder, target, signal } = job;
  if (record.total === undefined) {
    record.total = await history.count(signal);
    record.counted = { next: 0, snapshot: target.snapshot };
    await folder.writeRecord(record);
  }
  let stored = target.nextOffset(history.topic);
  const rejected = await recoverRejected(job, ({ offset }) => offset < stored);
  await recount(job, history, stored, new Set(rejected.map(({ offset }) => offset)));
  const ahead: Ahead[] = [];
  const storeFirst = async (): Promise<void> => {
    const { page, ready } = ahead.shift()!;
    await storePage(job, history.topic, page, await ready, stored);
    stored = page.next;
  };
  try {
    for await (const page of history.pages(stored, signal)) {
      const ready = target.prepare(page.events, signal);
      // Who waits for it hears of a failure; that it waits here is nobody's failure.
      ready.catch(() => {});
      ahead.push({ page, ready });
      if (ahead.length === PAGES_AHEAD) await storeFirst();
    }
    while (ahead.length > 0) await storeFirst();
  } finally {
    for (const each of await Promise.allSettled(ahead.map(async ({ ready }) => ready))) {
      if (each.status === 'fulfilled') each.value.release();
    }
  }
}

async function storePage(
  job: Job,
  topic: string,
  page: HistoryPage,
  ready: Ready,
  stored: number,
): Promise<void> {
  const { record, folder, target, signal } = job;
  const rejected = [...page.rejected, ...ready.rejected].toSorted((a, b) => a.offset - b.offset);
  try {
    await target.yieldToOthers();
    signal.throwIfAborted();
    await noteRejected(
      job,
      rejected.map(({ code, message, offset }) => ({ topic, partition: 0, offset, code, message })),
    );
    const expected = stored === 0 ? undefined : BigInt(stored);
    const offset = { ...target.keyOf(topic), expected, next: BigInt(page.next) };
    const { rows, fields } = ready;
    const result = await target.commit({ rows, ...(fields && { fields }), offset });
    countPage(record, result, {
      next: page.next,
      read: page.read,
      inputs: ready.inputs,
      rows,
      rejected: rejected.length,
      skipped: ready.skipped,
      erased: ready.erased + page.erased,
    });
  } finally {
    ready.release();
  }
  await folder.noteProgress(record);
}

/** A crash comes between the commit of a page and the note of it: the log has what became of it. */
async function recount(
  { record, target, signal }: Job,
  history: History,
  stored: number,
  rejected: ReadonlySet<number>,
): Promise<void> {
  const { counts, counted } = record;
  if (counted === undefined || counted.next >= stored) return;
  const found = target.storedSince(counted.snapshot);
  for await (const page of history.pages(counted.next, signal)) {
    if (page.next > stored) break;
    counts.read += page.read;
    counts.erased += page.erased;
    for (const said of page.events) {
      if (rejected.has(said.offset)) continue;
      if (found.has(placeOf({ topic: history.topic, partition: 0, offset: said.offset }))) {
        counts.stored++;
      } else if (!target.wants(said)) counts.skipped++;
      else if (target.isErased(said.entityId)) counts.erased++;
      else counts.duplicate++;
    }
    record.counted = { next: page.next, snapshot: target.snapshot };
  }
}

/** Writes down, before their page is stored, which events cannot become revisions. */
export async function noteRejected(
  { record, folder }: Pick<Job, 'record' | 'folder'>,
  events: readonly RejectedEvent[],
): Promise<void> {
  const kept = events.slice(0, Math.max(0, REJECTED_KEPT - record.counts.rejected));
  if (kept.length > 0) await folder.addRejected(kept);
  const room = Math.max(0, REJECTED_TOLD - record.rejected.length);
  record.rejected.push(...events.slice(0, room));
}

/** Keeps of the events that were rejected those that are not read again. */
export async function recoverRejected(
  { record, folder }: Pick<Job, 'record' | 'folder'>,
  isKept: (event: RejectedEvent) => boolean,
): Promise<readonly RejectedEvent[]> {
  const rejected = await folder.recoverRejected(isKept);
  record.rejected = rejected.slice(0, REJECTED_TOLD);
  if (rejected.length < REJECTED_KEPT) record.counts.rejected = rejected.length;
  return rejected;
}

/** Counts what became of events that were read. */
export function countPage(
  record: BackfillRecord,
  { outcomes, snapshot }: Pick<CommitResult, 'outcomes' | 'snapshot'>,
  page: Pick<BackfillCounts, 'read' | 'rejected' | 'skipped' | 'erased'> & {
    next: number;
    rows: RevisionBatch;
    inputs: PipelineCounts;
  },
): void {
  const { counts, inputs } = record;
  record.counted = { next: page.next, snapshot };
  for (const fate of Object.keys(inputs) as (keyof PipelineCounts)[]) {
    inputs[fate] += page.inputs[fate];
  }
  counts.read += page.read;
  counts.rejected += page.rejected;
  counts.skipped += page.skipped;
  counts.erased += page.erased;
  for (const outcome of outcomesOf(page.rows, outcomes)) {
    if (outcome === 'latest' || outcome === 'history') counts.stored++;
    else counts[outcome]++;
  }
}
