/**
 * What a backup costs, and what it costs those who ask meanwhile: rows and bytes a second, its
 * verification and checksums included, and lookups beside it and without it. Run with
 * `npm run bench -- backup`.
 */
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

import { systemClock } from '../../src/ground/time.ts';
import { restoreBackup } from '../../src/store/restore.ts';
import { newFolder, removeFolder } from '../harness/folder.ts';
import { printGround } from '../harness/ground.ts';
import { batches, benchStore } from '../harness/jobs.ts';
import { percentile } from '../harness/statistics.ts';
import { LOOKUPS, lookUp, push, PUSHED, type Shape, SHAPES } from './beside.ts';

printGround();
console.log(`Beside all of it ${LOOKUPS} lookups and ${PUSHED} rows are asked for a second.\n`);
console.log('| what | s | rows/s | MB/s | loop delay p99, max ms | lookup p50, p99, max ms |');
console.log('|---|---|---|---|---|---|');
for (const shape of SHAPES) await run(shape);

async function run({ title, revisions, entities, dim }: Shape): Promise<void> {
  const { store, done } = benchStore(dim);
  const folder = newFolder();
  const idOf = (at: number) => `job-${at % entities}`;
  for (const rows of batches(revisions, 5_000, dim, idOf)) {
    await store.commit('job', 'v1', { rows });
  }

  /** Measures lookups while the work goes on; its bytes are those of the backup. */
  async function measure(what: string, work: () => Promise<number>): Promise<void> {
    const state = { done: false };
    const load = [lookUp(store, idOf, entities, dim, state), push(store, entities, dim, state)];
    const delay = monitorEventLoopDelay({ resolution: 1 });
    await sleep(1_000);
    delay.enable();
    const started = performance.now();
    const bytes = await work();
    const seconds = (performance.now() - started) / 1_000;
    delay.disable();
    state.done = true;
    const [times] = (await Promise.all(load)) as [Float64Array];
    const lookups = [0.5, 0.99, 1].map((share) => percentile(times, share).toFixed(2));
    const delays = [delay.percentile(99), delay.max].map((ns) => (ns / 1e6).toFixed(1));
    const rate = bytes === 0 ? '' : Math.round(revisions / seconds);
    const speed = bytes === 0 ? '' : (bytes / 1e6 / seconds).toFixed(0);
    console.log(
      `| ${title}: ${what} | ${seconds.toFixed(1)} | ${rate} | ${speed} | ${delays.join(', ')} | ${lookups.join(', ')} |`,
    );
  }

  await measure('nothing', async () => {
    await sleep(5_000);
    return 0;
  });
  const backup = join(folder, 'backup');
  await measure('backup', async () => {
    const { files } = await store.backup(backup);
    return files.reduce((sum, { bytes }) => sum + bytes, 0);
  });
  await measure('restore', async () => {
    const settings = { replace: false, erasedFrom: undefined, noNewerErasures: true };
    return (
      await restoreBackup(backup, join(folder, 'restored'), settings, systemClock, Math.random)
    ).bytes;
  });
  await done();
  removeFolder(folder);
}
