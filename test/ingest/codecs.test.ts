import { gzipSync, zstdCompressSync } from 'node:zlib';

import kafkajs from 'kafkajs';
import { expect, test } from 'vitest';

import { registerCodecs } from '../../src/ingest/kafka/codecs.ts';
import { endOf } from '../../src/ingest/kafka/session-end.ts';

const { CompressionCodecs, CompressionTypes } = kafkajs;
const { GZIP, Snappy, LZ4, ZSTD } = CompressionTypes;

interface Codec {
  compress: (encoder: { buffer: Buffer }) => Promise<Buffer>;
  decompress: (buffer: Buffer) => Promise<Buffer>;
}

function codec(type: number): Codec {
  registerCodecs();
  return (CompressionCodecs as Record<number, () => Codec>)[type]!();
}

const NAMES = [
  ['gzip', GZIP],
  ['snappy', Snappy],
  ['lz4', LZ4],
  ['zstd', ZSTD],
] as const;

test.each(NAMES)('%s gives back what it was given', async (_name, type) => {
  const { compress, decompress } = codec(type);
  for (const bytes of [Buffer.alloc(0), Buffer.from('a'), Buffer.alloc(300_000, 'tide')]) {
    expect(await decompress(await compress({ buffer: bytes }))).toEqual(bytes);
  }
});

test.each(NAMES)('a batch that %s cannot read halts the source', async (name, type) => {
  const damage = Buffer.from('no compressor wrote this');
  const why = await codec(type)
    .decompress(damage)
    .catch((error: unknown) => error);
  // As kafkajs hands it on.
  expect(endOf(new Error('tried often', { cause: why }))).toEqual({
    kind: 'halted',
    message: expect.stringContaining(`a batch of 24 bytes cannot be decompressed with ${name} (`),
  });
});

test.each([
  ['gzip', GZIP, gzipSync],
  ['zstd', ZSTD, zstdCompressSync],
] as const)('a batch of %s beyond all measure is not unpacked', async (_name, type, pack) => {
  const bomb = pack(Buffer.alloc(256 * 1_048_576 + 1));
  await expect(codec(type).decompress(bomb)).rejects.toThrow('larger than 268435456 bytes');
});
