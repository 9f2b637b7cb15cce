import { tableFromIPC } from 'apache-arrow';
import { expect, onTestFinished, test, vi } from 'vitest';

import { TreeCursor } from '../../../src/store/page-tree.ts';
import { openPinned, type PageVersion, pinVersion } from '../../../src/store/pinned-version.ts';
import type { Store } from '../../../src/store/store.ts';
import { resolveWindow } from '../../../src/timetravel/join/resolve-window.ts';
import { scanRows } from '../../../src/timetravel/join/scan.ts';
import { ANY_AGE } from '../../../src/timetravel/question.ts';
import type { RevisionPlace } from '../../../src/timetravel/spine/window.ts';
import { seeded } from '../../model/random.ts';
import { planOf } from '../../support/join-plan.ts';
import { arrowSpine, sourceOf, testPool, windowsOf } from '../../support/joins.ts';
import { batchOf, TestClock, testStore, type TestRow, viewOf } from '../../support/store.ts';

const REVISIONS = 200_000;
const COMMITS = 20;
/** Between two events, µs: a late one comes between them. */
const STEP = 10;
const LATEST = REVISIONS * STEP;

/** An entity with a long history, a few of it late, between two with none to speak of. */
async function filledStore(clock = new TestClock()): Promise<{ store: Store; events: number[] }> {
  const store = testStore(viewOf('job'), clock);
  const random = seeded(3);
  const events: number[] = [];
  for (let commit = 0; commit < COMMITS; commit++) {
    const rows = Array.from({ length: REVISIONS / COMMITS }, (): TestRow => {
      const next = events.length * STEP;
      const isLate = next > 0 && random(100) === 0;
      const event = isLate ? random(next / STEP) * STEP + 1 + random(STEP - 1) : next;
      events.push(event);
      return { id: 'long', event, vector: [event, events.length] };
    });
    const others = ['before', 'zero'].map((id) => ({ id, event: commit, vector: [0, commit] }));
    await store.commit('job', 'v1', { rows: batchOf([...rows, ...others]) });
  }
  return { store, events };
}

/** Places of the events in A2 order: known times are the events', and what comes later wins. */
function orderOf(events: readonly number[]): number[] {
  return [...events.keys()].toSorted((a, b) => events[a]! - events[b]! || a - b);
}

function pagesOf(store: Store): PageVersion {
  const { version, release } = pinVersion(store.version('job', 'v1'));
  onTestFinished(release);
  return openPinned(version);
}

/** How many chunks are read while `work` goes on. */
function chunksRead(work: () => void): number {
  const read = vi.spyOn(TreeCursor.prototype, 'copyValue');
  try {
    work();
    return read.mock.calls.length;
  } finally {
    read.mockRestore();
  }
}

/** How many of the sorted numbers are at or below one. */
function countUpTo(sorted: Float64Array, most: number): number {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (sorted[middle]! <= most) from = middle + 1;
    else to = middle;
  }
  return from;
}

test('rows of one entity at random moments of 200,000 revisions are right, and each chunk is read once (A2)', async () => {
  const { store, events } = await filledStore();
  const order = orderOf(events);
  const sorted = Float64Array.from(order, (place) => events[place]!);
  const random = seeded(5);
  const moments = Array.from({ length: 20_000 }, () => random(LATEST + 100) - 50);
  const expected = moments.map((moment) => {
    const place = order[countUpTo(sorted, moment) - 1];
    return place === undefined ? null : [events[place]!, place + 1];
  });
  expect(expected).toContain(null);
  const spine = arrowSpine(moments.map((moment) => ({ id: 'long', moment })));
  const asked = { store, pool: testPool(), plan: planOf(store), target: 'stream' as const };
  const windows = await windowsOf({ ...asked, source: sourceOf(spine, 6_000) });
  const table = tableFromIPC(Buffer.concat(windows.flatMap(({ chunks = [] }) => chunks)));
  const vectors = Array.from(
    table.getChild('job__vector')!,
    (vector) => vector && [...(vector as Iterable<number>)],
  );
  expect(vectors).toEqual(expected);
  const version = pagesOf(store);
  const ids = { ids: ['long'], ordinals: new Int32Array(moments.length) };
  const question = { ...planOf(store).question, asOf: undefined, maxAge: ANY_AGE };
  const read = chunksRead(
    () => void resolveWindow(version, ids, Float64Array.from(moments), question, false),
  );
  const { windows: all, ...whole } = scan(version, store, 2 * REVISIONS);
  expect(all).toBe(1);
  expect(read).toBeLessThanOrEqual(whole.read);
});

/** Scans all revisions in windows of so many rows. */
function scan(
  version: PageVersion,
  store: Store,
  rows: number,
): { read: number; found: number; windows: number } {
  const plan = planOf(store, { vectors: 'ref' });
  let [found, windows] = [0, 0];
  const read = chunksRead(() => {
    let after: RevisionPlace | undefined;
    do {
      const piece = { firstRow: found, after, rows, from: 0, to: LATEST };
      const { resolved, next } = scanRows({ format: 'revisions', ...piece }, plan, [version]);
      found += resolved.window.batch.numRows;
      windows++;
      after = next;
    } while (after !== undefined);
  });
  return { read, found, windows };
}

test('200,000 revisions of one entity are exported in A2 order, and each chunk is read about once (A10)', async () => {
  const clock = new TestClock();
  const { store, events } = await filledStore(clock);
  const order = orderOf(events);
  const revisions = { from: 0, to: LATEST + 1, rowsMax: 15_000 };
  const asked = { store, pool: testPool(), source: undefined, target: 'stream' as const };
  const exported = await windowsOf({ ...asked, plan: planOf(store, { revisions }) });
  const table = tableFromIPC(Buffer.concat(exported.flatMap(({ chunks = [] }) => chunks)));
  const ids = [...table.getChild('job_id')!] as string[];
  const own = table.slice(ids.indexOf('long'), ids.lastIndexOf('long') + 1);
  expect([table.numRows, own.numRows]).toEqual([REVISIONS + 2 * COMMITS, REVISIONS]);
  const numbers = own.getChild('vector')!;
  let wrong = 0;
  for (const [row, place] of order.entries()) {
    const [event, number] = numbers.get(row) as Iterable<number>;
    if (event !== events[place] || number !== place + 1) wrong++;
  }
  expect(wrong).toBe(0);
  for (const horizon of [undefined, LATEST / 2]) {
    clock.now = LATEST;
    if (horizon !== undefined) await store.advanceHorizon('job', horizon);
    const version = pagesOf(store);
    const [few, many] = [scan(version, store, 100_000), scan(version, store, 1_000)];
    expect([many.found, many.windows > 90]).toEqual([few.found, true]);
    // A window more is a chunk that two windows have parts of, and what is looked up of the horizon.
    expect(many.read - few.read).toBeLessThan((many.windows - few.windows) * 4);
  }
});
