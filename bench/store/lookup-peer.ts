/**
 * A store in a process of its own that looks entities up again and again. Its argument is a
 * `LookupPeer` as JSON; each line on its standard input is answered by one of JSON.
 *
 *     read          reads the file once, page after page
 *     warm          looks every entity up once
 *     latest S      asks for the latest, for S seconds
 *     as-of S       asks as of any moment of the history
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { createInterface } from 'node:readline';

import { systemClock } from '../../src/ground/time.ts';
import { openStore } from '../../src/store/store.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { latestOf } from '../harness/latest.ts';
import { seeded } from '../harness/random.ts';
import { percentile } from '../harness/statistics.ts';
import { dataFile, entityId, type LookupPeer } from './histories.ts';

const QUESTIONS = 256;
const CHUNK_BYTES = 2 ** 22;

const {
  directory,
  history,
  ids: asked,
  residentBytes,
} = JSON.parse(process.argv[2]!) as LookupPeer;
const { entities, revisions } = history;
const store = openStore(directory, systemClock, { residentBytes });
const version = store.version('job', 'v1');
const latest = latestOf(store);
const out = new Uint8Array(asked * version.vectors.vectorBytes);
const random = seeded(3);
const questions = Array.from({ length: QUESTIONS }, () =>
  Array.from({ length: asked }, () => entityId(Math.floor(random() * entities))),
);

/** Microseconds of each lookup, ascending, after a tenth of them unmeasured. */
function ask(seconds: number, isLatest: boolean): Float64Array {
  const times: number[] = [];
  const start = performance.now();
  for (let at = 0; ; at++) {
    const asOf = isLatest ? undefined : Math.floor(random() * entities * revisions * 1e6);
    const before = performance.now();
    const ids = questions[at % QUESTIONS]!;
    gather(version.vectors, resolveMany(version, ids, { ...latest, asOf }), out);
    const now = performance.now();
    if (now - start > seconds * 100) times.push(((now - before) * 1_000) / asked);
    if (now - start > seconds * 1_000) return Float64Array.from(times).toSorted();
  }
}

function warm(): void {
  for (let from = 0; from < entities; from += asked) {
    const count = Math.min(asked, entities - from);
    const ids = Array.from({ length: count }, (_, at) => entityId(from + at));
    gather(version.vectors, resolveMany(version, ids, latest), out);
  }
}

function read(): void {
  const file = openSync(dataFile(directory), 'r');
  const chunk = new Uint8Array(CHUNK_BYTES);
  while (readSync(file, chunk) > 0);
  closeSync(file);
}

for await (const line of createInterface({ input: process.stdin })) {
  const [what, seconds] = line.split(' ') as [string, string];
  if (what === 'read') read();
  else if (what === 'warm') warm();
  const times =
    what === 'latest' || what === 'as-of' ? ask(Number(seconds), what === 'latest') : [];
  const [p50, p99] = [0.5, 0.99].map((share) => percentile(Float64Array.from(times), share));
  console.log(JSON.stringify({ p50, p99 }));
}
await store.close();
