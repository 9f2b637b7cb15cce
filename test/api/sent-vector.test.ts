import fc from 'fast-check';
import { expect, test } from 'vitest';

import { writeSentVector } from '../../src/api/sent-vector.ts';

const DIM = 3;
const VERSION = { dim: DIM, dtype: 'float32' } as const;
/** What stands where the vector goes: the bytes of a push before. */
const BEFORE = Buffer.from(Float32Array.of(1, 2, 3).buffer);
const TEXT = Buffer.from(Float32Array.of(0.5, -2, 1e9).buffer).toString('base64');

function written(text: string): Buffer {
  const out = Buffer.from(BEFORE);
  writeSentVector(text, VERSION, out);
  return out;
}

test.each([
  ['a letter of base64 for URLs', `-${TEXT.slice(1)}`],
  ['another one', `${TEXT.slice(0, -1)}_`],
  ['a line break', `${TEXT.slice(0, 8)}\n${TEXT.slice(9)}`],
  ['padding in the middle', `${TEXT.slice(0, 6)}==${TEXT.slice(8)}`],
  ['a letter whose low byte is one of base64', `\u0141${TEXT.slice(1)}`],
  ['no padding', `${TEXT}AAA`],
])('a vector in base64 with %s is refused as no base64', (_, text) => {
  expect(() => written(text)).toThrow('not base64');
});

test.each([
  ['none', '', 0],
  ['fewer', TEXT.slice(0, 8), 6],
  ['the bytes of a push before, cut', BEFORE.toString('base64').slice(0, 12), 9],
  ['more', `${TEXT}AAAA`, 15],
])('a vector in base64 of %s bytes is refused with their number', (_, text, bytes) => {
  expect(() => written(text)).toThrow(`got ${bytes} bytes, expected 12`);
});

test('bits of base64 that stand for no byte may be anything', () => {
  const bytes = Buffer.from([7, 0]);
  const out = new Uint8Array(2);
  for (const text of ['BwA=', 'BwB=']) {
    writeSentVector(text, { dim: 1, dtype: 'float16' }, out);
    expect(Buffer.from(out)).toEqual(bytes);
  }
});

test('a vector in base64 is stored bit by bit', () => {
  const float = fc.float({ noNaN: true, noDefaultInfinity: true });
  fc.assert(
    fc.property(fc.array(float, { minLength: DIM, maxLength: DIM }), (numbers) => {
      const bytes = Buffer.from(Float32Array.from(numbers).buffer);
      expect(written(bytes.toString('base64'))).toEqual(bytes);
    }),
  );
});
