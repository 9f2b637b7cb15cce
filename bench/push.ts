/**
 * Durable pushes per second by batch size, and bytes on disk per vector. Run with
 * `npm run bench:push`.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';

import { batches, benchStore, printGround } from './measure.ts';

printGround();
console.log('Rows of 768 float32, 20,000 entities, each batch answered when durable.\n');
console.log('| rows a batch | batches in flight | rows/s | p50 ms | p99 ms |');
console.log('|---|---|---|---|---|');
for (const [size, flight, total] of [
  [1, 1, 1_000],
  [1, 64, 20_000],
  [100, 1, 40_000],
  [100, 4, 40_000],
  [1_000, 1, 60_000],
  [1_000, 4, 60_000],
  [5_000, 1, 100_000],
  [5_000, 2, 100_000],
] as const) {
  const { store, done } = benchStore(768);
  const ready = [...batches(total, size, 768, 'float32', (at) => `job-${(at * 7_919) % 20_000}`)];
  const times: number[] = [];
  const start = performance.now();
  const queue = ready.values();
  await Promise.all(
    Array.from({ length: flight }, async () => {
      for (const rows of queue) {
        const before = performance.now();
        await store.commit('job', 'v1', { rows });
        times.push(performance.now() - before);
      }
    }),
  );
  const seconds = (performance.now() - start) / 1_000;
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor((times.length - 1) * share)]!.toFixed(1);
  console.log(
    `| ${size} | ${flight} | ${Math.round(total / seconds)} | ${at(0.5)} | ${at(0.99)} |`,
  );
  await done();
}

console.log('\n| vectors | bytes of one | file bytes a vector | share |');
console.log('|---|---|---|---|');
for (const [dim, dtype, bytes] of [
  [384, 'float32', 1_536],
  [768, 'float32', 3_072],
  [768, 'float16', 1_536],
] as const) {
  const { store, directory, done } = benchStore(dim, dtype);
  const total = 50_000;
  for (const rows of batches(total, 1_000, dim, dtype, (at) => `job-${at % 25_000}`)) {
    await store.commit('job', 'v1', { rows });
  }
  const { size } = statSync(join(directory, 'views/job/v1/data.mdb'));
  const each = size / total;
  console.log(
    `| ${dim} ${dtype} | ${bytes} | ${Math.round(each)} | ${(each / bytes).toFixed(2)} |`,
  );
  await done();
}
