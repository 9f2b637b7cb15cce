import { isAscii, isUtf8 } from 'node:buffer';

import { type Data, DataType } from 'apache-arrow';

import { isEntityId } from '../../store/entity-id.ts';
import { damaged, isValid, mustGetColumn, type Texts, textsOf, wrongType } from './column.ts';
import type { IdColumn, SpineWindow } from './window.ts';

const NONE = -1;
const TWO_32 = 2 ** 32;
/** What a table of texts begins with, a power of two. */
const SLOTS_FIRST = 1_024;
/** A text that the table did not have: no ordinal. */
const FRESH = -2;

/**
 * The entity ids of a window: texts, or whole numbers of any width, which equal their decimal text.
 * A row whose value can be no id has the ordinal −1. Throws BAD_REQUEST for a column that is not
 * there, or whose type no id can have.
 */
export function idsOf(window: SpineWindow, column: string): IdColumn {
  const data = mustGetColumn(window, column);
  const { type } = data;
  if (DataType.isUtf8(type) || DataType.isLargeUtf8(type)) return textIds(data, column);
  if (DataType.isInt(type)) return numberIds(data, column);
  if (DataType.isDictionary(type)) {
    const { dictionary } = type;
    if (DataType.isUtf8(dictionary) || DataType.isLargeUtf8(dictionary)) {
      return dictionaryIds(data, column);
    }
  }
  if (DataType.isNull(type)) return { ids: [], ordinals: new Int32Array(data.length).fill(NONE) };
  throw wrongType(column, type, 'entity ids as texts or whole numbers');
}

/**
 * Equal texts are found by their bytes, so that there is a string for each distinct id and not for
 * each row. Hashes come first: a loop that does nothing but look up waits for memory less.
 */
function textIds(data: Data, column: string): IdColumn {
  const texts = textsOf(data, column);
  const { offsets } = texts;
  const rows = data.length;
  const hashes = hashesOf(texts, rows);
  const read = reader(texts);
  const table = new TextTable(texts.bytes);
  const ids: string[] = [];
  const ordinals = new Int32Array(rows);
  const hasNulls = data.nullCount > 0;
  for (let row = 0; row < rows; row++) {
    if (hasNulls && !isValid(data, row)) {
      ordinals[row] = NONE;
      continue;
    }
    const start = offsets[row]!;
    const length = offsets[row + 1]! - start;
    const known = table.find(hashes[row]!, start, length);
    if (known !== FRESH) {
      ordinals[row] = known;
      continue;
    }
    const id = read(row);
    ordinals[row] = id === undefined ? NONE : ids.push(id) - 1;
    table.add(ordinals[row]!);
  }
  return { ids, ordinals };
}

/**
 * Texts and their ordinals, with open addressing, at most half full. A slot is four numbers beside
 * each other: hash, where in the bytes the text begins, its length (−1: free), ordinal.
 */
class TextTable {
  private bytes: DataView;
  private slots = new Int32Array(4 * SLOTS_FIRST).fill(NONE);
  private mask = SLOTS_FIRST - 1;
  private count = 0;
  /** Where `find` has put the text that was not there. */
  private last = 0;

  constructor({ buffer, byteOffset, byteLength }: Uint8Array) {
    this.bytes = new DataView(buffer, byteOffset, byteLength);
  }

  /** The ordinal of the text; FRESH where it was not there, and now is: `add` gives its ordinal. */
  find(hash: number, start: number, length: number): number {
    const { slots, mask } = this;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const at = slot * 4;
      if (slots[at] === hash && slots[at + 2] === length) {
        if (this.isEqual(slots[at + 1]!, start, length)) return slots[at + 3]!;
      } else if (slots[at + 2] === NONE) {
        slots[at] = hash;
        slots[at + 1] = start;
        slots[at + 2] = length;
        this.last = at;
        return FRESH;
      }
    }
  }

  add(ordinal: number): void {
    this.slots[this.last + 3] = ordinal;
    if (++this.count * 2 > this.mask) this.grow();
  }

  private grow(): void {
    const { slots } = this;
    this.mask = this.mask * 2 + 1;
    this.slots = new Int32Array(slots.length * 2).fill(NONE);
    for (let from = 0; from < slots.length; from += 4) {
      if (slots[from + 2] === NONE) continue;
      let slot = slots[from]! & this.mask;
      while (this.slots[slot * 4 + 2] !== NONE) slot = (slot + 1) & this.mask;
      for (let cell = 0; cell < 4; cell++) this.slots[slot * 4 + cell] = slots[from + cell]!;
    }
  }

  private isEqual(a: number, b: number, length: number): boolean {
    const { bytes } = this;
    let at = 0;
    for (; at + 4 <= length; at += 4) {
      if (bytes.getInt32(a + at) !== bytes.getInt32(b + at)) return false;
    }
    for (; at < length; at++) if (bytes.getInt8(a + at) !== bytes.getInt8(b + at)) return false;
    return true;
  }
}

/** Reads the id in a row; undefined where it is none. */
function reader({ bytes, offsets }: Texts): (row: number) => string | undefined {
  const isPlain = isAscii(bytes);
  return (row) => {
    const [start, end] = [offsets[row]!, offsets[row + 1]!];
    const id = bytes.toString(isPlain ? 'latin1' : 'utf8', start, end);
    // Decoding puts U+FFFD for what is not UTF-8: another text, and perhaps another entity's id.
    if (!isPlain && id.includes('\uFFFD') && !isUtf8(bytes.subarray(start, end))) return undefined;
    return isEntityId(id) ? id : undefined;
  };
}

function hashesOf({ bytes, offsets }: Texts, rows: number): Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const hashes = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    const end = offsets[row + 1]!;
    let at = offsets[row]!;
    let hash = end - at;
    for (; at + 4 <= end; at += 4) {
      hash = Math.imul(hash ^ view.getInt32(at, true), 0x5bd1e995);
      hash ^= hash >>> 15;
    }
    for (; at < end; at++) hash = Math.imul(hash ^ view.getUint8(at), 0x01000193);
    hashes[row] = hash ^ (hash >>> 13);
  }
  return hashes;
}

function numberIds(data: Data, column: string): IdColumn {
  const numbers = integersOf(data, column);
  const rows = data.length;
  const slots = new Int32Array(slotsFor(rows)).fill(NONE);
  const mask = slots.length - 1;
  const distinct = new Float64Array(rows);
  const ids: string[] = [];
  const ordinals = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    const value = numbers[row]!;
    if (!Number.isSafeInteger(value)) {
      ordinals[row] = NONE;
      continue;
    }
    const hash = Math.imul(value ^ Math.floor(value / TWO_32), 0x5bd1e995);
    let slot = (hash ^ (hash >>> 15)) & mask;
    while (slots[slot] !== NONE && distinct[slots[slot]!] !== value) slot = (slot + 1) & mask;
    if (slots[slot] === NONE) {
      distinct[ids.length] = value;
      slots[slot] = ids.push(String(value)) - 1;
    }
    ordinals[row] = slots[slot]!;
  }
  return { ids, ordinals };
}

/** The whole numbers of a column; NaN where there is none. Beyond ±2⁵³ they are not exact. */
export function integersOf(data: Data, column: string): Float64Array {
  const values = data.values as Int32Array | BigInt64Array | BigUint64Array;
  const numbers = new Float64Array(data.length);
  if (values.length < data.length) throw damaged(column);
  if (values instanceof BigInt64Array || values instanceof BigUint64Array) {
    const halves = new Uint32Array(values.buffer, values.byteOffset, data.length * 2);
    const isSigned = values instanceof BigInt64Array;
    for (let row = 0; row < data.length; row++) {
      const high = halves[2 * row + 1]!;
      numbers[row] = (isSigned ? high | 0 : high) * TWO_32 + halves[2 * row]!;
    }
  } else {
    numbers.set(values.subarray(0, data.length));
  }
  if (data.nullCount > 0) {
    for (let row = 0; row < data.length; row++) if (!isValid(data, row)) numbers[row] = Number.NaN;
  }
  return numbers;
}

/** Each entry of the dictionary is read once, the rows by their indices. */
function dictionaryIds(data: Data, column: string): IdColumn {
  // Entries may be equal to one another: only as ids are they distinct.
  const known = new Map<string, number>();
  const entries = data.dictionary!.data.flatMap((chunk) => {
    const { ids, ordinals } = textIds(chunk, column);
    return Array.from(ordinals, (ordinal) => {
      if (ordinal === NONE) return NONE;
      const id = ids[ordinal]!;
      const at = known.get(id) ?? known.size;
      known.set(id, at);
      return at;
    });
  });
  const ordinals = Int32Array.from(integersOf(data, column), (index) => entries[index] ?? NONE);
  return { ids: [...known.keys()], ordinals };
}

/** A power of two, at most half full. */
function slotsFor(rows: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, rows) * 2));
}
