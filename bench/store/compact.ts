/**
 * What a compaction costs, and what it costs those who ask meanwhile: rows and bytes a second, how
 * long it holds up the event loop, and lookups and pushes beside it. Run with `npm run bench -- compact`.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

import { printGround } from '../harness/ground.ts';
import { batches, benchStore } from '../harness/jobs.ts';
import { percentile } from '../harness/statistics.ts';
import { LOOKUPS, lookUp, push, PUSHED, type Shape, SHAPES } from './beside.ts';

const ONE_ENTITY: Shape = {
  title: '200,000 × 8-d of one entity',
  revisions: 200_000,
  entities: 1,
  dim: 8,
};

printGround();
console.log(
  '| what | beside it | s | rows/s | MB/s | loop delay p99, max ms | lookup p50, p99, max ms |',
);
console.log('|---|---|---|---|---|---|---|');
for (const shape of [...SHAPES, ONE_ENTITY]) {
  for (const isLoaded of [false, true]) await run(shape, isLoaded);
}

async function run({ title, revisions, entities, dim }: Shape, isLoaded: boolean): Promise<void> {
  const { store, done } = benchStore(dim);
  const idOf = (at: number) => `job-${at % entities}`;
  for (const rows of batches(revisions, 5_000, dim, idOf)) {
    await store.commit('job', 'v1', { rows });
  }
  const state = { done: false };
  const load = isLoaded
    ? [lookUp(store, idOf, entities, dim, state), push(store, entities, dim, state)]
    : [];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  await sleep(1_000);
  delay.enable();
  const { seconds, bytes_before } = await store.compact('job', 'v1');
  delay.disable();
  state.done = true;
  const [times] = (await Promise.all(load)) as [Float64Array | undefined];
  const lookups = times && [0.5, 0.99, 1].map((share) => percentile(times, share).toFixed(2));
  const delays = [delay.percentile(99), delay.max].map((ns) => (ns / 1e6).toFixed(1));
  console.log(
    `| ${title} | ${isLoaded ? `${LOOKUPS} lookups/s, ${PUSHED} rows/s` : 'nothing'} | ` +
      `${seconds.toFixed(1)} | ${Math.round(revisions / seconds)} | ` +
      `${(bytes_before / 1e6 / seconds).toFixed(0)} | ${delays.join(', ')} | ` +
      `${lookups?.join(', ') ?? ''} |`,
  );
  await done();
}
