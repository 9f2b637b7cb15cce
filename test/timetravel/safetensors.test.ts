import fc from 'fast-check';
import { expect, test } from 'vitest';

import {
  allocateSafetensors,
  parseSafetensors,
  planSafetensors,
  type TensorSpec,
} from '../../src/timetravel/formats/safetensors.ts';

/** A file of these tensors, each filled with its bytes. */
function fileOf(
  tensors: readonly (TensorSpec & { bytes: Uint8Array })[],
  metadata: Record<string, string> = {},
): Buffer {
  const plan = planSafetensors(tensors, metadata);
  const file = allocateSafetensors(plan);
  tensors.forEach(({ bytes }, at) => file.set(bytes, plan.starts[at]));
  return file;
}

const header = (text: string) => {
  const padded = text.padEnd(Math.ceil(text.length / 8) * 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, Buffer.from(padded)]);
};

test('a file is its header’s length, the header padded to eight bytes, and the tensors', () => {
  const file = fileOf(
    [
      { name: 'a.status', dtype: 'U8', shape: [3], bytes: Uint8Array.of(0, 1, 3) },
      {
        name: 'a.vector',
        dtype: 'F32',
        shape: [1, 2],
        bytes: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
      },
    ],
    { snapshot: '7' },
  );
  const text =
    '{"__metadata__":{"snapshot":"7"},' +
    '"a.vector":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},' +
    '"a.status":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}';
  const data = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 3]);
  expect(file.equals(Buffer.concat([header(text), data]))).toBe(true);
});

const tensor = fc
  .record({
    dtype: fc.constantFrom('I64', 'F32', 'F16', 'U8'),
    shape: fc.array(fc.nat(5), { minLength: 1, maxLength: 3 }),
    fill: fc.nat(255),
  })
  .map(({ dtype, shape, fill }) => {
    const size = { I64: 8, F32: 4, F16: 2, U8: 1 }[dtype];
    const count = shape.reduce((product, each) => product * each, 1);
    return { dtype, shape, size, bytes: new Uint8Array(count * size).fill(fill) };
  });

test('every tensor comes back with its bytes, and starts on a multiple of its number’s size', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(fc.string(), tensor), { selector: ([name]) => name, maxLength: 8 }),
      fc.dictionary(fc.string(), fc.string()),
      (named, metadata) => {
        fc.pre(named.every(([name]) => name !== '__metadata__' && name !== '__proto__'));
        const tensors = named.map(([name, rest]) => ({ name, ...rest }));
        const file = fileOf(tensors, metadata);
        const parsed = parseSafetensors(file);
        expect(parsed.metadata).toEqual({ ...metadata });
        expect(parsed.tensors.size).toBe(tensors.length);
        for (const { name, dtype, shape, size, bytes } of tensors) {
          const found = parsed.tensors.get(name)!;
          expect(found).toMatchObject({ dtype, shape });
          expect(Buffer.compare(found.bytes, bytes)).toBe(0);
          expect((found.bytes.byteOffset - file.byteOffset) % size).toBe(0);
        }
      },
    ),
  );
});

const good = fileOf([{ name: 'a', dtype: 'U8', shape: [4], bytes: Uint8Array.of(1, 2, 3, 4) }]);

test.each([
  ['nothing', Buffer.alloc(0), 'shorter'],
  ['a length alone', good.subarray(0, 8), 'within the header'],
  ['a tensor that is cut', good.subarray(0, good.byteLength - 1), 'not within it'],
  ['bytes after the last tensor', Buffer.concat([good, Buffer.of(0)]), 'follow'],
  ['a header that is no JSON', header('{nonsense'), 'not JSON'],
  [
    'a shape that its bytes do not have',
    Buffer.concat([
      header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}'),
      Buffer.alloc(4),
    ]),
    'shape',
  ],
])('%s is no safetensors file', (_what, bytes, why) => {
  expect(() => parseSafetensors(bytes)).toThrow(why);
});
