import { zstdDecompressSync } from 'node:zlib';

import { decompressFrameSync } from 'lz4-napi';

/*
 * A compressed buffer of Arrow is its length before it was compressed (i64) and then one frame. Few
 * bytes may become any number, so a frame is held to the length in front of it.
 *
 * LZ4 frame  u32 magic │ u8 flags │ u8 size of its blocks │ u64 content size, where flagged │
 *            u32 dictionary, where flagged │ u8 checksum │ blocks
 * block      u32 length, 0 behind the last; its highest bit: not compressed │ bytes │
 *            u32 checksum, where flagged
 */
export const LENGTH_BYTES = 8;
const LZ4_MAGIC = 0x18_4d_22_04;
const HAS_DICTIONARY = 1;
const HAS_CONTENT_SIZE = 1 << 3;
const HAS_BLOCK_CHECKSUMS = 1 << 4;
const BLOCK_LENGTH = 0x7f_ff_ff_ff;

/** Decompresses what a buffer has behind its length. Throws for another length. */
export function unpackLz4(bytes: Uint8Array): Uint8Array {
  const told = toldLength(bytes);
  refuseLongFrame(bytes, told);
  return required(decompressFrameSync(Buffer.from(bytes)), told);
}

export function unpackZstd(bytes: Uint8Array): Uint8Array {
  const told = toldLength(bytes);
  return required(zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, told) }), told);
}

/** apache-arrow hands over what stands behind the length, in the memory that has it. */
function toldLength({ buffer, byteOffset }: Uint8Array): number {
  const view = new DataView(buffer, byteOffset - LENGTH_BYTES, LENGTH_BYTES);
  return Number(view.getBigInt64(0, true));
}

/** Throws for a frame with more blocks than its length can fill. */
function refuseLongFrame(bytes: Uint8Array, told: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== LZ4_MAGIC) throw new Error('a buffer is no LZ4 frame');
  const flags = view.getUint8(4);
  const blockBytes = 2 ** (8 + 2 * ((view.getUint8(5) >> 4) & 7));
  let at = 7;
  if ((flags & HAS_CONTENT_SIZE) !== 0) at += 8;
  if ((flags & HAS_DICTIONARY) !== 0) at += 4;
  const checksumBytes = (flags & HAS_BLOCK_CHECKSUMS) === 0 ? 0 : 4;
  for (let room = 0; ; room += blockBytes) {
    const length = view.getUint32(at, true) & BLOCK_LENGTH;
    if (length === 0) return;
    // Writers fill all blocks but the last.
    if (room >= told) throw new Error(`a buffer has more than the ${told} bytes that it says`);
    at += 4 + length + checksumBytes;
  }
}

function required(unpacked: Uint8Array, told: number): Uint8Array {
  if (unpacked.length === told) return unpacked;
  throw new Error(`a buffer has ${unpacked.length} bytes, and says that it has ${told}`);
}
