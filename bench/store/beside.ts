import { setTimeout as sleep } from 'node:timers/promises';

import type { Store } from '../../src/store/store.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { batches } from '../harness/jobs.ts';
import { latestOf } from '../harness/latest.ts';
import { seeded } from '../harness/random.ts';

/** A store that takes a while to work through. */
export interface Shape {
  title: string;
  revisions: number;
  entities: number;
  dim: number;
}

export const SHAPES: readonly Shape[] = [
  { title: '1,000,000 × 128-d', revisions: 1_000_000, entities: 100_000, dim: 128 },
  { title: '100,000 × 768-d', revisions: 100_000, entities: 20_000, dim: 768 },
];

/** Lookups a second, of so many ids, and rows pushed a second, beside a long work. */
export const LOOKUPS = 200;
const IDS = 100;
export const PUSHED = 2_000;

/** Looks up at its pace; how long each took from when it was due, ms, ascending. */
export async function lookUp(
  store: Store,
  idOf: (at: number) => string,
  entities: number,
  dim: number,
  state: { done: boolean },
): Promise<Float64Array> {
  const random = seeded(5);
  const out = new Uint8Array(IDS * dim * 4);
  const times: number[] = [];
  for (let due = performance.now(); !state.done; due += 1_000 / LOOKUPS) {
    await sleep(Math.max(0, due - performance.now()));
    const version = store.version('job', 'v1');
    const ids = Array.from({ length: IDS }, () => idOf(Math.floor(random() * entities)));
    const resolution = resolveMany(version, ids, latestOf(store));
    gather(version.vectors, resolution, out);
    times.push(performance.now() - due);
  }
  return Float64Array.from(times).toSorted();
}

export async function push(
  store: Store,
  entities: number,
  dim: number,
  state: { done: boolean },
): Promise<void> {
  const idOf = (at: number) => `job-${(at * 7) % entities}`;
  for (const rows of batches(10_000_000, PUSHED / 10, dim, idOf)) {
    if (state.done) return;
    await Promise.all([store.commit('job', 'v1', { rows }), sleep(100)]);
  }
}
