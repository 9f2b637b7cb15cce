import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

import { expect, onTestFinished, test } from 'vitest';

import { CheckedBits } from '../../src/store/checked-bits.ts';
import { vectorBytes } from '../../src/store/dtype.ts';
import { PageVectors } from '../../src/store/page-vectors.ts';
import { type PinnedVersion, pinVersion } from '../../src/store/pinned-version.ts';
import type { Store } from '../../src/store/store.ts';
import { seeded } from '../model/random.ts';
import { batchOf, TestClock, testStore, viewOf } from '../support/store.ts';

/** Vectors whose numbers are distinct, so that one is never taken for another. */
async function storeOf(dim: number, count: number, clock = new TestClock()): Promise<Store> {
  const store = testStore(viewOf('job', dim), clock);
  for (let from = 0; from < count; from += 500) {
    const rows = Array.from({ length: Math.min(500, count - from) }, (_, at) => ({
      id: `e${(from + at) % 97}`,
      event: from + at,
      vector: Array.from({ length: dim }, (__, number) => from + at + number / dim),
    }));
    await store.commit('job', 'v1', { rows: batchOf(rows, dim) });
  }
  return store;
}

function pinned(store: Store): PinnedVersion {
  const { version, release } = pinVersion(store.version('job', 'v1'));
  onTestFinished(release);
  return version;
}

function pagesOf(store: Store, checked = new CheckedBits()): PageVectors {
  const { file, vectors, vectorBytes: bytes } = pinned(store);
  return new PageVectors(file, vectors, bytes, checked);
}

/** The wanted vectors, one after another from byte `at` on. */
function copied(pages: PageVectors, ids: readonly number[], bytes: number, at = 0): Buffer {
  const out = Buffer.alloc(at + ids.length * bytes);
  const rows = Int32Array.from(ids, (_, row) => row);
  const offsets = Uint32Array.from(rows, (row) => at + row * bytes);
  pages.copy(Float64Array.from(ids), rows, out, offsets);
  return out.subarray(at);
}

function inLmdb(store: Store, ids: readonly number[]): Buffer {
  const { vectors } = store.version('job', 'v1');
  const out = Buffer.alloc(ids.length * vectors.vectorBytes);
  ids.forEach((id, row) => vectors.copyInto(id, out, row * vectors.vectorBytes));
  return out;
}

test.each([
  [1, 'many in a page', 5_000],
  [128, 'some in a page', 3_000],
  [499, 'the longest that stand in a page', 300],
  [500, 'each in a page of its own, or nearly', 300],
  [1_536, 'each in pages of its own', 300],
  [8_192, 'the longest that there are', 40],
])('vectors of %d numbers come whole in any order: %s', async (dim, _, count) => {
  const store = await storeOf(dim, count);
  const pages = pagesOf(store);
  const bytes = vectorBytes(dim, 'float32');
  const random = seeded(dim);
  const wanted = [
    Array.from({ length: count }, (__, id) => id),
    Array.from({ length: count }, (__, at) => count - 1 - at),
    Array.from({ length: 2 * count }, () => random(count)),
    Array.from({ length: 9 }, () => random(count)),
    [0],
    [count - 1],
    [],
  ];
  for (const ids of wanted) {
    // From an odd byte on, as within a file.
    expect(copied(pages, ids, bytes, 3).equals(inLmdb(store, ids))).toBe(true);
  }
});

test('only the rows that are asked for are written, each where it is wanted', async () => {
  const store = await storeOf(2, 10);
  const out = Buffer.alloc(40, 0xee);
  const ids = Float64Array.of(3, -1, 5, 3);
  pagesOf(store).copy(ids, Int32Array.of(3, 0, 2), out, Uint32Array.of(1, 0, 30, 16));
  const expected = Buffer.alloc(40, 0xee);
  inLmdb(store, [3]).copy(expected, 1);
  inLmdb(store, [5]).copy(expected, 30);
  inLmdb(store, [3]).copy(expected, 16);
  expect(out).toEqual(expected);
});

test('ids that compaction has left, few and far between, are found in the new file', async () => {
  const clock = new TestClock(100_000);
  const store = await storeOf(64, 4_000, clock);
  clock.now = 200_000;
  await store.advanceHorizon('job', 150_000);
  await store.compact('job', 'v1');
  const { vectors } = store.version('job', 'v1');
  const ids = [...vectors.ids()];
  expect(ids.length).toBe(97);
  expect(ids[0]).toBeGreaterThan(3_000);
  await store.commit('job', 'v1', {
    rows: batchOf([{ id: 'new', event: 1, vector: Array.from({ length: 64 }, () => 7) }], 64),
  });
  const all = [...ids.toReversed(), 4_000];
  const got = copied(pagesOf(store), all, vectors.vectorBytes);
  expect(got.equals(inLmdb(store, all))).toBe(true);
});

test.each([
  [16, 'that stands in a page'],
  [2_000, 'in pages of its own'],
])(
  'a damaged vector of %d numbers, %s, is named, and the others are read; one that was found whole is not checked again',
  async (dim) => {
    const store = await storeOf(dim, 200);
    const { environment } = store.version('job', 'v1');
    const bytes = vectorBytes(dim, 'float32');
    const whole = inLmdb(store, [123]);
    const checked = new CheckedBits();
    checked.add(150);
    await environment.flushed();
    const file = openSync(environment.file, 'r+');
    for (const id of [123, 150]) {
      const at = readFileSync(environment.file).lastIndexOf(inLmdb(store, [id]));
      writeSync(file, Buffer.of(0xff), 0, 1, at + 5);
    }
    closeSync(file);
    const pages = pagesOf(store, checked);
    expect(() => copied(pages, [1, 123], bytes)).toThrow(
      `${environment.place}: vector 123 does not have the checksum it was written with; run \`tidemark verify\``,
    );
    expect(() => copied(pages, [123], bytes)).toThrow(
      expect.objectContaining({ code: 'STORE_CORRUPT' }),
    );
    expect(copied(pages, [122, 124], bytes).equals(inLmdb(store, [122, 124]))).toBe(true);
    expect(copied(pages, [150], bytes)[5]).toBe(0xff);
    expect(whole[5]).not.toBe(0xff);
  },
);

test.each([4, 2_000])(
  'a vector that is not there is named: among others, behind the last, and in an empty pool (%d numbers)',
  async (dim) => {
    const store = testStore(viewOf('job', dim));
    const bytes = vectorBytes(dim, 'float32');
    expect(() => copied(pagesOf(store), [0], bytes)).toThrow('vector 0 is missing');
    const vector = (value: number) => Array.from({ length: dim }, () => value);
    await store.commit('job', 'v1', {
      rows: batchOf(
        [0, 1, 2, 3].map((event) => ({ id: 'a', event, vector: vector(event) })),
        dim,
      ),
    });
    await store.version('job', 'v1').environment.commit(() => {
      store.version('job', 'v1').vectors.remove(2);
    });
    const pages = pagesOf(store);
    expect(() => copied(pages, [3, 2, 1], bytes)).toThrow('vector 2 is missing');
    expect(() => copied(pages, [4, 1], bytes)).toThrow('vector 4 is missing');
    expect(copied(pages, [3, 1], bytes).equals(inLmdb(store, [3, 1]))).toBe(true);
  },
);

test('what has another length than the vectors of its version is told as damage', async () => {
  const store = await storeOf(4, 3);
  const { file, vectors } = pinned(store);
  const others = new PageVectors(file, vectors, 20, new CheckedBits());
  expect(() => copied(others, [1], 20)).toThrow('vector 1 has 20 bytes');
});
