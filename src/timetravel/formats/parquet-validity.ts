import type { Data } from 'apache-arrow';

/**
 * The levels of a page of a column that may be null and lies in no list: 1 where the row is there.
 *
 * bytes   field
 * 4       length of what follows
 * n       varint: where all rows are there, their number, shifted by one;
 *         else how many bytes of eight rows follow, shifted by one, and 1
 * n       the level of all rows in a byte; or Arrow's bitmap from the first row on
 */
export function encodeValidity(
  { nullBitmap, offset }: Data,
  from: number,
  to: number,
  nulls: number,
): Buffer {
  const rows = to - from;
  const run =
    nulls === 0
      ? [varint(rows * 2), Buffer.of(1)]
      : [varint(Math.ceil(rows / 8) * 2 + 1), bitsOf(nullBitmap, offset + from, rows)];
  const levels = Buffer.concat(run);
  return Buffer.concat([u32(levels.byteLength), levels]);
}

/** So many bits from a bit on, the first in the lowest of a byte. */
function bitsOf(bitmap: Uint8Array, from: number, count: number): Uint8Array {
  const bytes = Math.ceil(count / 8);
  const bits = bitmap.subarray(from >> 3);
  const shift = from & 7;
  if (shift === 0) return bits.subarray(0, bytes);
  const out = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at++) {
    out[at] = (bits[at]! >> shift) | ((bits[at + 1] ?? 0) << (8 - shift));
  }
  return out;
}

export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

export function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}
