import { readFileSync } from 'node:fs';

import { tableFromIPC, Utf8, Vector, vectorFromArray } from 'apache-arrow';
import { afterAll, expect, test } from 'vitest';

import { openPinned, pinVersion } from '../../../src/store/pinned-version.ts';
import type { Store } from '../../../src/store/store.ts';
import { timestampColumn } from '../../../src/timetravel/join/columns.ts';
import { answerOf, countsOf, resolveRows } from '../../../src/timetravel/join/join-window.ts';
import { type JoinPlan, type JoinRef, versionsOf } from '../../../src/timetravel/join/plan.ts';
import { JoinPool } from '../../../src/timetravel/join/pool.ts';
import { withReigns } from '../../../src/timetravel/join/reigns.ts';
import { summaryOf } from '../../../src/timetravel/join/summary.ts';
import { KNOWLEDGE, type Question } from '../../../src/timetravel/question.ts';
import { type Fact, NaiveStore } from '../../model/naive.ts';
import { seeded } from '../../model/random.ts';
import { planOf, refOf } from '../../support/join-plan.ts';
import {
  arrowSpine,
  checksumsIn,
  sourceOf,
  type SpineRow,
  targetIn,
  windowsOf,
} from '../../support/joins.ts';
import { batchOf, modelVersion, TestClock, testStore, viewOf } from '../../support/store.ts';
import { windowWith } from '../spine/spine.ts';

const pool = new JoinPool(2);

afterAll(async () => {
  await pool.close();
});

const KEPT = { kept_until: undefined };

function reigning(store: Store, named?: number): JoinRef {
  return withReigns(refOf(store), store.catalogue, named ?? store.snapshot, named);
}

type Row = [version: string | null, first: number | null, status: string, reason: string | null];

/** The answers of a window with these rows, in the order of the answer. */
function answers(store: Store, plan: JoinPlan, rows: readonly SpineRow[]) {
  const moments = Float64Array.from(rows, ({ moment }) => moment ?? Number.NaN);
  const window = windowWith({
    job_id: vectorFromArray(
      rows.map(({ id }) => id),
      new Utf8(),
    ),
    event_timestamp: new Vector([timestampColumn('t', moments).data]),
  });
  const pins = plan.refs.flatMap((ref) =>
    versionsOf(ref).map((version) => pinVersion(store.version(ref.view, version))),
  );
  try {
    const resolved = resolveRows(
      window,
      plan,
      pins.map(({ version }) => openPinned(version)),
    );
    const counts = countsOf(resolved);
    const { batch, vectors } = answerOf(resolved);
    const column = vectors[0]!;
    const { valid, dim } = column;
    const out = new Float32Array(rows.length * dim);
    const offsets = Uint32Array.from(rows, (_, row) => row * dim * 4);
    column.gather(new Uint8Array(out.buffer), offsets);
    const cells = (name: string) => [...batch.getChild(name)!] as (string | null)[];
    const [versions, statuses] = [cells('job__version'), cells('job__status')];
    const reasons = cells('job__reason');
    const found = rows.map((_, row): Row => {
      const first = valid[row] === 1 ? out[row * dim]! : null;
      return [versions[row]!, first, statuses[row]!, reasons[row]!];
    });
    return { found, summary: summaryOf(plan, rows.length, counts, []) };
  } finally {
    for (const { release } of pins) release();
  }
}

function at(moment: number | null, id: string | null = 'a'): SpineRow {
  return { id, moment };
}

/**
 * The view `job`, made at 1000, with v1 until 2000, v2 until 3000, and v1 again. Both have the entity
 * `a` since 10: the first number of its vector is 1 in v1 and 2 in v2.
 */
async function flipped(): Promise<{ store: Store; clock: TestClock }> {
  const clock = new TestClock();
  const store = testStore(viewOf('job'), clock);
  store.addVersion('job', modelVersion('v2'));
  for (const [version, first] of [
    ['v1', 1],
    ['v2', 2],
  ] as const) {
    await store.commit('job', version, {
      rows: batchOf([{ id: 'a', event: 10, vector: [first, 0] }]),
    });
  }
  clock.now = 2_000;
  await store.promote('job', 'v2', KEPT);
  clock.now = 3_000;
  await store.rollBack('job', {});
  return { store, clock };
}

test('a row at exactly the moment of a promotion has the version that was promoted, whatever the boundary (A1)', async () => {
  const { store } = await flipped();
  for (const boundary of ['inclusive', 'exclusive'] as const) {
    const plan = planOf(store, { refs: [reigning(store)], question: { boundary } });
    const { found } = answers(store, plan, [at(1_999), at(2_000), at(2_999), at(3_000)]);
    expect(found).toEqual([
      ['v1', 1, 'PRESENT', null],
      ['v2', 2, 'PRESENT', null],
      ['v2', 2, 'PRESENT', null],
      ['v1', 1, 'PRESENT', null],
    ]);
  }
});

test('a row of before the view was made has its first version', async () => {
  const { store } = await flipped();
  const plan = planOf(store, { refs: [reigning(store)], question: { knowledge: 'input' } });
  const { found } = answers(store, plan, [at(10), at(9), at(-5)]);
  expect(found).toEqual([
    ['v1', 1, 'PRESENT', null],
    ['v1', null, 'NOT_FOUND', null],
    ['v1', null, 'NOT_FOUND', null],
  ]);
});

test('the summary names no one version but the rows of each, and says how it was asked', async () => {
  const { store } = await flipped();
  const plan = planOf(store, { refs: [reigning(store)] });
  const { found, summary } = answers(store, plan, [
    at(2_500),
    at(1),
    at(null),
    at(2_500, null),
    at(5_000, 'b'),
  ]);
  expect(found.map(([version, , , reason]) => [version, reason])).toEqual([
    ['v2', null],
    ['v1', null],
    [null, 'BAD_TIMESTAMP'],
    ['v2', 'BAD_ENTITY_ID'],
    ['v1', null],
  ]);
  expect(summary).toMatchObject({
    question: { alias_as_of: true },
    feature_views: { job: { version: null, versions: { v1: 2, v2: 2 } } },
  });
});

test('rows of a version that was retired since are INVALID, and are counted (VERSION_RETIRED)', async () => {
  const { store } = await flipped();
  await store.erase({ entity: 'job' }, ['gone']);
  await store.retire('job', 'v2', {});
  const refs = [reigning(store)];
  const rows = [at(2_500), at(1_500), at(2_500, 'gone'), at(2_500, null)];
  const { found, summary } = answers(store, planOf(store, { refs }), rows);
  expect(found).toEqual([
    ['v2', null, 'INVALID', 'VERSION_RETIRED'],
    ['v1', 1, 'PRESENT', null],
    // Who was erased is so in every version (A8).
    ['v2', null, 'NOT_FOUND', 'ERASED'],
    ['v2', null, 'INVALID', 'BAD_ENTITY_ID'],
  ]);
  expect(summary).toMatchObject({
    feature_views: { job: { versions: { v1: 1, v2: 3 }, reasons: { VERSION_RETIRED: 1 } } },
    notes: [
      '1 row is of a moment whose version is retired: to have vectors for all rows, name one version',
    ],
  });
  expect(() => answers(store, planOf(store, { refs, strict: true }), rows)).toThrow(
    expect.objectContaining({
      code: 'VERSION_NOT_FOUND',
      message:
        'row 1 is INVALID for job: VERSION_RETIRED; mend it, or leave out strict to have such rows marked',
    }),
  );
});

test('by entity, each row keeps its version', async () => {
  const { store } = await flipped();
  const plan = planOf(store, { refs: [reigning(store)], order: 'entity' });
  const { found } = answers(store, plan, [at(2_500, 'b'), at(2_500), at(5_000), at(1)]);
  expect(found.map(([version, first]) => [version, first])).toEqual([
    ['v1', null],
    ['v2', 2],
    ['v1', 1],
    ['v2', null],
  ]);
});

test('vectors of int8 have the scales of their own versions', async () => {
  const clock = new TestClock();
  const store = testStore(viewOf('job', 2, 'int8'), clock);
  store.addVersion('job', modelVersion('v2', 2, 'int8'));
  for (const [version, scale] of [
    ['v1', 0.5],
    ['v2', 0.25],
  ] as const) {
    const rows = batchOf([{ id: 'a', event: 10, vector: [3, 4], scale }], 2, 'int8');
    await store.commit('job', version, { rows });
  }
  clock.now = 2_000;
  await store.promote('job', 'v2', KEPT);
  const plan = planOf(store, { refs: [reigning(store)] });
  const source = sourceOf(arrowSpine([at(2_000), at(1_999), at(5)]), 10);
  const sent = await windowsOf({ store, pool, plan, source, target: 'stream' });
  const answer = tableFromIPC(Buffer.concat(sent.flatMap(({ chunks }) => chunks ?? [])));
  expect([...answer.getChild('job__scale')!]).toEqual([0.25, 0.5, null]);
  expect([...answer.getChild('job__version')!]).toEqual(['v2', 'v1', 'v1']);
});

test('a column that the join adds is refused in the spine', async () => {
  const { store } = await flipped();
  const window = windowWith({ job__version: vectorFromArray(['x'], new Utf8()) });
  const plan = planOf(store, { refs: [reigning(store)] });
  expect(() => resolveRows(window, plan, [])).toThrow(
    'the spine has a column job__version, which the join adds',
  );
});

/** What happened: facts of each version, and which one was current from when on. */
interface Naive {
  facts: Map<string, NaiveStore>;
  flips: { seq: number; created: number; version: string }[];
}

const VERSIONS = ['v1', 'v2', 'v3'];
const ENTITIES = 6;

/** Random rows, promotions and rollbacks, one moment or none apart. */
async function randomPast(seed: number): Promise<{ store: Store; naive: Naive; middle: number }> {
  const random = seeded(seed);
  const clock = new TestClock();
  const store = testStore(viewOf('job'), clock);
  const facts = new Map(VERSIONS.map((version) => [version, new NaiveStore()]));
  const flips = [{ seq: 0, created: 0, version: 'v1' }];
  for (const version of ['v2', 'v3']) store.addVersion('job', modelVersion(version));
  let middle = 0;
  let vectors = 0;
  for (let step = 0; step < 60; step++) {
    clock.now += random(3) * 10;
    const current = store.catalogue.mustGetView('job').aliases.current;
    const what = random(5);
    if (what === 0) await store.promote('job', VERSIONS[random(3)]!, KEPT);
    else if (what === 1) await store.rollBack('job', {}).catch(() => {});
    else {
      const version = VERSIONS[random(3)]!;
      const id = `e${random(ENTITIES)}`;
      const event = clock.now - random(500);
      const known = Math.min(clock.now, event + random(300));
      const value = random(6) === 0 ? null : ++vectors;
      const vector = value === null ? null : [value, 0];
      const rows = batchOf([{ id, event, known, vector }]);
      const { snapshot: seq } = await store.commit('job', version, { rows });
      const fact: Fact = { event, known, created: clock.now, seq, value };
      facts.get(version)!.add(id, fact);
    }
    const { current: now } = store.catalogue.mustGetView('job').aliases;
    if (now !== current) flips.push({ seq: store.snapshot, created: clock.now, version: now });
    if (step === 40) middle = store.snapshot;
  }
  return { store, naive: { facts, flips }, middle };
}

function naively({ facts, flips }: Naive, { id, moment }: SpineRow, asked: Question): Row {
  if (moment === null) return [null, null, 'INVALID', 'BAD_TIMESTAMP'];
  const { version } =
    flips.findLast(({ seq, created }) => seq <= asked.snapshot && created <= moment) ?? flips[0]!;
  if (id === null) return [version, null, 'INVALID', 'BAD_ENTITY_ID'];
  const { status, reason, fact } = facts.get(version)!.ask(id, { ...asked, asOf: moment });
  return [version, status === 'PRESENT' ? fact!.value : null, status, reason];
}

/** The rows of an answer in Arrow; `table`: the first numbers of the vectors, where they are apart. */
function rowsIn(bytes: Uint8Array, table?: readonly number[]): Row[] {
  const answer = tableFromIPC(bytes);
  const cells = (name: string) => Array.from(answer.getChild(name)!) as (string | null)[];
  const firsts =
    table === undefined
      ? Array.from(
          answer.getChild('job__vector')!,
          (vector: Iterable<number> | null) => vector && [...vector][0]!,
        )
      : Array.from(answer.getChild('job__vector_row')!, (row: number | null) =>
          row === null ? null : table[row]!,
        );
  const [versions, statuses] = [cells('job__version'), cells('job__status')];
  const reasons = cells('job__reason');
  return firsts.map((first, row) => [versions[row]!, first, statuses[row]!, reasons[row]!]);
}

test.each([1, 2, 3, 4])(
  'each row is answered as a naive model of all versions does, at any snapshot and knowledge (seed %d)',
  async (seed) => {
    const { store, naive, middle } = await randomPast(seed);
    const random = seeded(seed + 1_000);
    const spine = Array.from({ length: 150 }, (): SpineRow => ({
      id: random(20) === 0 ? null : `e${random(ENTITIES + 1)}`,
      // The clock goes by tens: some are at the very moment of a flip, some one before it.
      moment: random(20) === 0 ? null : 300 + random(130) * 10 - random(2),
    }));
    const bytes = arrowSpine(spine);
    for (const named of [undefined, middle]) {
      for (const knowledge of KNOWLEDGE) {
        const question = { knowledge, snapshot: named ?? store.snapshot, maxAge: 400 };
        const refs = [{ ...reigning(store, named), maxAge: 400 }];
        const plan = planOf(store, { refs, question });
        const asked = { ...plan.question, asOf: undefined, maxAge: 400 };
        const expected = spine.map((row) => naively(naive, row, asked));
        const run = { store, pool, plan, source: sourceOf(bytes, 40), target: 'stream' } as const;
        const sent = await windowsOf(run);
        expect(rowsIn(Buffer.concat(sent.flatMap(({ chunks }) => chunks ?? [])))).toEqual(expected);

        const target = targetIn();
        const apart = { ...plan, vectors: 'ref' } as const;
        const parts = await windowsOf({ ...run, plan: apart, source: sourceOf(bytes, 40), target });
        const table = parts.flatMap(({ shards, index }) => {
          if (shards?.[0] === undefined) return [];
          const shard = tableFromIPC(readFileSync(target.shard(0, index)));
          return Array.from(
            shard.getChild('vector')!,
            (vector: Iterable<number>) => [...vector][0]!,
          );
        });
        // Each distinct one once.
        expect(new Set(table).size).toBe(table.length);
        const rows = parts.flatMap(({ index }) => rowsIn(readFileSync(target.part(index)), table));
        expect(rows).toEqual(expected);
      }
    }
    expect(naive.flips.length).toBeGreaterThan(3);
  },
);

test.each(['inline', 'ref'] as const)(
  'a join that goes on after a crash keeps the reigns of its plan, with vectors %s (A9)',
  async (vectors) => {
    const { store } = await randomPast(7);
    const random = seeded(7);
    const bytes = arrowSpine(
      Array.from({ length: 100 }, () => ({ id: `e${random(ENTITIES)}`, moment: random(2_000) })),
    );
    const plan = planOf(store, { refs: [reigning(store)], vectors });
    const run = async (folder?: string) => {
      const target = targetIn(folder);
      const source = sourceOf(bytes, 30);
      return { target, windows: await windowsOf({ store, pool, plan, source, target }) };
    };
    const whole = await run();
    const { target, windows } = await run();
    const current = store.catalogue.mustGetView('job').aliases.current;
    await store.promote(
      'job',
      VERSIONS.find((version) => version !== current)!,
      KEPT,
    );
    const done = windows.slice(0, 2);
    const source = sourceOf(bytes.slice(), 30);
    const again = await windowsOf({ store, pool, plan, source, target, done });
    expect([...done, ...again]).toEqual(whole.windows);
    expect(checksumsIn(target.folder)).toEqual(checksumsIn(whole.target.folder));
  },
);
