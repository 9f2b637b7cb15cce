import { spawnSync } from 'node:child_process';

import { type PeakMemory, watchMemory } from '../harness/memory.ts';
import type { Metric, Row } from '../harness/rows.ts';
import { medianOf } from '../harness/statistics.ts';
import { takeTurns } from '../harness/turns.ts';

/** Somebody who can do the work, in a process of its own that stays for all its runs. */
export interface Contender {
  name: string;
  pid: number;
  /** Does the work once and says how long it took, s. */
  run(): Promise<ContenderRun>;
}

export interface ContenderRun {
  seconds: number;
  /** Bytes that it wrote, where it writes. */
  bytes?: number;
  /** What the answer says, where it is looked at. Not timed. */
  answer?(): Promise<JoinAnswer>;
  /** Removes what it wrote. Not timed. */
  clear(): Promise<void>;
}

/** What an answer says; equal answers have equal digests, whatever the order of their rows. */
export interface JoinAnswer {
  rows: number;
  /** Rows with a vector. */
  found: number;
  /** Whether its rows are in the order of the spine. */
  in_order: boolean;
  /** Of the rows with a vector, and of all. */
  found_digest: string;
  digest: string;
}

export interface Measured extends PeakMemory {
  name: string;
  /** Of all rounds, in their order, without the warm-up. */
  seconds: number[];
  median: number;
  bytes?: number;
  answer?: JoinAnswer;
}

/**
 * Lets all do the work in turns, after one that warms up. What the one before has written is on the
 * disk before the next one starts.
 */
export async function inTurns(
  contenders: readonly Contender[],
  rounds: number,
): Promise<Measured[]> {
  const measured = new Map(
    contenders.map((contender): [Contender, Measured] => [
      contender,
      { name: contender.name, seconds: [], median: 0, anonymousBytes: 0, residentBytes: 0 },
    ]),
  );
  await takeTurns(contenders, rounds, async (contender, isWarmUp) =>
    oneTurn(contender, measured.get(contender)!, isWarmUp),
  );
  return [...measured.values()];
}

/** As the rows of a report. */
export function rowsOf(measured: readonly Measured[], group = ''): Row[] {
  return measured.map(({ name, seconds, anonymousBytes }) => ({
    name,
    group,
    values: { seconds, own_memory: [anonymousBytes / 2 ** 20] },
  }));
}

/** Of those rows. */
export const SECONDS_AND_MEMORY: readonly Metric[] = [
  { key: 'seconds', title: 's', unit: 's', better: 'less' },
  { key: 'own_memory', title: 'own memory, MiB', unit: 'MiB', better: 'less' },
];

/** Throws where one has another answer than the first: in all rows, or in those with a vector. */
export function requireEqualAnswers(
  measured: readonly Measured[],
  digest: 'digest' | 'found_digest' = 'digest',
): void {
  const [first, ...others] = measured;
  for (const { name, answer } of others) {
    if (answer?.[digest] === first!.answer?.[digest]) continue;
    const said = [first!.answer, answer].map((one) => JSON.stringify(one));
    throw new Error(`${name} answers ${said[1]}, ${first!.name} ${said[0]}`);
  }
}

async function oneTurn(contender: Contender, measured: Measured, isWarmUp: boolean): Promise<void> {
  spawnSync('sync');
  const stopWatching = watchMemory(contender.pid);
  const run = await contender.run();
  const peak = stopWatching();
  console.error(`${contender.name}: ${run.seconds.toFixed(2)} s`);
  if (isWarmUp) {
    const answer = await run.answer?.();
    if (answer !== undefined) measured.answer = answer;
  } else {
    measured.seconds.push(run.seconds);
    measured.median = medianOf(measured.seconds);
    measured.anonymousBytes = Math.max(measured.anonymousBytes, peak.anonymousBytes);
    measured.residentBytes = Math.max(measured.residentBytes, peak.residentBytes);
    if (run.bytes !== undefined) measured.bytes = run.bytes;
  }
  await run.clear();
}
