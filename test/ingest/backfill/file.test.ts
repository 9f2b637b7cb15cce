import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  Field,
  FixedSizeList,
  Float32,
  Int32,
  makeData,
  Table as ArrowTable,
  tableToIPC,
  TimestampMicrosecond,
  Utf8,
  Vector,
  vectorFromArray,
} from 'apache-arrow';
import { Table, writeParquet } from 'parquet-wasm/node';
import { expect, test } from 'vitest';

import type { FileColumns, FileOrigin } from '../../../src/ingest/backfill/record.ts';
import { tempDirectory } from '../../support/temp.ts';
import { World } from './world.ts';

const COLUMNS: FileColumns = {
  entity_id: 'job_id',
  event_timestamp: 'at',
  known_timestamp: 'seen',
  text: 'body',
};

function originOf(path: string, columns = COLUMNS): FileOrigin {
  const { size, mtimeMs } = statSync(path);
  const format = path.endsWith('.parquet') ? 'parquet' : 'ndjson';
  return { kind: 'file', path, format, bytes: size, modified: mtimeMs, columns };
}

function ndjson(rows: readonly unknown[]): string {
  const path = join(tempDirectory(), 'rows.ndjson');
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return path;
}

function at(seconds: number): string {
  return new Date(seconds * 1_000).toISOString();
}

function parquet(table: ArrowTable): string {
  const path = join(tempDirectory(), 'rows.parquet');
  writeFileSync(path, writeParquet(Table.fromIPCStream(tableToIPC(table, 'stream'))));
  return path;
}

test('the rows of a file become revisions at their times, and deletes tombstones (A2, A5, A7)', async () => {
  const world = await World.open();
  const path = ndjson([
    { job_id: 7, at: at(1), seen: at(2), body: 'cook' },
    { job_id: 'b', at: at(3), seen: at(3), body: 'nurse', gone: false },
    { job_id: 'b', at: at(4), seen: at(5), gone: true },
  ]);
  const { record } = await world.backfill(originOf(path, { ...COLUMNS, deleted: 'gone' }));
  expect(record.counts).toMatchObject({ read: 3, stored: 3 });
  expect(world.held('v2')).toEqual([
    ['7', 1, 2, 4],
    ['b', 3, 3, 5],
    ['b', 4, 5, null],
  ]);
});

test('a row that is not in order is told of by its number, and the others are stored (A13, A14)', async () => {
  const world = await World.open();
  const good = { job_id: 'a', at: at(1), seen: at(1), body: 'cook' };
  const path = ndjson([
    good,
    { ...good, job_id: '' },
    { ...good, at: '2020-01-01' },
    { ...good, seen: at(5_000) },
    { ...good, body: 7 },
    [],
    { ...good, at: at(2) },
    { ...good, at: at(900), seen: at(3) },
  ]);
  const { record } = await world.backfill(originOf(path));
  expect(record.rejected.map(({ offset, code }) => [offset, code])).toEqual([
    [1, 'BAD_ENTITY_ID'],
    [2, 'BAD_TIMESTAMP'],
    [3, 'FUTURE_TIMESTAMP'],
    [4, 'BAD_INPUT'],
    [5, 'BAD_RECORD'],
    [7, 'FUTURE_TIMESTAMP'],
  ]);
  expect(record.counts).toMatchObject({ read: 8, stored: 2, rejected: 6 });
  expect(world.held('v2').map(([, event]) => event)).toEqual([1, 2]);
});

test('the event time is when it was known where no column says', async () => {
  const world = await World.open();
  const path = ndjson([{ job_id: 'a', at: at(1), body: 'cook' }]);
  const { known_timestamp: _known, ...columns } = COLUMNS;
  await world.backfill(originOf(path, columns));
  expect(world.held('v2')).toEqual([['a', 1, 1, 4]]);
});

test('rows of Parquet are read as those of NDJSON, whatever their number', async () => {
  const world = await World.open();
  const rows = Array.from({ length: 9_000 }, (_, row) => row);
  const moments = rows.map((row) => row * 100);
  const table = new ArrowTable({
    job_id: vectorFromArray(rows, new Int32()),
    at: vectorFromArray(moments, new TimestampMicrosecond('UTC')),
    seen: vectorFromArray(moments, new TimestampMicrosecond('UTC')),
    body: vectorFromArray(
      rows.map((row) => (row === 7 ? null : 'x'.repeat(1 + (row % 5)))),
      new Utf8(),
    ),
  });
  const { record } = await world.backfill(originOf(parquet(table)));
  expect(record.rejected).toMatchObject([{ offset: 7, code: 'BAD_INPUT' }]);
  expect(record.counts).toMatchObject({ read: 9_000, stored: 8_999, rejected: 1 });
  expect(record.inputs).toMatchObject({ embedded: 5 });
  const held = world.held('v2');
  expect(held[0]).toEqual(['0', 0, 0, 1]);
  expect(held.at(-1)).toEqual(['8999', 899.9, 899.9, 5]);
});

test('vectors of a file are stored as they are, and those that do not fit are told of (A14)', async () => {
  const world = await World.open();
  const child = new Field('item', new Float32(), true);
  const list = new FixedSizeList(2, child);
  const values = makeData({ type: new Float32(), data: Float32Array.of(1, 2, 3, Number.NaN) });
  const vectors = new Vector([makeData({ type: list, length: 2, nullCount: 0, child: values })]);
  const table = new ArrowTable({
    job_id: vectorFromArray(['a', 'b']),
    at: vectorFromArray([1_000, 1_000], new TimestampMicrosecond('UTC')),
    v: vectors,
  });
  const { text: _text, known_timestamp: _known, ...rest } = COLUMNS;
  const { record } = await world.backfill(originOf(parquet(table), { ...rest, vector: 'v' }));
  expect(world.held('v2')).toEqual([['a', 1, 1, 1]]);
  expect(record.rejected).toMatchObject([{ offset: 1, code: 'BAD_VECTOR' }]);
});

test('fields of a file go through the prompt of the version', async () => {
  const prompt = { template: '{{title}} in {{place}}', fields: ['title', 'place'] };
  const world = await World.open({ prompt });
  const path = ndjson([{ job_id: 'a', at: at(1), seen: at(1), t: 'cook', where: ['A', 'B'] }]);
  const { text: _text, ...rest } = COLUMNS;
  const fields = { title: 't', place: 'where' };
  await world.backfill(originOf(path, { ...rest, fields }));
  expect(world.fixture.embedder.asked).toEqual(['cook in A, B']);
  await expect(world.backfill(originOf(path, { ...rest, fields: { title: 't' } }))).rejects.toThrow(
    'the fields lack place',
  );
});

test('a file without the column, and one that was written to since it was named, fail the backfill', async () => {
  const world = await World.open();
  const rows = new ArrowTable({
    job_id: vectorFromArray(['a']),
    at: vectorFromArray([1_000], new TimestampMicrosecond('UTC')),
  });
  const { record } = await world.backfill(originOf(parquet(rows)));
  expect(record).toMatchObject({ state: 'failed', failure: { code: 'BAD_REQUEST' } });
  const path = ndjson([{ job_id: 'a', at: at(1), seen: at(1), body: 'cook' }]);
  const origin = originOf(path);
  writeFileSync(path, '');
  const changed = (await world.backfill(origin)).record;
  expect(changed.failure?.message).toContain('is not the one that was asked for any more');
});

test('a plan says what a backfill then does, and stores nothing', async () => {
  const world = await World.open();
  const rows = Array.from({ length: 5_000 }, (_, row) => ({
    job_id: `e${row % 900}`,
    at: at(row / 10),
    seen: at(row / 10),
    body: `job ${row % 1_250}`,
  }));
  const { backfills, store } = world.fixture;
  await world.say('v2', { id: 'e0', at: 0.5, text: 'job 3' });
  const from = originOf(ndjson([...rows, { job_id: '' }]));
  const asked = { view: 'job', version: 'v2', from, window: { to: 450e6 } };
  const before = store.version('job', 'v2').environment.bytes();
  const plan = await backfills.plan(asked, new AbortController().signal);
  expect(plan).toMatchObject({
    events: 5_001,
    wanted: 4_500,
    rejected: 1,
    distinctInputs: 1_250,
    pooledInputs: 1,
    sampledInputs: 1_249,
    isExact: true,
  });
  expect(world.held('v2')).toHaveLength(1);
  expect(backfills.list(10, undefined)).toEqual([]);
  const { record } = await world.backfill(from, { window: asked.window });
  expect(record.counts).toMatchObject({ read: 5_001, stored: 4_500, skipped: 500, rejected: 1 });
  expect(record.inputs.embedded).toBe(1_249);
  const grown = store.version('job', 'v2').environment.bytes() - before;
  expect(plan.bytes).toBeGreaterThan(grown / 2);
  expect(plan.bytes).toBeLessThan(grown * 2);
});
