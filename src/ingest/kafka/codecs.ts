import { promisify } from 'node:util';
import { gunzip, gzip as deflate, zstdCompress, zstdDecompress } from 'node:zlib';

import kafkajs from 'kafkajs';
import { compressFrame, decompressFrame } from 'lz4-napi';
import { compress as compressSnappy, uncompress as uncompressSnappy } from 'snappy';

import { SourceHalted } from './session-end.ts';
import { unframeSnappy } from './snappy-frames.ts';

interface Codec {
  compress: (encoder: { buffer: Buffer }) => Promise<Buffer>;
  decompress: (buffer: Buffer) => Promise<Buffer>;
}

/**
 * A batch is far smaller, and these two make gigabytes of one that a broker takes; the others can
 * make no more than 255 times its size.
 */
const LIMIT = { maxOutputLength: 256 * 1_048_576 };

const snappy: Codec = {
  compress: ({ buffer }) => compressSnappy(buffer),
  async decompress(buffer) {
    const blocks = await Promise.all(
      unframeSnappy(buffer).map(async (block) => (await uncompressSnappy(block)) as Buffer),
    );
    return blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks);
  },
};

const lz4: Codec = {
  compress: ({ buffer }) => compressFrame(buffer),
  decompress: (buffer) => decompressFrame(buffer),
};

const gzip: Codec = {
  compress: ({ buffer }) => promisify(deflate)(buffer),
  decompress: (buffer) => promisify(gunzip)(buffer, LIMIT),
};

const zstd: Codec = {
  compress: ({ buffer }) => promisify(zstdCompress)(buffer),
  decompress: (buffer) => promisify(zstdDecompress)(buffer, LIMIT),
};

/** Who cannot read a batch now cannot read it later, and nothing after it (A12). */
function halting(name: string, { compress, decompress }: Codec): Codec {
  return {
    compress,
    decompress: (buffer) =>
      decompress(buffer).catch((error: unknown) => {
        throw new SourceHalted(
          `a batch of ${buffer.length} bytes cannot be decompressed with ${name} (${String(error)})`,
        );
      }),
  };
}

/** Teaches kafkajs what producers compress with: it knows gzip alone, and without a limit. */
export function registerCodecs(): void {
  const { CompressionCodecs, CompressionTypes } = kafkajs;
  CompressionCodecs[CompressionTypes.GZIP] = () => halting('gzip', gzip);
  CompressionCodecs[CompressionTypes.Snappy] = () => halting('snappy', snappy);
  CompressionCodecs[CompressionTypes.LZ4] = () => halting('lz4', lz4);
  CompressionCodecs[CompressionTypes.ZSTD] = () => halting('zstd', zstd);
}
