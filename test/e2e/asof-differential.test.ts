import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

import {
  Bool,
  Int32,
  Table,
  tableFromIPC,
  tableToIPC,
  Utf8,
  Vector,
  vectorFromArray,
} from 'apache-arrow';
import { afterAll, expect, test } from 'vitest';

import { type Dtype, vectorBytes, writeNumbers } from '../../src/store/dtype.ts';
import type { Store } from '../../src/store/store.ts';
import { timestampColumn } from '../../src/timetravel/join/columns.ts';
import type { Order, Vectors } from '../../src/timetravel/join/plan.ts';
import { JoinPool } from '../../src/timetravel/join/pool.ts';
import { ANY_AGE, BOUNDARIES, type Boundary } from '../../src/timetravel/question.ts';
import { seeded } from '../model/random.ts';
import { pythonWith, runPython } from '../python.ts';
import { planOf, refOf } from '../support/join-plan.ts';
import { arrowSpine, sourceOf, type SpineRow, targetIn, windowsOf } from '../support/joins.ts';
import { batchOf, TestClock, type TestRow, testStore, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { TRAINER_PACKAGES } from '../support/trainers.ts';

/** How many histories, and the number of the first: that of one that failed runs it again. */
const SEEDS = Number(process.env['DIFFERENTIAL_SEEDS'] ?? 3);
const FIRST_SEED = Number(process.env['DIFFERENTIAL_FIRST'] ?? 1);
/** Python takes longer to start than to compare. */
const SEEDS_AT_ONCE = 8;
const SCRIPT = join(import.meta.dirname, 'asof_differential.py');
/** µs around which everything happens: no round number of anything. */
const NOON = 1_772_323_200_123_457;

const pool = new JoinPool(2);

afterAll(async () => pool.close());

type Random = (below: number) => number;

/** Numbers of every kind that a vector can have, 16 bits wide ones too. */
function randomNumber(random: Random): number {
  const kinds = [-0, 0, 6.1e-5, -5.96e-8, 65_504, 1 / 3];
  return random(4) === 0 ? kinds[random(kinds.length)]! : (random(2 ** 24) - 2 ** 23) / 2 ** 16;
}

/** No two revisions of an entity have one event time: engines differ where they do. */
function randomHistory(random: Random, dim: number, most = 4_000): TestRow[] {
  const entities = 1 + random(80);
  const span = 10 ** (3 + random(8));
  const taken = new Set<string>();
  const rows: TestRow[] = [];
  const count = 200 + random(most);
  for (let at = 0; at < count; at++) {
    // Some have hundreds, some few.
    const id = `job-${random(1 + random(entities))}`;
    const event = NOON + Math.floor((random(2 ** 30) / 2 ** 30) * span);
    if (taken.has(`${id} ${event}`)) continue;
    taken.add(`${id} ${event}`);
    const isDeleted = random(15) === 0;
    rows.push({
      id,
      event,
      vector: isDeleted ? null : Array.from({ length: dim }, () => randomNumber(random)),
    });
  }
  return rows;
}

function spinesOf(random: Random, history: readonly TestRow[]): Record<string, SpineRow[]> {
  const moment = (): number | null => {
    if (random(25) === 0) return null;
    // Often exactly when something happened, or a microsecond beside it.
    return history[random(history.length)]!.event + random(3) - 1;
  };
  const row = (): SpineRow => {
    const id = random(12) === 0 ? `nobody-${random(3)}` : history[random(history.length)]!.id;
    return { id: random(30) === 0 ? null : id, moment: moment() };
  };
  const some = Array.from({ length: 100 + random(3_000) }, row);
  const { id } = history[0]!;
  return {
    random: some,
    'in the order of time': some.toSorted((a, b) => (a.moment ?? 0) - (b.moment ?? 0)),
    'of one entity': Array.from({ length: 700 }, () => ({ id, moment: moment() })),
    empty: [],
    'of one row': [row()],
    'one row many times': Array.from({ length: 200 }, () => some[0]!),
    'older than all history': some.map((each) => ({ ...each, moment: NOON - 1 - random(10 ** 9) })),
    'later than all history': some.map((each) => ({
      ...each,
      moment: NOON + 10 ** 12 + random(9),
    })),
  };
}

/** How an answer is written. */
const WAYS: [Vectors, Order][] = [
  ['inline', 'spine'],
  ['inline', 'entity'],
  ['ref', 'spine'],
  ['ref', 'entity'],
];

/** What a window has too much of for memory: it is written piece by piece. */
interface Large {
  dim: number;
  revisionsMax: number;
  rows: number;
}

/** One for each of the first `WAYS`. */
function largeSpine(
  random: Random,
  history: readonly TestRow[],
  { rows }: Large,
): Record<string, SpineRow[]> {
  const spine = Array.from({ length: rows }, (): SpineRow => {
    const { id, event } = history[random(history.length)]!;
    return { id, moment: random(50) === 0 ? null : event + random(10) };
  });
  return { first: spine, second: spine, third: spine };
}

/** The revision in force for each row, by looking at all of them; −1 where there is none. */
function naiveJoin(
  history: readonly TestRow[],
  spine: readonly SpineRow[],
  boundary: Boundary,
): Int32Array {
  const byId = Map.groupBy(history.keys(), (at) => history[at]!.id);
  return Int32Array.from(spine, ({ id, moment }) => {
    let best = -1;
    for (const at of (moment !== null && byId.get(id ?? '')) || []) {
      const { event } = history[at]!;
      const isInTime = boundary === 'exclusive' ? event < moment! : event <= moment!;
      if (isInTime && (best < 0 || event > history[best]!.event)) best = at;
    }
    return best;
  });
}

function historyIn(folder: string, history: readonly TestRow[], dim: number, dtype: Dtype): void {
  const { data } = timestampColumn(
    'event',
    Float64Array.from(history, ({ event }) => event),
  );
  const table = new Table({
    row: vectorFromArray([...history.keys()], new Int32()),
    id: vectorFromArray(
      history.map(({ id }) => id),
      new Utf8(),
    ),
    event: new Vector([data]),
    deleted: vectorFromArray(
      history.map(({ vector }) => vector === null),
      new Bool(),
    ),
  });
  writeFileSync(join(folder, 'history.arrows'), tableToIPC(table, 'stream'));
  const bytes = vectorBytes(dim, dtype);
  const vectors = Buffer.alloc(history.length * bytes);
  history.forEach(({ vector }, at) => {
    if (vector !== null)
      writeNumbers(vector, dim, dtype, vectors.subarray(at * bytes, (at + 1) * bytes));
  });
  writeFileSync(join(folder, 'vectors.bin'), vectors);
}

/** A store that took the history in as it came, in no order, some of it compacted. */
async function storeOf(
  random: Random,
  history: readonly TestRow[],
  dim: number,
  dtype: Dtype,
): Promise<Store> {
  const store = testStore(viewOf('job', dim, dtype), new TestClock(NOON + 10 ** 12));
  const shuffled = history
    .map((row) => ({ row, at: random(2 ** 30) }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ row }) => row);
  const step = 1 + random(2_000);
  for (let from = 0; from < shuffled.length; from += step) {
    const rows = batchOf(shuffled.slice(from, from + step), dim, dtype);
    await store.commit('job', 'v1', { rows });
  }
  if (random(2) === 0) await store.compact('job', 'v1');
  return store;
}

/** Answers all spines over one history by Tidemark, and writes down what others need to do so too. */
async function writeCases(seed: number, large?: Large): Promise<string> {
  const random = seeded(seed);
  const folder = join(tempDirectory(), `seed-${seed}`);
  const { folder: root } = targetIn(folder);
  const dim = large?.dim ?? 1 + random(40);
  const dtype: Dtype = random(3) === 0 ? 'float16' : 'float32';
  const history = randomHistory(random, dim, large?.revisionsMax);
  historyIn(root, history, dim, dtype);
  const store = await storeOf(random, history, dim, dtype);
  const cases = [];
  const spines =
    large === undefined ? spinesOf(random, history) : largeSpine(random, history, large);
  for (const [at, [name, spine]] of Object.entries(spines).entries()) {
    const boundary = BOUNDARIES[random(2)]!;
    const maxAge = random(2) === 0 ? ANY_AGE : 1 + random(10 ** (2 + random(8)));
    const [vectors, order] = WAYS[large === undefined ? random(WAYS.length) : at]!;
    const plan = planOf(store, {
      refs: [refOf(store, 'job', { maxAge })],
      question: { boundary },
      format: 'parquet',
      vectors,
      order,
    });
    const target = { ...targetIn(join(root, `case-${at}`)), shardFormat: 'parquet' as const };
    const rowsMax = large === undefined ? 1 + random(1_500) : Math.ceil(0.7 * large.rows);
    const source = sourceOf(arrowSpine(spine), rowsMax);
    const windows = await windowsOf({ store, pool, plan, source, target });
    const file = (path: string) => `case-${at}/${basename(path)}`;
    writeFileSync(join(root, `spine-${at}.arrows`), arrowSpine(spine));
    writeFileSync(join(root, `naive-${at}.bin`), naiveJoin(history, spine, boundary));
    cases.push({
      name: `${name} (${vectors}, ${order}, ${boundary}, max_age ${maxAge})`,
      spine: `spine-${at}.arrows`,
      naive: `naive-${at}.bin`,
      exclusive: boundary === 'exclusive',
      max_age: maxAge === ANY_AGE ? null : maxAge,
      parts: windows.map(({ index }) => file(target.part(index))),
      shards: windows.flatMap(({ index, shards }) =>
        shards?.[0] === undefined ? [] : [file(target.shard(0, index))],
      ),
    });
  }
  // Of hundreds of stores each would take its room in the address space.
  await store.close();
  writeFileSync(
    join(root, 'cases.json'),
    JSON.stringify({ vector_bytes: vectorBytes(dim, dtype), cases }),
  );
  return root;
}

interface Report {
  rows: number;
  vectors: number;
  differences: string[];
}

async function compared(folders: readonly string[]): Promise<Report> {
  const python = await pythonWith(TRAINER_PACKAGES);
  return JSON.parse(await runPython(python, [SCRIPT, ...folders])) as Report;
}

test(
  'DuckDB, Polars and a naive join find the same revision as Tidemark for every row of random spines over random histories, and its vector is equal bit by bit',
  async () => {
    let [rows, vectors] = [0, 0];
    for (let from = FIRST_SEED; from < FIRST_SEED + SEEDS; from += SEEDS_AT_ONCE) {
      const folders: string[] = [];
      for (let seed = from; seed < Math.min(FIRST_SEED + SEEDS, from + SEEDS_AT_ONCE); seed++) {
        folders.push(await writeCases(seed));
      }
      const report = await compared(folders);
      expect(report.differences).toEqual([]);
      rows += report.rows;
      vectors += report.vectors;
    }
    expect(vectors).toBeGreaterThan(rows / 20);
    expect(rows).toBeGreaterThan(SEEDS * 1_000);
    process.stdout.write(
      `seeds ${FIRST_SEED} to ${FIRST_SEED + SEEDS - 1}: ${rows} rows and ${vectors} vectors compared\n`,
    );
  },
  60_000 + SEEDS * 20_000,
);

test.each<[string, Large]>([
  ['many rows', { dim: 2, revisionsMax: 1_000, rows: 190_000 }],
  ['long vectors', { dim: 4_096, revisionsMax: 400, rows: 2_500 }],
])('they agree where a window is more than is written at a time: %s', async (_, large) => {
  const { differences, rows, vectors } = await compared([await writeCases(FIRST_SEED, large)]);
  expect(differences).toEqual([]);
  expect(rows).toBe(3 * large.rows);
  expect(vectors).toBeGreaterThan(rows / 4);
});

/** The first numbers of the vectors that a join finds at these moments. */
async function foundAt(store: Store, moments: readonly number[]): Promise<unknown[]> {
  const spine = arrowSpine(moments.map((moment) => ({ id: 'a', moment })));
  const plan = planOf(store);
  const source = sourceOf(spine, 10);
  const windows = await windowsOf({ store, pool, plan, source, target: 'stream' });
  const table = tableFromIPC(Buffer.concat(windows.flatMap(({ chunks }) => chunks ?? [])));
  const reasons = [...table.getChild('job__reason')!] as (string | null)[];
  return Array.from(table.getChild('job__vector')!, (vector: Iterable<number> | null, row) =>
    vector === null ? reasons[row] : [...vector][0],
  );
}

test.each<[string, TestRow[][], unknown]>([
  [
    'of one event time what was known last',
    [
      [{ id: 'a', event: 5, known: 9, vector: [1, 0] }],
      [{ id: 'a', event: 5, known: 7, vector: [2, 0] }],
    ],
    1,
  ],
  [
    'of one event time and known time what was stored last',
    [
      [{ id: 'a', event: 5, known: 7, vector: [1, 0] }],
      [{ id: 'a', event: 5, known: 7, vector: [2, 0] }],
    ],
    2,
  ],
  [
    'within one commit the last row',
    [
      [
        { id: 'a', event: 5, known: 7, vector: [9, 0] },
        { id: 'a', event: 5, known: 7, vector: [1, 0] },
      ],
    ],
    1,
  ],
  [
    'a vector that was known after a delete of its moment',
    [
      [{ id: 'a', event: 5, known: 7, vector: null }],
      [{ id: 'a', event: 5, known: 8, vector: [3, 0] }],
    ],
    3,
  ],
  [
    'a delete that was stored after a vector of its moment',
    [
      [{ id: 'a', event: 5, known: 7, vector: [3, 0] }],
      [{ id: 'a', event: 5, known: 7, vector: null }],
    ],
    'DELETED',
  ],
])(
  'where engines may answer with any row of a tie, Tidemark answers with %s (A2)',
  async (_, commits, expected) => {
    const store = testStore();
    for (const rows of commits) await store.commit('job', 'v1', { rows: batchOf(rows) });
    expect(await foundAt(store, [4, 5, 6])).toEqual([null, expected, expected]);
  },
);
