/**
 * How fast a view is compared between two moments, and what that costs the others meanwhile.
 * Run with `npm run bench -- diff`.
 */
import { setImmediate } from 'node:timers/promises';

import { micros } from '../../src/ground/time.ts';
import { diffNdjson, type DiffPlan } from '../../src/timetravel/diff.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';
import { printGround } from '../harness/ground.ts';
import { batches, benchStore } from '../harness/jobs.ts';
import { percentile } from '../harness/statistics.ts';

const ENTITIES = 100_000;
const DIM = 384;
const RUNS = 5;

printGround();
console.log(`${ENTITIES} entities × ${DIM} float32, two revisions each, in memory.\n`);
const { store, done } = benchStore(DIM);
for (const batch of batches(ENTITIES * 2, 2_000, DIM, (at) => `job-${at % ENTITIES}`)) {
  await store.commit('job', 'v1', { rows: batch });
}
const view = store.catalogue.mustGetView('job');
console.log('| changed | entities/s | lines MB | turn of the event loop p50 ms | p99 | max |');
console.log('|---|---|---|---|---|---|');
for (const share of [0, 0.01, 0.1, 1]) await run(share);
await done();

/** Entity after entity got its second vector, one a second: a later `from` leaves fewer of them. */
async function run(share: number): Promise<void> {
  const plan: DiffPlan = {
    store,
    view,
    version: view.versions['v1']!,
    from: micros((ENTITIES * (2 - share) - 1) * 1e6),
    to: micros((ENTITIES * 2 - 1) * 1e6),
    question: {
      boundary: 'inclusive',
      knowledge: 'event',
      knownAt: undefined,
      maxAge: ANY_AGE,
      now: 0,
      snapshot: store.snapshot,
    },
    minDistance: 0,
  };
  const seconds: number[] = [];
  const turns: number[] = [];
  let bytes = 0;
  for (let at = 0; at < RUNS; at++) {
    const isOver = new AbortController();
    const watching = watch(turns, isOver.signal);
    const started = performance.now();
    bytes = 0;
    for await (const part of diffNdjson(plan)) bytes += part.byteLength;
    seconds.push((performance.now() - started) / 1_000);
    isOver.abort();
    await watching;
  }
  const times = Float64Array.from(seconds).toSorted();
  const waits = Float64Array.from(turns).toSorted();
  const cells = [
    `${share * 100} %`,
    Math.round(ENTITIES / percentile(times, 0.5)).toLocaleString('en'),
    (bytes / 1e6).toFixed(1),
    ...[0.5, 0.99, 1].map((each) => percentile(waits, each).toFixed(1)),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

/** How long the event loop takes for a turn: what a request waits for at most. */
async function watch(turns: number[], isOver: AbortSignal): Promise<void> {
  while (!isOver.aborted) {
    const started = performance.now();
    await setImmediate();
    turns.push(performance.now() - started);
  }
}
