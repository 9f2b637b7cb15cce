import { crc32 } from 'node:zlib';

const CHECKSUM_BYTES = 4;

/** Where the vector ids of a shard stand: beside it. */
export function idsPathOf(shard: string): string {
  return `${shard}.ids`;
}

/**
 * The vector ids of a shard (f64) and a CRC-32 (u32), little-endian. It is not flushed, and wrong ids
 * would give rows the vectors of others.
 */
export function encodeIds(ids: Float64Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(ids.byteLength + CHECKSUM_BYTES);
  bytes.set(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength));
  new DataView(bytes.buffer).setUint32(
    ids.byteLength,
    crc32(bytes.subarray(0, ids.byteLength)),
    true,
  );
  return bytes;
}

/** Undefined where they are not as they were written. */
export function decodeIds(bytes: Uint8Array, rows: number): Float64Array | undefined {
  const length = rows * Float64Array.BYTES_PER_ELEMENT;
  if (bytes.byteLength !== length + CHECKSUM_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const ids = new Uint8Array(bytes.subarray(0, length));
  return crc32(ids) === view.getUint32(length, true) ? new Float64Array(ids.buffer) : undefined;
}
