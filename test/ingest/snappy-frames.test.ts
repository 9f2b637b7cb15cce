import { compressSync, uncompressSync } from 'snappy';
import { expect, test } from 'vitest';

import { unframeSnappy } from '../../src/ingest/kafka/snappy-frames.ts';

const HEADER = Buffer.from('82534e41505059000000000100000001', 'hex');

function block(text: string): Buffer {
  const bytes = compressSync(text);
  const length = Buffer.alloc(4);
  length.writeInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function stream(text: string): Buffer {
  return Buffer.concat([HEADER, block(text)]);
}

function read(bytes: Buffer): string[] {
  return unframeSnappy(bytes).map((part) => String(uncompressSync(part)));
}

test('Java’s frames hold blocks, and a bare block is one', () => {
  expect(read(Buffer.concat([HEADER, block('a'), block('bc')]))).toEqual(['a', 'bc']);
  expect(read(compressSync('a'))).toEqual(['a']);
  expect(read(HEADER)).toEqual([]);
});

test('two streams of frames may stand one after the other', () => {
  expect(read(Buffer.concat([stream('a'), stream('b')]))).toEqual(['a', 'b']);
});

test.each([
  ['ends inside a block', block('abc').subarray(0, 5), 'a snappy block of 5 bytes at 16'],
  ['ends inside a length', block('abc').subarray(0, 2), 'outside buffer bounds|out of range'],
  ['has a block of negative length', Buffer.from('ffffffff', 'hex'), 'a snappy block of -1'],
])('a stream of frames that %s is refused', (_name, rest, why) => {
  expect(() => unframeSnappy(Buffer.concat([HEADER, rest]))).toThrow(new RegExp(why));
});
