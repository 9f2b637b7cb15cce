import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';

import { Chunk, type Revision } from '../../src/store/chunk.ts';
import { OLDEST, type SealedKey } from '../../src/store/keys.ts';
import { openPinned, pinVersion } from '../../src/store/pinned-version.ts';
import type { Store } from '../../src/store/store.ts';
import type { TimelineReads } from '../../src/store/timelines.ts';
import { seeded } from '../model/random.ts';
import { batchOf, TestClock, type TestRow, testStore, viewOf } from '../support/store.ts';

/** The timelines of the version as they are now, read from pages. */
function pagesOf(store: Store): TimelineReads {
  const { version, release } = pinVersion(store.version('job', 'v1'));
  onTestFinished(release);
  return openPinned(version).timelines;
}

function revisionsOf(chunk: Chunk): Revision[] {
  return Array.from({ length: chunk.count }, (_, at) => chunk.revision(at));
}

/** All that `head` and `sealed` tell about an entity, asked at these moments and step by step. */
function told(timelines: TimelineReads, id: string, moments: readonly number[]): unknown[] {
  const chunk = new Chunk();
  const sealed = new Chunk();
  if (!timelines.head(id, chunk)) return ['nothing'];
  const head = [chunk.hasSealed, chunk.leastKnown, chunk.leastCreated, chunk.leastSeq];
  const all: unknown[] = [head, revisionsOf(chunk)];
  for (const event of moments) {
    const from: SealedKey = { id, event, known: Number.MAX_SAFE_INTEGER, seq: 9 };
    let bound = timelines.sealed(from, sealed);
    for (let step = 0; bound !== undefined; step++) {
      all.push([event, step, bound, revisionsOf(sealed)]);
      bound = timelines.sealed(bound, sealed, true);
    }
  }
  return all;
}

const LENGTHS = [1, 2, 39, 40, 41, 60, 61, 240, 300, 700, 3_000];

async function commitIn(store: Store, rows: TestRow[], size: number): Promise<void> {
  for (let from = 0; from < rows.length; from += size) {
    await store.commit('job', 'v1', { rows: batchOf(rows.slice(from, from + size)) });
  }
}

test('timelines of any length read from pages are those that lmdb reads', async () => {
  const store = testStore();
  for (const length of LENGTHS) {
    const rows = Array.from({ length }, (_, event): TestRow => ({
      id: `e${length}`,
      event,
      vector: [event, length],
    }));
    await commitIn(store, rows, 1_000);
  }
  const { timelines } = store.version('job', 'v1');
  const pages = pagesOf(store);
  // In the order of ids and in the other one.
  const ids = [
    ...LENGTHS.map((length) => `e${length}`),
    'e',
    'e0',
    'e4',
    'e9',
    'é',
    '￿',
  ].toSorted();
  for (const id of [...ids, ...ids.toReversed()]) {
    const moments = [-1, 0, 1, 19, 20, 40, 239, 240, 1_500, 2_999, 5_000];
    expect(told(pages, id, moments)).toEqual(told(timelines, id, moments));
  }
});

test('a sealed chunk asked about again is not taken for that of another moment or another entity', async () => {
  const store = testStore();
  const rows = ['a', 'b'].flatMap((id, at) =>
    Array.from({ length: 500 }, (_, event): TestRow => ({ id, event, vector: [event, at] })),
  );
  await commitIn(store, rows, 1_000);
  const { timelines } = store.version('job', 'v1');
  const pages = pagesOf(store);
  const [fromPages, fromLmdb] = [new Chunk(), new Chunk()];
  const random = seeded(3);
  for (let ask = 0; ask < 2_000; ask++) {
    const id = random(4) === 0 ? 'b' : 'a';
    const order = { event: random(520) - 10, known: random(520), seq: random(1_000) };
    const key = { id, ...(random(20) === 0 ? OLDEST : order) };
    const isExclusive = random(3) === 0;
    const bound = pages.sealed(key, fromPages, isExclusive);
    expect(bound).toEqual(timelines.sealed(key, fromLmdb, isExclusive));
    if (bound !== undefined) expect(revisionsOf(fromPages)).toEqual(revisionsOf(fromLmdb));
  }
});

test('ids of any bytes are found among those that begin alike, and only they', async () => {
  const store = testStore();
  const ids = [
    'a',
    'a\u0001',
    'a\u007f',
    'aé',
    'b',
    'a'.repeat(1_024),
    '𝕏',
    '\uFFFF',
    '1',
    '10',
    '2',
  ];
  await commitIn(
    store,
    ids.map((id) => ({ id, event: 1, vector: [1, 1] })),
    100,
  );
  const pages = pagesOf(store);
  const chunk = new Chunk();
  for (const id of ids) expect(pages.head(id, chunk)).toBe(true);
  for (const id of ['a\u0002', 'aa', 'c', 'é', '100', 'a'.repeat(1_023)]) {
    expect(pages.head(id, chunk)).toBe(false);
  }
});

test('after any commits, late rows, deletes, erasures and compactions pages tell what lmdb does', async () => {
  const shapes = fc.record({
    seed: fc.nat(),
    entities: fc.constantFrom(1, 5, 300),
    commits: fc.integer({ min: 1, max: 15 }),
  });
  await fc.assert(
    fc.asyncProperty(shapes, async ({ seed, entities, commits }) => {
      const random = seeded(seed);
      const clock = new TestClock();
      const store = testStore(viewOf('job'), clock);
      const moments = Array.from({ length: 8 }, () => random(2_000));
      for (let commit = 0; commit < commits; commit++) {
        const rows = Array.from({ length: 400 }, (): TestRow => {
          const event = random(2_000);
          const vector = random(10) === 0 ? null : [random(50), event];
          return { id: `e${random(entities)}`, event, known: event + random(50), vector };
        });
        await store.commit('job', 'v1', { rows: batchOf(rows) });
        clock.now += random(300);
        const what = random(12);
        if (what === 0) await store.erase({ entity: 'job' }, [`e${random(entities)}`]);
        if (what === 1) await store.compact('job', 'v1');
        if (what === 2) await store.advanceHorizon('job', clock.now - 500);
      }
      const { timelines } = store.version('job', 'v1');
      const pages = pagesOf(store);
      const ids = Array.from({ length: Math.min(entities, 40) }, () => `e${random(entities + 1)}`);
      if (random(2) === 0) ids.sort();
      for (const id of ids) {
        expect(told(pages, id, moments)).toEqual(told(timelines, id, moments));
      }
    }),
    { numRuns: 6, seed: 1 },
  );
});
