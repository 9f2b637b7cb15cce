import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  Bool,
  CompressionType,
  compressionRegistry,
  type Data,
  Dictionary,
  Field,
  FixedSizeBinary,
  FixedSizeList,
  Float32,
  Int32,
  Int64,
  LargeUtf8,
  List,
  makeData,
  Null,
  RecordBatch,
  RecordBatchFileWriter,
  RecordBatchStreamWriter,
  Schema,
  Struct,
  Table,
  tableFromIPC,
  tableToIPC,
  TimestampMicrosecond,
  Utf8,
  Utf8View,
  Vector,
  vectorFromArray,
} from 'apache-arrow';
import fc from 'fast-check';
import { compressFrameSync } from 'lz4-napi';
import { expect, test } from 'vitest';

import type { TidemarkError } from '../../../src/ground/errors.ts';
import { idsOf } from '../../../src/timetravel/spine/ids.ts';
import { readPiece } from '../../../src/timetravel/spine/read.ts';
import { openSpineFile, readSpineStream } from '../../../src/timetravel/spine/source.ts';
import { tempDirectory } from '../../support/temp.ts';
import { inChunks, LIMITS, piecesOf, rowsOf, windowOf, windowsOf } from './spine.ts';

const item = (type: Utf8 | Int32 | Float32 | Utf8View) => new Field('item', type, true);

/** A column of every kind that passes through, each with a null. */
function everyKind(rows: number, shift = 0): Record<string, Vector> {
  const make = (type: never, value: (row: number) => unknown) =>
    vectorFromArray(
      Array.from({ length: rows }, (_, at) =>
        (at + shift) % 7 === 3 ? null : value(at + shift),
      ) as never[],
      type,
    );
  return {
    text: make(new Utf8() as never, (row) => `t${row % 5}`),
    large: make(new LargeUtf8() as never, (row) => `ä${row}`),
    view: make(new Utf8View() as never, (row) =>
      row % 2 === 0 ? `v${row}` : `a text that is longer than twelve bytes ${row}`,
    ),
    category: make(new Dictionary(new Utf8(), new Int32(), 7) as never, (row) => `c${row % 3}`),
    whole: make(new Int64() as never, (row) => BigInt(row) - 5n),
    small: make(new Float32() as never, (row) => row / 4),
    yes: make(new Bool() as never, (row) => row % 3 === 0),
    at: make(new TimestampMicrosecond('UTC') as never, (row) => row),
    list: make(new List(item(new Utf8View())) as never, (row) =>
      Array.from({ length: row % 4 }, (_, at) => `l${at} of a text ${row}`),
    ),
    pair: make(new FixedSizeList(2, item(new Float32())) as never, (row) => [row, -row]),
    deep: make(
      new Struct([new Field('a', new Int32(), true), new Field('b', new Utf8(), true)]) as never,
      (row) => ({ a: row, b: `b${row}` }),
    ),
    nothing: make(new Null() as never, () => null),
  };
}

function tableOf(columns: Record<string, Vector>): Table {
  return new Table(columns);
}

function streamOf(batches: readonly RecordBatch[]): Uint8Array {
  return RecordBatchStreamWriter.writeAll([...batches]).toUint8Array(true);
}

test('batches are put together as one, and larger ones taken apart, every kind of column the same', async () => {
  const expected = rowsOf(tableOf(everyKind(60)).batches.map((batch) => ({ batch })));
  // One dictionary for all of the batches; all else is made for each.
  const { category } = everyKind(60);
  for (const size of [1, 7, 60]) {
    const batches = Array.from({ length: Math.ceil(60 / size) }, (_, at) => {
      const rows = Math.min(size, 60 - at * size);
      const columns = everyKind(rows, at * size);
      return tableOf({ ...columns, category: category!.slice(at * size, at * size + rows) })
        .batches[0]!;
    });
    const stream = streamOf(batches);
    for (const rowsMax of [1, 4, 13, 25, 1_000]) {
      // oxlint-disable-next-line no-await-in-loop
      const pieces = await piecesOf(stream, 'arrow', { rowsMax }, 1_000);
      // oxlint-disable-next-line no-await-in-loop
      const windows = await windowsOf(pieces);
      expect(rowsOf(windows)).toEqual(expected);
      expect(pieces.map(({ rows }) => rows).every((rows) => rows <= rowsMax)).toBe(true);
      expect(pieces.map(({ firstRow }) => firstRow)).toEqual(
        pieces.map((_, at) => pieces.slice(0, at).reduce((sum, { rows }) => sum + rows, 0)),
      );
    }
  }
});

test('texts that are views become plain ones, at any depth', async () => {
  const window = await windowOf(tableToIPC(tableOf(everyKind(20)), 'stream'), 'arrow');
  const types = window.batch.schema.fields.map(({ name, type }) => `${name} ${String(type)}`);
  expect(types).toContain('view Utf8');
  expect(types).toContain('list List<Utf8>');
  expect(types.join()).not.toMatch(/View/);
});

test('the file format is read as the stream that it holds', async () => {
  const stream = tableToIPC(
    tableOf({ id: vectorFromArray(['a', 'b', 'a'], new Utf8()) }),
    'stream',
  );
  const file = Buffer.concat([Buffer.from('ARROW1\0\0'), stream, Buffer.from('a footer ARROW1')]);
  expect(rowsOf([await windowOf(file, 'arrow')])).toEqual([{ id: 'a' }, { id: 'b' }, { id: 'a' }]);
});

test('a dictionary that changes on the way changes from that row on', async () => {
  const type = new Dictionary(new Utf8(), new Int32(), 3);
  const first = tableOf({ id: vectorFromArray(['a', 'b'], type) }).batches;
  const second = tableOf({ id: vectorFromArray(['c', 'a'], type) }).batches;
  const pieces = await piecesOf(streamOf([...first, ...second]), 'arrow');
  const windows = await windowsOf(pieces);
  expect(rowsOf(windows).map(({ id }) => id)).toEqual(['a', 'b', 'c', 'a']);
  const ids = windows.flatMap((window) => {
    const column = idsOf(window, 'id');
    return Array.from(column.ordinals, (ordinal) => column.ids[ordinal]);
  });
  expect(ids).toEqual(['a', 'b', 'c', 'a']);
});

test('an empty spine is one piece of no rows, with its schema', async () => {
  const table = tableOf(everyKind(3));
  const empty = new RecordBatchStreamWriter();
  empty.reset(undefined, table.schema);
  empty.close();
  const noRows = table.batches[0]!.slice(0, 0);
  for (const stream of [empty.toUint8Array(true), streamOf([noRows]), streamOf([noRows, noRows])]) {
    // oxlint-disable-next-line no-await-in-loop
    const { batch } = await windowOf(stream, 'arrow');
    expect([batch.numRows, batch.schema.names]).toEqual([0, table.schema.names]);
    const types = batch.schema.fields.map(({ type }) => String(type)).join();
    expect(types).toContain('List<Utf8>');
    expect(tableFromIPC(tableToIPC(new Table([batch]), 'stream')).schema.names).toEqual(
      table.schema.names,
    );
  }
});

const STREAM = tableToIPC(tableOf({ id: vectorFromArray(['a', 'b'], new Utf8()) }), 'stream');

test.each([
  ['nothing', Buffer.alloc(0), 'it is empty; expected a schema and record batches'],
  ['nothing in a frame', Buffer.from('ARROW1\0\0'), 'it does not begin with a schema'],
  ['another format', Buffer.from('{"id":"a"}\n{"id":"b"}\n'), 'its first bytes are no message'],
  ['garbage', Buffer.alloc(64, 0x11), 'its first bytes are no message'],
  [
    'two columns of one name',
    tableToIPC(new Table([twins('id')]), 'stream'),
    'the spine has two columns id',
  ],
  [
    'a column without a name',
    tableToIPC(new Table([twins('')]), 'stream'),
    'column 2 of the spine has no name',
  ],
])('%s is refused', async (_name, spine, message) => {
  await expect(windowOf(spine, 'arrow')).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringContaining(message),
  });
});

function twins(second: string): RecordBatch {
  const [data] = vectorFromArray(['a'], new Utf8()).data;
  const fields = [new Field('id', new Utf8()), new Field(second, new Utf8())];
  const children = [data!, data!];
  return new RecordBatch(
    new Schema(fields),
    makeData({ type: new Struct(fields), length: 1, nullCount: 0, children }),
  );
}

test('a stream that is cut short anywhere within a message is refused', async () => {
  let refused = 0;
  for (let end = 1; end < STREAM.length - 8; end++) {
    // oxlint-disable-next-line no-await-in-loop
    const result = await windowOf(STREAM.subarray(0, end), 'arrow').catch(
      (error: unknown) => error,
    );
    if (result instanceof Error) {
      expect(result).toMatchObject({
        code: 'BAD_REQUEST',
        message: expect.stringContaining('cut short'),
      });
      refused++;
    }
  }
  // Between two messages nothing tells that more was to come.
  expect(refused).toBe(STREAM.length - 9 - 1);
});

/** Piece after piece, as a join reads it: the first one that is damaged ends it. */
async function readAll(spine: Uint8Array): Promise<undefined> {
  const source = readSpineStream(inChunks(spine, 1_000), 'arrow', { ...LIMITS, rowsMax: 7 });
  for await (const piece of source.pieces()) idsOf(await readPiece(piece), 'text');
}

test('a stream with bytes changed is read, or refused with a code', async () => {
  const spine = Buffer.from(tableToIPC(tableOf(everyKind(20)), 'stream'));
  const change = fc.tuple(fc.nat({ max: spine.length - 1 }), fc.nat({ max: 255 }));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
      const changed = Buffer.from(spine);
      for (const [at, byte] of changes) changed[at] = byte;
      const ended = await readAll(changed).catch((error: unknown) => error as TidemarkError);
      expect([undefined, 'BAD_REQUEST', 'LIMIT_EXCEEDED']).toContain(ended?.code);
    }),
  );
});

test('a message that says it has more than its bytes can hold is refused before anything is made of it', async () => {
  const { text, category, list, deep } = everyKind(3);
  const columns = { text: text!, category: category!, list: list!, deep: deep! };
  const spine = Buffer.from(tableToIPC(tableOf(columns), 'stream'));
  for (let at = 8; at + 4 <= spine.length; at += 4) {
    const changed = Buffer.from(spine);
    changed.writeUInt32LE(0x0f_ff_ff_ff, at);
    // oxlint-disable-next-line no-await-in-loop
    const ended = await readAll(changed).catch((error: unknown) => error as TidemarkError);
    expect([undefined, 'BAD_REQUEST', 'LIMIT_EXCEEDED'], `word ${at}`).toContain(ended?.code);
  }
});

test('a file on the disk is read by its footer, and refused where that is damaged', async () => {
  const path = join(tempDirectory(), 'spine.arrow');
  const first = tableOf({ id: vectorFromArray(['a', 'b'], new Utf8()) }).batches;
  const second = tableOf({ id: vectorFromArray(['c'], new Utf8()) }).batches;
  // Of JavaScript: without a schema in front.
  const file = RecordBatchFileWriter.writeAll([...first, ...second]).toUint8Array(true);
  const read = async (bytes: Uint8Array) => {
    writeFileSync(path, bytes);
    const source = await openSpineFile(path, 'arrow', LIMITS);
    return rowsOf(await windowsOf(await Array.fromAsync(source.pieces())));
  };
  expect(await read(file)).toEqual([{ id: 'a' }, { id: 'b' }, { id: 'c' }]);
  expect(await read(STREAM)).toEqual([{ id: 'a' }, { id: 'b' }]);
  for (const end of [0, 5, 8, 100, file.length - 1]) {
    // oxlint-disable-next-line no-await-in-loop
    await expect(read(file.subarray(0, end))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  }
});

/**
 * A hundred rows of a text, compressed, and in front of them what `told` makes of their length. (What
 * apache-arrow has in front of a buffer is how long it is once it is compressed.)
 */
function compressed(text: string, told: (bytes: number) => bigint = BigInt): Buffer {
  const codec = compressionRegistry.get(CompressionType.LZ4_FRAME)!;
  const buffers: { bytes: number; packed: Buffer }[] = [];
  const encode = (bytes: Uint8Array) => {
    const packed = compressFrameSync(Buffer.from(bytes));
    buffers.push({ bytes: bytes.length, packed });
    return packed;
  };
  compressionRegistry.set(CompressionType.LZ4_FRAME, { ...codec, encode });
  const texts = Array.from({ length: 100 }, () => text);
  const table = new Table({ text: vectorFromArray(texts, new Utf8()) });
  const compressionType = CompressionType.LZ4_FRAME;
  const stream = RecordBatchStreamWriter.writeAll(table, { compressionType }).toUint8Array(true);
  const spine = Buffer.from(stream);
  for (const { bytes, packed } of buffers) {
    const length = bytes < text.length * 100 ? BigInt(bytes) : told(text.length * 100);
    if (packed.length < bytes) spine.writeBigInt64LE(length, spine.indexOf(packed) - 8);
  }
  return spine;
}

test('a compressed batch counts with the bytes that it becomes', async () => {
  const bytes = compressed('a'.repeat(2_000));
  expect(bytes.length).toBeLessThan(10_000);
  const pieces = await piecesOf(bytes, 'arrow', { bytesMax: 50_000 });
  expect(pieces.map(({ rows }) => rows)).toEqual([20, 20, 20, 20, 20]);
  expect(rowsOf(await windowsOf(pieces))).toHaveLength(100);
  // More than memory has.
  const large = compressed('a'.repeat(2_000), () => 2n ** 40n);
  await expect(piecesOf(large, 'arrow')).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
});

test.each([
  ['less', (bytes: number) => BigInt(bytes) / 100n],
  ['a byte less', (bytes: number) => BigInt(bytes) - 1n],
  ['a byte more', (bytes: number) => BigInt(bytes) + 1n],
  ['nothing', () => 0n],
  ['a negative number', () => -2n],
])('a compressed buffer that says %s of its bytes is refused', async (_name, told) => {
  const bytes = compressed('b'.repeat(10_000), told);
  await expect(windowOf(bytes, 'arrow', { bytesMax: 2 ** 30 })).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringMatching(/a buffer has|a batch of it is damaged/),
  });
});

test('a buffer of LZ4 that becomes a thousand times what it says is refused before it does', async () => {
  const large = compressed('c'.repeat(2 ** 20), () => 65_536n);
  const before = process.memoryUsage().rss;
  let most = before;
  const codec = compressionRegistry.get(CompressionType.LZ4_FRAME)!;
  compressionRegistry.set(CompressionType.LZ4_FRAME, {
    decode: (bytes) => {
      try {
        return codec.decode!(bytes);
      } finally {
        most = Math.max(most, process.memoryUsage().rss);
      }
    },
  });
  await expect(windowOf(large, 'arrow', { bytesMax: 2 ** 30 })).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringContaining('a buffer has more than the 65536 bytes that it says'),
  });
  // It would be 100 MiB.
  expect(most - before).toBeLessThan(50 * 2 ** 20);
});

test.each([2 ** 31 - 1, -1, 2 ** 24 + 1])(
  'a schema of lists or bytes of the fixed size %d is refused',
  async (size) => {
    const types = [
      new FixedSizeList(size, new Field('item', new Null(), true)),
      new FixedSizeBinary(size),
    ];
    for (const type of types) {
      const writer = new RecordBatchStreamWriter();
      writer.reset(undefined, new Schema([new Field('wide', type, true)]));
      writer.close();
      // oxlint-disable-next-line no-await-in-loop
      await expect(windowOf(writer.toUint8Array(true), 'arrow')).rejects.toMatchObject({
        code: 'BAD_REQUEST',
        message: expect.stringContaining('a message of it is damaged'),
      });
    }
  },
);

test('rows of a fixed size that lack their values are refused', async () => {
  const columns = [
    makeData({
      type: new FixedSizeList(1_000_000, item(new Int32())),
      length: 2,
      nullCount: 0,
      child: vectorFromArray([1, 2], new Int32()).data[0]!,
    }),
    makeData({
      type: new FixedSizeBinary(1_000_000),
      length: 2,
      nullCount: 0,
      data: new Uint8Array(8),
    }),
  ];
  for (const data of columns) {
    const spine = tableToIPC(tableOf({ wide: new Vector([data as Data]) }), 'stream');
    // oxlint-disable-next-line no-await-in-loop
    await expect(windowOf(spine, 'arrow')).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringContaining('a column has fewer values than its rows'),
    });
  }
});

test('a footer that says it has more than its bytes can hold is refused before anything is made of it', async () => {
  const path = join(tempDirectory(), 'spine.arrow');
  const { batches } = tableOf({ id: vectorFromArray(['a', 'b'], new Utf8()) });
  const file = Buffer.from(RecordBatchFileWriter.writeAll(batches).toUint8Array(true));
  const end = file.length - 10;
  for (let at = end - file.readInt32LE(end); at < end; at += 4) {
    const changed = Buffer.from(file);
    changed.writeUInt32LE(0x0f_ff_ff_ff, at);
    writeFileSync(path, changed);
    // oxlint-disable-next-line no-await-in-loop
    const ended = await openSpineFile(path, 'arrow', LIMITS)
      .then(async (source) => windowsOf(await Array.fromAsync(source.pieces())))
      .catch((error: unknown) => error as TidemarkError);
    const code = ended instanceof Error ? ended.code : undefined;
    expect([undefined, 'BAD_REQUEST', 'LIMIT_EXCEEDED'], `byte ${at}`).toContain(code);
  }
});
