import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';

import { ResidentBudget } from '../../src/store/resident-budget.ts';
import { ResidentVectors } from '../../src/store/resident-vectors.ts';
import { openStore } from '../../src/store/store.ts';
import { batchOf, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const BYTES = 64;

function vectorOf(id: number): Uint8Array {
  return new Uint8Array(BYTES).fill(1 + (id % 250));
}

function sourceOf(name: string): string {
  return new URL(`../../src/store/${name}.ts`, import.meta.url).href;
}

/** What is there of an id; undefined where it is not resident. */
function copyOf(vectors: ResidentVectors, id: number): Uint8Array | undefined {
  const out = new Uint8Array(BYTES + 2);
  if (!vectors.copyInto(id, out, 1)) return undefined;
  expect([out[0], out.at(-1)]).toEqual([0, 0]);
  return out.slice(1, -1);
}

test('a vector is resident from when it was added until it is removed', () => {
  const vectors = new ResidentVectors(BYTES, new ResidentBudget(10 * BYTES));
  expect(copyOf(vectors, 3)).toBeUndefined();
  vectors.add(3, vectorOf(3));
  expect(copyOf(vectors, 3)).toEqual(vectorOf(3));
  expect(copyOf(vectors, 13)).toBeUndefined();
  vectors.remove(13);
  expect(copyOf(vectors, 3)).toEqual(vectorOf(3));
  vectors.remove(3);
  expect(copyOf(vectors, 3)).toBeUndefined();
  vectors.add(3, vectorOf(7));
  expect(copyOf(vectors, 3)).toEqual(vectorOf(7));
});

test('of ids that share a slot the last one read is resident', () => {
  const vectors = new ResidentVectors(BYTES, new ResidentBudget(4 * BYTES));
  for (const id of [1, 5, 2 ** 31 - 3]) {
    vectors.add(id, vectorOf(id));
    expect(copyOf(vectors, id)).toEqual(vectorOf(id));
  }
  expect(copyOf(vectors, 1)).toBeUndefined();
});

test('over several slabs of memory each is still answered with its own', () => {
  const vectors = new ResidentVectors(BYTES, new ResidentBudget(30 * BYTES), 5 * BYTES);
  const ids = Array.from({ length: 30 }, (_, at) => (at * 7) % 30);
  for (const id of ids) vectors.add(id, vectorOf(id));
  for (const id of ids) expect(copyOf(vectors, id)).toEqual(vectorOf(id));
  vectors.remove(ids[17]!);
  expect(copyOf(vectors, ids[17]!)).toBeUndefined();
  for (const id of ids.toSpliced(17, 1)) expect(copyOf(vectors, id)).toEqual(vectorOf(id));
});

test('a few vectors of many fill little more memory than they have bytes', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--input-type=module',
    '--eval',
    `import { ResidentBudget } from '${sourceOf('resident-budget')}';
     import { ResidentVectors } from '${sourceOf('resident-vectors')}';
     const budget = new ResidentBudget(2 ** 28);
     const vectors = new ResidentVectors(256, budget);
     const vector = new Uint8Array(256).fill(1);
     const before = process.memoryUsage.rss();
     for (let id = 0; id < 2 ** 20; id += 32) vectors.add(id, vector);
     console.log((process.memoryUsage.rss() - before) / budget.used);`,
  ]);
  // Twice, with what says where each is. As far apart as their ids it would be sixteen times, and
  // with huge pages all.
  expect(Number(stdout)).toBeLessThan(6);
});

test('an id beyond 32 bits is not resident', () => {
  const vectors = new ResidentVectors(BYTES, new ResidentBudget(2 * BYTES));
  vectors.add(2 ** 52, vectorOf(1));
  expect(copyOf(vectors, 2 ** 52)).toBeUndefined();
});

test('versions share a budget, which a closed one gives back', () => {
  const budget = new ResidentBudget(4 * BYTES);
  const [one, other] = [new ResidentVectors(BYTES, budget), new ResidentVectors(BYTES, budget)];
  for (let id = 0; id < 3; id++) one.add(id, vectorOf(id));
  for (let id = 0; id < 3; id++) other.add(id, vectorOf(id));
  expect(budget.used).toBe(4 * BYTES);
  expect([0, 1, 2].map((id) => copyOf(other, id) !== undefined)).toEqual([true, false, false]);
  // A slot that was paid for is used again.
  one.remove(2);
  one.add(2, vectorOf(2));
  expect(copyOf(one, 2)).toEqual(vectorOf(2));
  one.close();
  other.add(1, vectorOf(1));
  expect(copyOf(other, 1)).toEqual(vectorOf(1));
});

test('whatever is added and removed, an id has its own vector or none', () => {
  const steps = fc.array(fc.record({ id: fc.nat(40), does: fc.constantFrom('add', 'remove') }));
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 50 }), (history, slots) => {
      const vectors = new ResidentVectors(BYTES, new ResidentBudget(slots * BYTES));
      const removed = new Set<number>();
      for (const { id, does } of history) {
        if (does === 'add') {
          vectors.add(id, vectorOf(id));
          removed.delete(id);
          expect(copyOf(vectors, id)).toEqual(vectorOf(id));
        } else {
          vectors.remove(id);
          removed.add(id);
        }
        for (let each = 0; each <= 40; each++) {
          const found = copyOf(vectors, each);
          if (found !== undefined) expect(found).toEqual(vectorOf(each));
          if (removed.has(each)) expect(found).toBeUndefined();
        }
      }
    }),
  );
});

test('a store that may not reserve as much address space reads its file', async () => {
  const store = openStore(tempDirectory(), new TestClock().read, { residentBytes: 2 ** 52 });
  onTestFinished(async () => store.close());
  store.createView(viewOf('job'));
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'a', event: 1, vector: [3, 4] }]) });
  const out = new Uint8Array(8);
  store.version('job', 'v1').vectors.copyInto(0, out, 0);
  expect([...new Float32Array(out.buffer)]).toEqual([3, 4]);
  expect(store.residentBytes).toBe(0);
});
