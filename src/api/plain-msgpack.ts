import { TidemarkError } from '../ground/errors.ts';

/** Nested deeper than this is an attack on the stack and no request. */
const DEPTH_MAX = 512;

/** How many bytes of length, and then of content, follow a tag from 0xc0 on. */
const LENGTH_BYTES: Readonly<Record<number, number>> = {
  0xc4: 1,
  0xc5: 2,
  0xc6: 4,
  0xd9: 1,
  0xda: 2,
  0xdb: 4,
};
const FIXED_BYTES: Readonly<Record<number, number>> = {
  0xca: 4,
  0xcb: 8,
  0xcc: 1,
  0xcd: 2,
  0xce: 4,
  0xcf: 8,
  0xd0: 1,
  0xd1: 2,
  0xd2: 4,
  0xd3: 8,
};
const ARRAYS: Readonly<Record<number, number>> = { 0xdc: 2, 0xdd: 4 };
const MAPS: Readonly<Record<number, number>> = { 0xde: 2, 0xdf: 4 };

/**
 * Passes over MessagePack before it is unpacked. Throws BAD_REQUEST for extensions, with which a
 * sender builds objects that the standard does not know, and for what is nested too deep. Bytes that
 * break off are for the unpacker to say.
 */
export function requirePlain(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.byteLength;
  /** How many values are still to come, of each array and map that is open. */
  const left = new Float64Array(DEPTH_MAX + 1);
  let depth = 0;
  left[0] = 1;
  let at = 0;
  const lengthAt = (size: number): number => {
    if (at + size > end) return 0;
    const length =
      size === 1 ? view.getUint8(at) : size === 2 ? view.getUint16(at) : view.getUint32(at);
    at += size;
    return length;
  };
  while (at < end) {
    const tag = bytes[at++]!;
    left[depth]!--;
    let inside = -1;
    if (tag <= 0x7f || tag >= 0xe0) inside = -1;
    else if (tag <= 0x8f) inside = 2 * (tag & 0x0f);
    else if (tag <= 0x9f) inside = tag & 0x0f;
    else if (tag <= 0xbf) at += tag & 0x1f;
    else if (FIXED_BYTES[tag] !== undefined) at += FIXED_BYTES[tag];
    else if (LENGTH_BYTES[tag] !== undefined) {
      const length = lengthAt(LENGTH_BYTES[tag]);
      at += length;
    } else if (ARRAYS[tag] !== undefined) inside = lengthAt(ARRAYS[tag]);
    else if (MAPS[tag] !== undefined) inside = 2 * lengthAt(MAPS[tag]);
    else if (tag !== 0xc0 && tag !== 0xc2 && tag !== 0xc3) throw notPlain(tag);
    if (inside > 0) {
      if (depth === DEPTH_MAX) throw tooDeep();
      left[++depth] = inside;
    }
    while (depth > 0 && left[depth] === 0) depth--;
  }
}

function notPlain(tag: number): TidemarkError {
  return new TidemarkError(
    'BAD_REQUEST',
    `the body has the byte 0x${tag.toString(16)} where a value begins, expected MessagePack without extensions`,
  );
}

function tooDeep(): TidemarkError {
  return new TidemarkError(
    'BAD_REQUEST',
    `the body is nested deeper than ${DEPTH_MAX}, expected a request`,
  );
}
