/**
 * The least that an answer in files costs: copies bytes in memory and writes them, as many as it is
 * told, in threads that have a part of them each. A path a line on standard input, a line of JSON
 * when it is done.
 *
 *     node bench/joins/floor-copy.ts <bytes> <threads>
 */
import { once } from 'node:events';
import { closeSync, openSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

/** As much as a part of an export has. */
const PART_BYTES = 64 * 2 ** 20;

/** Copies and writes so many bytes whenever it is given a path, file after file. */
function work(bytes: number): void {
  const source = Buffer.alloc(bytes, 'tidemark');
  // The same memory for each file, as an export has it.
  const memory = Buffer.alloc(Math.min(PART_BYTES, bytes));
  parentPort!.on('message', (path: string) => {
    for (let from = 0; from < bytes; from += PART_BYTES) {
      const part = memory.subarray(0, Math.min(PART_BYTES, bytes - from));
      source.copy(part, 0, from, from + part.byteLength);
      const file = openSync(`${path}-${from}`, 'w');
      writeSync(file, part);
      closeSync(file);
    }
    parentPort!.postMessage('done', []);
  });
  parentPort!.postMessage('ready', []);
}

async function lead(): Promise<void> {
  const [bytes, threads] = process.argv.slice(2).map(Number) as [number, number];
  const share = Math.ceil(bytes / threads);
  const workers = Array.from(
    { length: threads },
    () => new Worker(new URL(import.meta.url), { workerData: share }),
  );
  await Promise.all(workers.map(async (worker) => once(worker, 'message')));
  for await (const path of createInterface({ input: process.stdin })) {
    const start = performance.now();
    const done = workers.map(async (worker, at) => {
      worker.postMessage(`${path}-${at}`, []);
      return once(worker, 'message');
    });
    await Promise.all(done);
    console.log(JSON.stringify({ seconds: (performance.now() - start) / 1_000 }));
  }
  await Promise.all(workers.map(async (worker) => worker.terminate()));
}

if (isMainThread) await lead();
else work(workerData as number);
