import {
  Binary,
  Bool,
  type Data,
  type DataType,
  DateDay,
  DateMillisecond,
  Decimal,
  DenseUnion,
  Dictionary,
  DurationMicrosecond,
  Field,
  FixedSizeBinary,
  FixedSizeList,
  Float16,
  Float32,
  Float64,
  Int16,
  Int32,
  Int64,
  Int8,
  IntervalDayTime,
  LargeBinary,
  LargeUtf8,
  List,
  makeData,
  Map_,
  Null,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableFromIPC,
  tableToIPC,
  TimeMicrosecond,
  TimeSecond,
  TimestampMicrosecond,
  TimestampNanosecond,
  TimestampSecond,
  Uint64,
  Uint8,
  Utf8,
  Vector,
  vectorFromArray,
} from 'apache-arrow';
import { expect, test } from 'vitest';

import { take } from '../../../src/timetravel/join/take.ts';
import { seeded } from '../../model/random.ts';

const ROWS = 100;

const words = (at: number): string => 'añ𝕏'.repeat(at % 7) + at;
const bytes = (at: number): Uint8Array => Buffer.from(words(at));
const item = (type: DataType, name = 'item'): Field => new Field(name, type, true);

/** A list of lists that are as long as their row number leaves of seven. */
function lists(at: number): (number | null)[] {
  return Array.from({ length: at % 7 }, (_, part) => (part === 3 ? null : at * 10 + part));
}

const TYPES: [string, DataType, (at: number) => unknown][] = [
  ['int8', new Int8(), (at) => at - 50],
  ['int16', new Int16(), (at) => at * 300 - 9_000],
  ['int32', new Int32(), (at) => at * 1e6],
  ['int64', new Int64(), (at) => BigInt(at) * 2n ** 54n],
  ['uint8', new Uint8(), (at) => at],
  ['uint64', new Uint64(), (at) => 2n ** 63n + BigInt(at)],
  ['float16', new Float16(), (at) => at / 4],
  ['float32', new Float32(), (at) => at / 8],
  ['float64', new Float64(), (at) => at / 3],
  ['bool', new Bool(), (at) => at % 3 === 0],
  ['utf8', new Utf8(), words],
  ['large_utf8', new LargeUtf8(), words],
  ['binary', new Binary(), bytes],
  ['large_binary', new LargeBinary(), bytes],
  ['fixed_size_binary', new FixedSizeBinary(3), (at) => Buffer.of(at, 1, 2)],
  ['decimal', new Decimal(2, 30, 128), (at) => Uint32Array.of(at, 1, 2, 0)],
  ['date32', new DateDay(), (at) => new Date(at * 86_400_000)],
  ['date64', new DateMillisecond(), (at) => new Date(at * 86_400_000)],
  ['time32', new TimeSecond(), (at) => at],
  ['time64', new TimeMicrosecond(), (at) => BigInt(at)],
  ['timestamp[s]', new TimestampSecond('UTC'), (at) => at * 1_000],
  ['timestamp[us]', new TimestampMicrosecond('UTC'), (at) => at],
  ['timestamp[ns]', new TimestampNanosecond('UTC'), (at) => at],
  ['duration', new DurationMicrosecond(), (at) => BigInt(at)],
  ['interval', new IntervalDayTime(), (at) => Int32Array.of(at, 2 * at)],
  ['list', new List(item(new Int32())), lists],
  [
    'list of texts',
    new List(item(new Utf8())),
    (at) => lists(at).map((each) => each && words(each)),
  ],
  [
    'list of lists',
    new List(item(new List(item(new Int32())))),
    (at) => [lists(at), [], lists(at + 1)],
  ],
  ['fixed_size_list', new FixedSizeList(3, item(new Float32())), (at) => [at, at + 1, at / 2]],
  [
    'fixed_size_list of texts',
    new FixedSizeList(2, item(new Utf8())),
    (at) => [words(at), words(at + 1)],
  ],
  [
    'struct',
    new Struct([item(new Int32(), 'a'), item(new Utf8(), 'b'), item(new Bool(), 'c')]),
    (at) => ({ a: at % 5 === 0 ? null : at, b: words(at), c: at % 2 === 0 }),
  ],
  [
    'list of structs',
    new List(item(new Struct([item(new Int32(), 'a')]))),
    (at) => lists(at).map((a) => ({ a })),
  ],
  ['dictionary', new Dictionary(new Utf8(), new Int16()), (at) => words(at % 9)],
  [
    'map',
    new Map_(
      new Field(
        'entries',
        new Struct<{ key: Utf8; value: Int32 }>([
          new Field('key', new Utf8(), false),
          new Field('value', new Int32(), true),
        ]),
        false,
      ),
    ),
    (at) => new Map([[words(at), at], ...(at % 2 === 0 ? [['also', null] as const] : [])]),
  ],
];

/** What a cell holds, as text. */
function cell(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => {
    if (typeof each === 'bigint') return `${each}n`;
    if (each instanceof Map) return [...each];
    return ArrayBuffer.isView(each) ? [...(each as Uint8Array)] : each;
  });
}

function cellsOf(data: Data): string[] {
  return Array.from(new Vector([data]), (value) => cell(value));
}

/** As a spine brings it: written as Arrow and read again. */
function throughIpc(data: Data): Data {
  const schema = new Schema([new Field('column', data.type, true)]);
  const rows = makeData({ type: new Struct(schema.fields), length: data.length, children: [data] });
  const batch = new RecordBatch(schema, rows);
  return tableFromIPC(tableToIPC(new Table([batch]), 'stream')).batches[0]!.data.children[0]!;
}

const random = seeded(9);
const ORDERS: [string, (rows: number) => number[]][] = [
  ['in their order', (rows) => Array.from({ length: rows }, (_, at) => at)],
  ['in the other order', (rows) => Array.from({ length: rows }, (_, at) => rows - 1 - at)],
  ['some of them, several times', (rows) => Array.from({ length: 150 }, () => random(rows))],
  ['none of them', () => []],
];

test.each(TYPES)(
  'rows of %s are taken in any order, nulls and slices included',
  (_, type, value) => {
    for (const nulls of [0, 3, 1]) {
      const values = Array.from({ length: ROWS }, (__, at) =>
        nulls > 0 && at % nulls === 0 ? null : value(at),
      );
      const [built] = vectorFromArray(values, type).data;
      for (const whole of [built!, throughIpc(built!)]) {
        for (const data of [
          whole,
          whole.slice(0, 40),
          whole.slice(13, 61),
          whole.slice(13, 61).slice(5, 9),
        ]) {
          const cells = cellsOf(data);
          for (const [how, orderOf] of ORDERS) {
            const rows = orderOf(data.length);
            const taken = take(data, Int32Array.from(rows), 'column');
            expect(taken.length, how).toBe(rows.length);
            expect(cellsOf(taken), how).toEqual(rows.map((row) => cells[row]));
            expect(taken.nullCount, how).toBe(rows.filter((row) => cells[row] === 'null').length);
            // What is written of it is whole too.
            expect(cellsOf(throughIpc(taken)), how).toEqual(rows.map((row) => cells[row]));
          }
        }
      }
    }
  },
);

test('rows of nulls alone are as many as asked for', () => {
  const data = makeData({ type: new Null(), length: 5 });
  expect(cellsOf(take(data, Int32Array.of(4, 4, 0), 'column'))).toEqual(['null', 'null', 'null']);
});

test('a type whose rows cannot be put in another order is refused by its column, with what to do', () => {
  const type = new DenseUnion(Int32Array.of(0), [new Field('a', new Int8())]);
  const data = makeData({
    type,
    length: 1,
    typeIds: Int8Array.of(0),
    valueOffsets: Int32Array.of(0),
    children: [makeData({ type: new Int8(), data: Int8Array.of(1) })],
  });
  const refused = () => take(data, Int32Array.of(0), 'mixed');
  expect(refused).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  expect(refused).toThrow(/the column mixed is of type .*order=spine, or leave the column out/);
});
