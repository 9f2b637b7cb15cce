import fc from 'fast-check';
import { expect, test } from 'vitest';

import { compileAvro } from '../../../src/ingest/formats/avro.ts';
import {
  ENCODINGS,
  ENCODING_NAMES,
  type EncodingName,
} from '../../../src/ingest/formats/encodings.ts';
import { RECORDED_NAMES, recordedBytes, recordedSchemas } from './recorded.ts';

function decode(encoding: EncodingName, bytes: Uint8Array): unknown {
  return ENCODINGS[encoding](bytes, recordedSchemas);
}

test('Avro by Python reads as what was written', () => {
  expect(decode('avro', recordedBytes('everything'))).toEqual({
    yes: true,
    small: -3,
    least: -(2n ** 63n),
    most: 2n ** 63n - 1n,
    exact: 2 ** 53 - 1,
    single: Math.fround(0.1),
    double: 0.1,
    raw: Buffer.of(0x00, 0xff),
    text: 'größer 🌊',
    suit: 'HEARTS',
    four: Buffer.of(1, 2, 3, 4),
    vector: [0.5, -1.5, 3.25],
    none: [],
    counts: expect.objectContaining({ a: 1 }),
    at: 1_772_366_400_123,
    either: { b: 5 },
    tree: { leaf: 1, next: { leaf: 2, next: null } },
  });
});

test('a name that is also the prototype’s is a name like any other', () => {
  const { counts } = decode('avro', recordedBytes('everything')) as { counts: object };
  expect(Object.entries(counts)).toEqual([
    ['a', 1],
    ['__proto__', 2],
  ]);
  const packed = Buffer.from([0x81, 0xa9, ...Buffer.from('__proto__'), 0x01]);
  expect(Object.entries(decode('msgpack', packed) as object)).toEqual([['__proto__', 1]]);
});

test('an Avro schema may use names of another one', () => {
  const member = { id: 'm1', home: { city: 'Bergen' } };
  expect(decode('avro', recordedBytes('member'))).toEqual(member);
});

test('JSON by Python’s JSON Schema serialiser reads as what was written', () => {
  const job = { id: 'j1', title: 'Analyst', ts: 1_772_366_401_000 };
  expect(decode('json_schema', recordedBytes('json-schema'))).toEqual(job);
});

test('MessagePack by Python reads as what was written', () => {
  expect(decode('msgpack', recordedBytes('msgpack'))).toEqual({
    id: 2n ** 53n + 1n,
    title: 'größer 🌊',
    vector: [0.5, -1.5],
    raw: Buffer.from('0000803f00000040', 'hex'),
    numbers: [
      0,
      127,
      128,
      255,
      256,
      65_535,
      65_536,
      2 ** 32,
      2n ** 64n - 1n,
      -1,
      -32,
      -33,
      -129,
      -32_769,
      -(2 ** 31) - 1,
      -(2n ** 63n),
    ],
    rest: [
      null,
      true,
      false,
      0.1,
      'x'.repeat(40),
      'y'.repeat(300),
      'z'.repeat(70_000),
      Array.from({ length: 20 }, () => 1),
      Object.fromEntries(Array.from({ length: 20 }, (_, at) => [String(at), at])),
    ],
  });
});

const ints = compileAvro('{"type": "array", "items": "int"}');

test('an array of Avro may come in blocks that say how long they are', () => {
  // Two blocks: −2 items in 2 bytes, 1 item; the end.
  expect(ints(Uint8Array.of(0x03, 0x04, 0x02, 0x04, 0x02, 0x06, 0x00))).toEqual([1, 2, 3]);
});

test.each([
  [
    'an Avro array of two billion items',
    () => ints(Buffer.from('feffffff0f02', 'hex')),
    'announces',
  ],
  [
    'an Avro array of nothings',
    () => compileAvro('{"type": "array", "items": "null"}')(Buffer.from('feffffff0f', 'hex')),
    'announces',
  ],
  ['Avro that ends early', () => ints(Uint8Array.of(0x04, 0x02)), 'early|announces'],
  ['Avro with something after it', () => ints(Uint8Array.of(0x00, 0x00)), '1 bytes too many'],
  [
    'a text of negative length',
    () => compileAvro('"string"')(Uint8Array.of(0x01)),
    '-1 bytes long',
  ],
  ['a branch of no union', () => compileAvro('["null"]')(Uint8Array.of(0x02)), 'the branch 1'],
  ['an endless number', () => compileAvro('"long"')(Buffer.alloc(11, 0x80)), 'ten bytes'],
  ['Avro text that is not UTF-8', () => compileAvro('"string"')(Uint8Array.of(2, 0xff)), 'UTF-8'],
  [
    'a MessagePack array of four billion',
    () => decode('msgpack', Buffer.from('ddffffffff', 'hex')),
    'announces',
  ],
  [
    'a MessagePack map of four billion',
    () => decode('msgpack', Buffer.from('dfffffffff', 'hex')),
    'announces',
  ],
  [
    'MessagePack text that is not UTF-8',
    () => decode('msgpack', Uint8Array.of(0xa1, 0xff)),
    'UTF-8',
  ],
  [
    'MessagePack with a key that is a number',
    () => decode('msgpack', Uint8Array.of(0x81, 1, 1)),
    'no text',
  ],
  ['MessagePack with an extension', () => decode('msgpack', Uint8Array.of(0xd4, 1, 1)), '0xd4'],
  [
    'MessagePack with something after it',
    () => decode('msgpack', Uint8Array.of(0xc0, 0xc0)),
    '1 bytes too',
  ],
  ['MessagePack that ends early', () => decode('msgpack', Uint8Array.of(0xcb, 1)), '7 bytes early'],
  [
    'MessagePack of great depth',
    () => decode('msgpack', Buffer.alloc(100_000, 0x91)),
    'deeper than 512',
  ],
  [
    'plain JSON where a schema is named',
    () => decode('json_schema', Buffer.from('{}')),
    'no header',
  ],
  ['an Avro header alone', () => decode('avro', Uint8Array.of(0, 0, 0)), 'no header'],
])('%s is a bad record', (_name, read, why) => {
  expect(read).toThrow(expect.objectContaining({ code: 'BAD_RECORD' }));
  expect(read).toThrow(new RegExp(why));
});

/** An Avro long: zigzag, seven bits a byte. */
function written(value: bigint): Uint8Array {
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  const bytes: number[] = [];
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Uint8Array.of(...bytes, Number(rest));
}

test('every whole number is read back from an Avro long', () => {
  const long = compileAvro('"long"');
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
      const read = long(written(value));
      expect(BigInt(read as number)).toBe(value);
      expect(typeof read).toBe(Number.isSafeInteger(Number(value)) ? 'number' : 'bigint');
    }),
  );
});

test('whatever the bytes are, an encoding reads them or says that the record is bad', () => {
  const { anything, mutated } = hostileBytes();
  fc.assert(
    fc.property(fc.oneof(anything, mutated), (bytes) => {
      for (const encoding of ENCODING_NAMES) {
        try {
          decode(encoding, bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: 'BAD_RECORD' });
        }
      }
    }),
    { numRuns: 2_000 },
  );
});

/** Random bytes, and recorded ones with some of them changed, cut off or doubled. */
function hostileBytes() {
  const anything = fc.uint8Array({ maxLength: 64 });
  const valid = fc.constantFrom(...RECORDED_NAMES.filter((name) => name !== 'msgpack'));
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 });
  const mutated = fc.tuple(valid, changes, fc.nat(200)).map(([name, edits, length]) => {
    const bytes = Uint8Array.from(recordedBytes(name));
    // The number of the schema stays, so that the rest is read by it.
    for (const [at, byte] of edits) bytes[5 + (at % (bytes.length - 5))] = byte;
    return length < bytes.length && length > 5 ? bytes.subarray(0, length) : bytes;
  });
  return { anything: anything.filter((bytes) => bytes[0] !== 0), mutated };
}
