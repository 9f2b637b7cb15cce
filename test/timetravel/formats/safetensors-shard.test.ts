import {
  Field,
  Float64,
  RecordBatch,
  Schema,
  Struct,
  Utf8,
  makeData,
  vectorFromArray,
} from 'apache-arrow';
import { describe, expect, it } from 'vitest';

import { DTYPES, numbersOf } from '../../../src/store/dtype.ts';
import { encodeShard } from '../../../src/timetravel/formats/safetensors-shard.ts';
import { parseSafetensors, TENSOR_DTYPES } from '../../../src/timetravel/formats/safetensors.ts';
import { isPresent, sampleAnswer, sampleNumbers, sampleRow, sampleTable } from './sample-answer.ts';

function parse(chunks: readonly Uint8Array[]): ReturnType<typeof parseSafetensors> {
  return parseSafetensors(Buffer.concat(chunks));
}

/** A tensor's bytes, on a boundary that any number may be read from. */
function bytesOf({ tensors }: ReturnType<typeof parse>, name: string): ArrayBufferLike {
  return tensors.get(name)!.bytes.slice().buffer;
}

function textsOf(shard: ReturnType<typeof parse>, name: string): (string | null)[] {
  const bytes = Buffer.from(bytesOf(shard, `${name}.bytes`));
  const offsets = Array.from(new BigInt64Array(bytesOf(shard, `${name}.offsets`)), Number);
  const valid = new Uint8Array(bytesOf(shard, `${name}.valid`));
  return Array.from(valid, (is, row) =>
    is === 1 ? bytes.subarray(offsets[row], offsets[row + 1]).toString() : null,
  );
}

describe('a shard of safetensors', () => {
  it.each(DTYPES)('has each column as tensors: %s', (dtype) => {
    const shard = parse(encodeShard(sampleAnswer(4, 30, { dim: 3, dtype }), { tidemark: '{}' }));
    const rows = Array.from({ length: 30 }, (_, row) => row + 4);
    const own = rows.map(sampleRow);
    expect(shard.tensors.get('job__vector')).toMatchObject({
      dtype: TENSOR_DTYPES[dtype],
      shape: [30, 3],
    });
    const numbers = numbersOf(new Uint8Array(bytesOf(shard, 'job__vector')), dtype);
    const none = Array<number>(3).fill(dtype === 'int8' ? 0 : Number.NaN);
    expect(Array.from(numbers)).toEqual(
      rows.flatMap((row) => (isPresent(row) ? sampleNumbers(row, 3, dtype) : none)),
    );
    expect(textsOf(shard, 'id')).toEqual(own.map(({ id }) => id));
    expect(textsOf(shard, 'country')).toEqual(own.map(({ country }) => country));
    expect(textsOf(shard, 'tags')).toEqual(
      own.map(({ tags }) => (tags === null ? null : JSON.stringify(tags))),
    );
    expect(textsOf(shard, 'job__reason')).toEqual(
      rows.map((row) => (isPresent(row) ? null : 'DELETED')),
    );
    const labels = new BigInt64Array(bytesOf(shard, 'label'));
    expect(Array.from(labels, Number)).toEqual(own.map(({ label }) => label));
    const weights = new Float64Array(bytesOf(shard, 'weight'));
    const weighed = new Uint8Array(bytesOf(shard, 'weight.valid'));
    expect(Array.from(weights, (weight, row) => (weighed[row] === 1 ? weight : null))).toEqual(
      own.map(({ weight }) => weight),
    );
    const kept = new Uint8Array(bytesOf(shard, 'kept'));
    expect(Array.from(kept)).toEqual(own.map(({ kept: is }) => (is === true ? 1 : 0)));
    expect(shard.tensors.get('kept')!.dtype).toBe('BOOL');
    const moments = new BigInt64Array(bytesOf(shard, 'moment'));
    expect(moments[1]).toBe(1_772_323_200_000_000n + 5n * 1_000_001n);
  });

  it('tells the columns and their types in its metadata', () => {
    const shard = parse(encodeShard(sampleAnswer(0, 2, { dim: 3, dtype: 'float16' }), { a: 'b' }));
    expect(shard.metadata['a']).toBe('b');
    expect(JSON.parse(shard.metadata['columns']!)).toEqual([
      { name: 'id', type: 'Utf8' },
      { name: 'label', type: 'Int64' },
      { name: 'weight', type: 'Float64' },
      { name: 'kept', type: 'Bool' },
      { name: 'country', type: 'Dictionary<Int32, Utf8>' },
      { name: 'tags', type: 'List<Utf8>' },
      { name: 'moment', type: 'Timestamp<MICROSECOND, UTC>' },
      { name: 'job__vector', type: 'FixedSizeList[3]<float16>' },
      { name: 'job__event_timestamp', type: 'Timestamp<MICROSECOND, UTC>' },
      { name: 'job__status', type: 'Dictionary<Int8, Utf8>' },
      { name: 'job__reason', type: 'Dictionary<Int8, Utf8>' },
    ]);
  });

  it('may be of vectors alone, or of no row', () => {
    const shard = parse(encodeShard(sampleTable(0, 2, 2, 'float32'), {}));
    expect([...shard.tensors.keys()]).toEqual(['vector']);
    const none = parse(encodeShard(sampleAnswer(0, 0, { dim: 2, dtype: 'float32' }), {}));
    expect(none.tensors.get('job__vector')).toMatchObject({ shape: [0, 2] });
    expect(none.tensors.get('id.offsets')).toMatchObject({ shape: [1] });
  });

  it('needs no second tensor for a column without nulls', () => {
    const shard = parse(encodeShard(twoColumns('a', 'b', false), {}));
    expect([...shard.tensors.keys()].toSorted()).toEqual(['a', 'b.bytes', 'b.offsets']);
  });

  it('refuses columns whose tensors would have one name', () => {
    expect(() => encodeShard(twoColumns('b.bytes', 'b', true), {})).toThrow(
      'two tensors of a safetensors file would be called b.bytes; rename a column of the spine',
    );
    expect(() => encodeShard(twoColumns('__metadata__', 'b', true), {})).toThrow('__metadata__');
  });
});

function twoColumns(
  number: string,
  text: string,
  nullable: boolean,
): Parameters<typeof encodeShard>[0] {
  const fields = [
    new Field(number, new Float64(), nullable),
    new Field(text, new Utf8(), nullable),
  ];
  const children = [
    vectorFromArray([1, 2], new Float64()).data[0]!,
    vectorFromArray(['x', 'y'], new Utf8()).data[0]!,
  ];
  const data = makeData({ type: new Struct(fields), length: 2, nullCount: 0, children });
  return {
    firstRow: 0,
    batch: new RecordBatch(new Schema(fields), data),
    vectors: [],
    spineColumns: 2,
  };
}
