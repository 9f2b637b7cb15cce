import { Worker } from 'node:worker_threads';

import { expect, test } from 'vitest';

import { CheckedBits } from '../../src/store/checked-bits.ts';

const SLAB = 2 ** 20;

test('a vector counts as checked from when it was, until its id is written anew', () => {
  const checked = new CheckedBits();
  for (const id of [0, 31, 32, SLAB - 1, SLAB, 5 * SLAB + 7]) {
    expect(checked.has(id)).toBe(false);
    checked.add(id);
    expect(checked.has(id)).toBe(true);
    expect(checked.has(id + 1)).toBe(false);
    checked.clear(id);
    expect(checked.has(id)).toBe(false);
  }
});

test('ids beyond what there is memory for are checked at every read', () => {
  const checked = new CheckedBits();
  checked.add(2 ** 40);
  checked.clear(2 ** 40);
  expect(checked.has(2 ** 40)).toBe(false);
  expect(checked.slabs).toEqual([]);
});

test('there is memory for all ids below an end, and for no more than there may be', () => {
  const checked = new CheckedBits();
  checked.reserve(SLAB);
  expect(checked.slabs).toHaveLength(1);
  checked.reserve(SLAB + 1);
  checked.reserve(1);
  expect(checked.slabs).toHaveLength(2);
  checked.reserve(2 ** 50);
  expect(checked.slabs).toHaveLength(512);
  checked.add(2 * SLAB, false);
  expect(checked.has(2 * SLAB)).toBe(true);
});

test('what one thread has checked is checked for all that were given its memory', async () => {
  const own = new CheckedBits();
  own.add(3);
  const worker = new Worker(
    `import { parentPort, workerData } from 'node:worker_threads';
     import { CheckedBits } from ${JSON.stringify(new URL('../../src/store/checked-bits.ts', import.meta.url).href)};
     const bits = new CheckedBits([...workerData]);
     for (let id = 64; id < 1_064; id += 2) bits.add(id, false);
     bits.add(${SLAB}, false);
     parentPort.postMessage([bits.has(3), bits.has(4), bits.has(${SLAB})]);`,
    { eval: true, workerData: own.slabs },
  );
  const answered = Promise.withResolvers<unknown>();
  worker.on('message', answered.resolve);
  worker.on('error', answered.reject);
  // Bits of the same words meanwhile.
  for (let id = 65; id < 1_065; id += 2) own.add(id);
  // A thread makes no slab of its own: the others would not see it.
  expect(await answered.promise).toEqual([true, false, false]);
  const missing = Array.from({ length: 1_000 }, (_, at) => at + 64).filter((id) => !own.has(id));
  expect(missing).toEqual([]);
  await worker.terminate();
});
