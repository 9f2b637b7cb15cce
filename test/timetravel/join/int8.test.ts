import { readFileSync } from 'node:fs';

import { type Table, tableFromIPC } from 'apache-arrow';
import { readParquet } from 'parquet-wasm/node';
import { afterAll, expect, test } from 'vitest';

import { numbersOf } from '../../../src/store/dtype.ts';
import type { Store } from '../../../src/store/store.ts';
import type { AnswerFormat } from '../../../src/timetravel/formats/answer.ts';
import { parseSafetensors } from '../../../src/timetravel/formats/safetensors.ts';
import type { JoinPlan } from '../../../src/timetravel/join/plan.ts';
import { JoinPool } from '../../../src/timetravel/join/pool.ts';
import { planOf } from '../../support/join-plan.ts';
import { arrowSpine, sourceOf, targetIn, windowsOf } from '../../support/joins.ts';
import { batchOf, testStore, viewOf } from '../../support/store.ts';
import { rowsOf } from '../formats/read-back.ts';

const pool = new JoinPool(1);

afterAll(async () => pool.close());

const DIM = 5;
const ROWS = 41;

function numbersAt(at: number): number[] {
  return Array.from({ length: DIM }, (_, place) => ((at * 37 + place * 11) % 256) - 128);
}

function scaleAt(at: number): number {
  return Math.fround((at + 1) / 7);
}

/** Entities e0 to e9, each with one vector; e3 has none. */
async function filledStore(): Promise<Store> {
  const store = testStore(viewOf('job', DIM, 'int8'));
  const rows = Array.from({ length: 10 }, (_, at) => ({
    id: `e${at}`,
    event: 1_000,
    vector: at === 3 ? null : numbersAt(at),
    scale: scaleAt(at),
  }));
  await store.commit('job', 'v1', { rows: batchOf(rows, DIM, 'int8') });
  return store;
}

const EXPECTED = Array.from({ length: ROWS }, (_, row) => {
  const at = row % 10;
  return at === 3 ? { vector: null, scale: null } : { vector: numbersAt(at), scale: scaleAt(at) };
});

/** The files of a join, whose windows are not as long as its slices. */
async function joined(format: AnswerFormat, changes: Partial<JoinPlan> = {}) {
  const store = await filledStore();
  const spine = Array.from({ length: ROWS }, (_, row) => ({ id: `e${row % 10}`, moment: 2_000 }));
  const plan = planOf(store, { format, ...changes });
  const target = { ...targetIn(), shardFormat: format };
  const source = sourceOf(arrowSpine(spine), 17);
  const windows = await windowsOf({ store, pool, plan, source, target });
  return {
    parts: windows.map(({ index }) => readFileSync(target.part(index))),
    shards: windows.flatMap(({ index, shards }) =>
      shards?.[0] === undefined ? [] : [readFileSync(target.shard(0, index))],
    ),
  };
}

const TABLES: [AnswerFormat, (file: Uint8Array) => Table][] = [
  ['arrow', (file) => tableFromIPC(file)],
  ['parquet', (file) => tableFromIPC(readParquet(file).intoIPCStream())],
];

test.each(TABLES)(
  'a join in %s has numbers of int8, and their scale beside them',
  async (format, open) => {
    const { parts } = await joined(format);
    const tables = parts.map(open);
    expect(tables[0]!.schema.names.slice(2, 5)).toEqual([
      'job__vector',
      'job__scale',
      'job__event_timestamp',
    ]);
    expect(String(tables[0]!.schema.fields[2]!.type)).toBe(`FixedSizeList[${DIM}]<Int8>`);
    expect(String(tables[0]!.schema.fields[3]!.type)).toBe('Float32');
    const rows = tables.flatMap(rowsOf);
    const told = rows.map((row) => ({ vector: row['job__vector'], scale: row['job__scale'] }));
    expect(told).toEqual(EXPECTED);
  },
);

test.each(TABLES)('a table of distinct vectors in %s has their scales', async (format, open) => {
  const { parts, shards } = await joined(format, { vectors: 'ref' });
  const table = shards.map(open).flatMap(rowsOf);
  expect(table.map((row) => row['vector_row'])).toEqual([...table.keys()]);
  const rows = parts.map(open).flatMap(rowsOf);
  expect(rows[0]).not.toHaveProperty('job__scale');
  const told = rows.map((row) => {
    const place = row['job__vector_row'] as number | null;
    if (place === null) return { vector: null, scale: null };
    return { vector: table[place]!['vector'], scale: table[place]!['scale'] };
  });
  expect(told).toEqual(EXPECTED);
});

test('safetensors of a join have I8 and F32, and zeros where there is nothing', async () => {
  const { parts } = await joined('safetensors');
  const rows = parts.flatMap((part) => {
    const { tensors } = parseSafetensors(part);
    const numbers = numbersOf(tensors.get('job__vector')!.bytes, 'int8');
    const scales = numbersOf(tensors.get('job__scale')!.bytes, 'float32');
    return Array.from(scales, (scale, row) => ({
      vector: [...numbers.subarray(row * DIM, (row + 1) * DIM)],
      scale,
    }));
  });
  const none = { vector: Array<number>(DIM).fill(0), scale: 0 };
  expect(rows).toEqual(EXPECTED.map((row) => (row.vector === null ? none : row)));
});

test('safetensors of distinct vectors have the scales in front of them', async () => {
  const { shards } = await joined('safetensors', { vectors: 'ref' });
  const { tensors } = parseSafetensors(shards[0]!);
  expect(tensors.get('vector')).toMatchObject({ dtype: 'I8', shape: [9, DIM] });
  const scales = numbersOf(tensors.get('scale')!.bytes, 'float32');
  const own = [0, 1, 2, 4, 5, 6, 7, 8, 9];
  expect([...scales]).toEqual(own.map(scaleAt));
  const numbers = numbersOf(tensors.get('vector')!.bytes, 'int8');
  expect([...numbers]).toEqual(own.flatMap(numbersAt));
});

test('lines have whole numbers and the scale', async () => {
  const { parts } = await joined('ndjson');
  const lines = parts.flatMap((part) => part.toString().trim().split('\n'));
  const rows = lines.map((line) => JSON.parse(line)).filter((row) => !('__summary' in row));
  const told = rows.map((row) => ({ vector: row.job__vector, scale: row.job__scale }));
  expect(told).toEqual(EXPECTED);
});
