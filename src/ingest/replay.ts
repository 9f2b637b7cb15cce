import type { CommitResult, DeadLetter, RevisionBatch } from '../store/batch.ts';
import type { Store } from '../store/store.ts';
import { nameOf } from '../store/versions.ts';
import { type Chunk, outcomesOf } from './kafka/chunk.ts';
import type { BoundSource } from './source-config.ts';
import type { SourceRecord } from './source-record.ts';

/** A source, as far as trying its dead letters again needs it. */
interface ReplayingSource {
  readonly config: BoundSource;
  prepareAgain(records: readonly SourceRecord[]): Promise<Chunk>;
}

/** What became of dead letters that were tried again. */
export interface Replayed {
  latest: number;
  history: number;
  duplicate: number;
  /** Of erased entities: they are removed, and nothing is stored. */
  erased: number;
  /** The source passes such records by now. */
  skipped: number;
  /** They stay, with the reason of now. */
  failed: number;
  /** They stay: there is no such source any more, or it writes elsewhere. */
  unconfigured: number;
}

/**
 * Tries dead letters of one model version again, in the order given: each goes the way of its source
 * as its configuration is now. What is committed by that leaves the dead letters in the same
 * commit; what fails again stays, with its new reason.
 * Rejects for what is not about a letter: then those before it are done, and the rest are untouched.
 */
export async function replayLetters(
  store: Store,
  sources: readonly ReplayingSource[],
  at: { view: string; version: string },
  letters: readonly DeadLetter[],
): Promise<Replayed> {
  const total: Replayed = {
    latest: 0,
    history: 0,
    duplicate: 0,
    erased: 0,
    skipped: 0,
    failed: 0,
    unconfigured: 0,
  };
  for (const run of partitionsOf(letters)) {
    const { source: name, topic } = run[0]!.position;
    const source = sources.find(({ config }) => config.name === name && isOf(config, at, topic));
    if (source === undefined) {
      total.unconfigured += run.length;
      continue;
    }
    await replayRun(store, source, at, run, total);
  }
  return total;
}

/** The letters in runs of one partition, as they stand. */
function partitionsOf(letters: readonly DeadLetter[]): DeadLetter[][] {
  const runs: DeadLetter[][] = [];
  for (const letter of letters) {
    const last = runs.at(-1)?.[0]?.position;
    const { source, topic, partition } = letter.position;
    const isSame = last?.source === source && last.topic === topic && last.partition === partition;
    if (isSame) runs.at(-1)!.push(letter);
    else runs.push([letter]);
  }
  return runs;
}

function isOf(
  { feature_view, version, topics }: BoundSource,
  at: { view: string; version: string },
  topic: string,
): boolean {
  return feature_view === at.view && version === at.version && topics.includes(topic);
}

async function replayRun(
  store: Store,
  source: ReplayingSource,
  { view, version }: { view: string; version: string },
  letters: readonly DeadLetter[],
  total: Replayed,
): Promise<void> {
  for (let left = letters; ;) {
    left = left.filter(({ position }) => store.version(view, version).deadLetters.has(position));
    if (left.length === 0) return;
    const records = left.map(recordOf);
    const takenOut = left.map(({ position }) => position);
    // A copy of the files takes letters and revisions at different moments: not between these two.
    // Nobody's turn is waited with: it is taken within.
    const isDone = await store.maintenance.run(nameOf(view, version), async () => {
      const chunk = await source.prepareAgain(records);
      const { rows, deadLetters, fields, skipped, release } = chunk;
      const request = { rows, deadLetters, takenOut, ...(fields && { fields }) };
      const result = await store.commit(view, version, request).finally(release);
      // Where one was taken by another meanwhile, the others are tried without it.
      if (!result.fenced) count(total, rows, result, skipped, deadLetters.length);
      return !result.fenced;
    });
    if (isDone) return;
  }
}

function count(
  total: Replayed,
  rows: RevisionBatch,
  { outcomes, deadLetters }: CommitResult,
  skipped: number,
  failed: number,
): void {
  for (const outcome of outcomesOf(rows, outcomes)) total[outcome]++;
  total.skipped += skipped;
  total.failed += deadLetters.length;
  total.erased += failed - deadLetters.length;
}

function recordOf({ position, key, value, headers, timestamp }: DeadLetter): SourceRecord {
  const { topic, partition, offset } = position;
  return { topic, partition, offset, key, value, headers, timestamp };
}
