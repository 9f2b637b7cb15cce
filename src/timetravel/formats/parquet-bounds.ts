import type { Data } from 'apache-arrow';

import { isValid, type Texts } from '../spine/column.ts';
import type { Bounds } from './parquet-pages.ts';

/** Longer texts are told from their beginning: bounds are in the footer, which every reader reads whole. */
const TEXT_BYTES_MAX = 64;
const LETTER_MAX = 0x10ffff;
/** No letters are between these. */
const SURROGATE_FIRST = 0xd800;
const SURROGATE_END = 0xe000;

/** Values of four or eight bytes. */
export type FixedValues = Int32Array | Uint32Array | Float32Array | Float64Array | LongValues;
type LongValues = BigInt64Array | BigUint64Array;

/** Two places of a column. */
interface Extremes {
  least: number;
  greatest: number;
}

/**
 * Between which values a column's rows lie, so that readers skip row groups in which nothing can be
 * what they look for. The two zeros are one, so a least zero is told as −0 and a greatest one as +0.
 *
 * Undefined where there are no values, or a NaN is among them: Parquet has it lie nowhere, and engines
 * that have it above all numbers would skip it.
 */
export function numberBounds(values: FixedValues): Bounds | undefined {
  const isLong = values instanceof BigInt64Array || values instanceof BigUint64Array;
  const places = isLong ? extremesOfLong(values) : extremesOf(values);
  if (!places) return undefined;
  const least = values.slice(places.least, places.least + 1);
  const greatest = values.slice(places.greatest, places.greatest + 1);
  // Whole numbers have but one zero, and are left as they are.
  if (least[0] === 0) least[0] = -0;
  if (greatest[0] === 0) greatest[0] = 0;
  return {
    least: new Uint8Array(least.buffer),
    greatest: new Uint8Array(greatest.buffer),
    isLeastExact: true,
    isGreatestExact: true,
  };
}

/** By their bytes, which is the order of their letters. Undefined where nothing can be said. */
export function textBounds(
  { bytes, offsets }: Texts,
  data: Data,
  from: number,
  to: number,
  nulls: number,
): Bounds | undefined {
  const rows = extremesOfTexts({ bytes, offsets }, data, from, to, nulls);
  if (!rows) return undefined;
  const least = bytes.subarray(offsets[rows.least], offsets[rows.least + 1]);
  const greatest = bytes.subarray(offsets[rows.greatest], offsets[rows.greatest + 1]);
  const above = greatest.length > TEXT_BYTES_MAX ? textAfter(headOf(greatest)) : greatest;
  if (!above) return undefined;
  return {
    least: Uint8Array.from(headOf(least)),
    greatest: Uint8Array.from(above),
    isLeastExact: least.length <= TEXT_BYTES_MAX,
    isGreatestExact: above === greatest,
  };
}

function extremesOf(values: Exclude<FixedValues, LongValues>): Extremes | undefined {
  let least = 0;
  let greatest = 0;
  for (let place = 0; place < values.length; place++) {
    const value = values[place]!;
    if (Number.isNaN(value)) return undefined;
    if (value < values[least]!) least = place;
    else if (value > values[greatest]!) greatest = place;
  }
  return values.length === 0 ? undefined : { least, greatest };
}

/** One function for both would have the engine ask of each value anew what it is. */
function extremesOfLong(values: LongValues): Extremes | undefined {
  let least = 0;
  let greatest = 0;
  for (let place = 1; place < values.length; place++) {
    if (values[place]! < values[least]!) least = place;
    else if (values[place]! > values[greatest]!) greatest = place;
  }
  return values.length === 0 ? undefined : { least, greatest };
}

function extremesOfTexts(
  { bytes, offsets }: Texts,
  data: Data,
  from: number,
  to: number,
  nulls: number,
): Extremes | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let least = -1;
  let greatest = -1;
  for (let row = from; row < to; row++) {
    if (nulls > 0 && !isValid(data, row)) continue;
    if (least < 0) least = greatest = row;
    else if (compareTexts(view, offsets, row, least) < 0) least = row;
    else if (compareTexts(view, offsets, row, greatest) > 0) greatest = row;
  }
  return least < 0 ? undefined : { least, greatest };
}

/** Here, not by the engine: most texts differ in their first bytes, before a call would be made. */
function compareTexts(bytes: DataView, offsets: Int32Array, one: number, other: number): number {
  let at = offsets[one]!;
  let beside = offsets[other]!;
  const end = offsets[one + 1]!;
  const besideEnd = offsets[other + 1]!;
  const shared = Math.min(end, at + besideEnd - beside);
  for (; at + 4 <= shared; at += 4, beside += 4) {
    const difference = bytes.getUint32(at) - bytes.getUint32(beside);
    if (difference !== 0) return difference;
  }
  for (; at < shared; at++, beside++) {
    const difference = bytes.getUint8(at) - bytes.getUint8(beside);
    if (difference !== 0) return difference;
  }
  return end - at - (besideEnd - beside);
}

/** Whole letters of a text's first bytes. */
function headOf(text: Buffer): Buffer {
  if (text.length <= TEXT_BYTES_MAX) return text;
  let end = TEXT_BYTES_MAX;
  while ((text[end]! & 0xc0) === 0x80) end--;
  return text.subarray(0, end);
}

/** A text after all that begin with this one: with a higher last letter. */
function textAfter(head: Buffer): Buffer | undefined {
  const letters = Array.from(head.toString());
  for (let last = letters.pop(); last !== undefined; last = letters.pop()) {
    const next = last.codePointAt(0)! + 1;
    if (next > LETTER_MAX) continue;
    const letter = next === SURROGATE_FIRST ? SURROGATE_END : next;
    return Buffer.from(letters.join('') + String.fromCodePoint(letter));
  }
  return undefined;
}
