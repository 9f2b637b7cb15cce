/**
 * Whether long reads make a file grow: the same revisions are ingested with nobody reading, beside
 * training joins and a reader of the feed that never stop, and, so that one sees what is looked for,
 * beside a reader that holds on to the state it began with. Run with `npm run bench -- file-growth`.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { formatInstant, micros } from '../../src/ground/time.ts';
import type { Store } from '../../src/store/store.ts';
import { JoinPool } from '../../src/timetravel/join/pool.ts';
import { streamJoin, streamLimits } from '../../src/timetravel/join/stream.ts';
import { readSpineStream } from '../../src/timetravel/spine/source.ts';
import { planOf } from '../../test/support/join-plan.ts';
import { printGround } from '../harness/ground.ts';
import { batches, benchStore } from '../harness/jobs.ts';
import { seeded } from '../harness/random.ts';

const DIM = 128;
const ENTITIES = 5_000;
const REVISIONS = 150_000;
const BATCH = 500;
const SPINE_ROWS = 200_000;
const JOINS = 2;
/** Clients take their time over each part of an answer, ms. */
const SLOW = 50;
/** Between two pages of the feed, ms. */
const PAUSE = 5;

interface State {
  done: boolean;
  joins: number;
  rows: number;
  changes: number;
}

/** Reads beside the ingestion until that is done. */
type Reader = (store: Store, state: State) => Promise<void>;

const idOf = (at: number): string => `job-${(at * 7_919) % ENTITIES}`;

async function* spine(random: () => number): AsyncGenerator<Uint8Array> {
  for (let row = 0; row < SPINE_ROWS; row++) {
    const event_timestamp = formatInstant(micros(Math.floor(random() * REVISIONS) * 1_000_000));
    const job_id = idOf(Math.floor(random() * ENTITIES));
    yield Buffer.from(`${JSON.stringify({ job_id, event_timestamp })}\n`);
  }
}

/** One training join after another, for a client that is slow. */
async function join(store: Store, state: State): Promise<void> {
  const random = seeded(11);
  const pool = new JoinPool(1);
  while (!state.done) {
    const plan = planOf(store, { format: 'ndjson' });
    const limits = { ...streamLimits(plan), lineBytesMax: 65_536 };
    const source = readSpineStream(spine(random), 'ndjson', limits);
    const { signal } = new AbortController();
    const lines = streamJoin({ store, pool, plan, source, signal });
    for await (const part of lines) {
      state.rows += Buffer.from(part).toString('latin1').split('\n').length - 1;
      if (state.done) break;
      await sleep(SLOW);
    }
    if (!state.done) state.joins++;
  }
  await pool.close();
}

/** Reads the feed from its beginning, again and again. */
async function follow(store: Store, state: State): Promise<void> {
  let after = 0;
  while (!state.done) {
    const { items, upTo } = store.changes({ after, upTo: store.snapshot, limit: 500 });
    for (const item of items) if ('changes' in item) state.changes += item.changes.length;
    after = upTo === after ? 0 : upTo;
    await sleep(PAUSE);
  }
}

/** What no reader of Tidemark's does: a range that stays open keeps every page of its state. */
async function hold(store: Store, state: State): Promise<void> {
  const { timelines } = store.version('job', 'v1');
  await store.alone(async () => {});
  const range = timelines['table'].getRange({ start: undefined })[Symbol.iterator]();
  range.next();
  while (!state.done) await sleep(SLOW);
  range.return?.();
}

async function run(title: string, readers: readonly Reader[]): Promise<number> {
  const { store, done } = benchStore(DIM);
  const state: State = { done: false, joins: 0, rows: 0, changes: 0 };
  const start = performance.now();
  let reading: Promise<void>[] = [];
  let at = 0;
  for (const rows of batches(REVISIONS, BATCH, DIM, idOf)) {
    await store.commit('job', 'v1', { rows });
    at += rows.rows;
    // There is something to read by then.
    if (reading.length === 0 && at >= REVISIONS / 10) {
      reading = readers.map(async (reader) => reader(store, state));
    }
  }
  const seconds = (performance.now() - start) / 1_000;
  state.done = true;
  await Promise.all(reading);
  const bytes = store.version('job', 'v1').environment.bytes();
  await done();
  console.log(
    `| ${title} | ${(bytes / 2 ** 20).toFixed(0)} | ${Math.round(REVISIONS / seconds)} | ` +
      `${state.rows} | ${state.changes} |`,
  );
  return bytes;
}

printGround();
console.log(
  `${REVISIONS} revisions of ${ENTITIES} entities, ${DIM} float32, ${BATCH} a commit; ` +
    `joins of ${SPINE_ROWS} rows.\n`,
);
console.log('| read meanwhile | file MiB | rows/s ingested | rows joined | changes read |');
console.log('|---|---|---|---|---|');
const alone = await run('nothing', []);
const joins = Array.from({ length: JOINS }, () => join);
const beside = await run(`${JOINS} joins and the feed, without end`, [...joins, follow]);
const held = await run('a range held open', [hold]);
console.log(
  `\nThe file is ${(beside / alone).toFixed(2)} times as long beside joins and the feed, ` +
    `${(held / alone).toFixed(2)} times beside a range held open.`,
);
