import { isUtf8 } from 'node:buffer';

import type { DeadLetter } from './batch.ts';
import type { ErasedOfVersion } from './erasures.ts';

/*
 * Dead letters are records that nobody could read. Whom one is about shows in no other way than that
 * the entity's id stands in it.
 */

/**
 * Every part of the letter that could be an id of one of these lengths (UTF-16 units): it stands
 * there as a word of its own. 7 is neither in 17 nor in 0.7, and is in "job-7".
 */
export function* partsOf(letter: DeadLetter, lengths: ReadonlySet<number>): Iterable<string> {
  yield* measuredOf(letter, lengths);
  for (const text of textsOf(letter)) {
    for (const length of lengths) {
      for (let from = 0; from + length <= text.length; from++) {
        if (isEdge(text, from) && isEdge(text, from + length)) {
          yield text.slice(from, from + length);
        }
      }
    }
  }
}

/** A string of JSON, whole; or what stands between blanks, punctuation and what is no text. */
const WORD = /"((?:[^"\\]|\\.)*)"|[^\s\p{Cc}\ufffd"',;|{}[\]]+/gu;
/** Numbers of vectors, which a letter may have hundreds of. */
const FRACTION = /^[-+]?\d*\.\d+(?:[eE][-+]?\d+)?$/;

/**
 * What a record that is about an entity would have its id as: the whole key or header, or a whole
 * string or number in the value. Far fewer than `partsOf`.
 */
function* wordsOf(letter: DeadLetter, lengths: ReadonlySet<number>): Iterable<string> {
  yield* measuredOf(letter, lengths);
  for (const text of textsOf(letter)) {
    yield text;
    for (const [bare, quoted] of text.matchAll(WORD)) {
      if (quoted !== undefined) yield quoted;
      else if (!FRACTION.test(bare)) yield bare;
    }
  }
}

/** Whether a letter seems to be about an erased entity (A8). */
export function isAboutErased(letter: DeadLetter, erasures: ErasedOfVersion): boolean {
  if (erasures.none) return false;
  for (const word of wordsOf(letter, erasures.lengths())) if (erasures.has(word)) return true;
  return false;
}

/** What can be read of the letter: as it stands and, where that makes a difference, without escapes. */
function* textsOf(letter: DeadLetter): Iterable<string> {
  for (const bytes of bytesOf(letter)) {
    const text = bytes.toString();
    yield text;
    if (text.includes('\\')) yield unescaped(text);
  }
  yield letter.message;
}

function* bytesOf({ key, value, headers }: DeadLetter): Iterable<Buffer> {
  for (const bytes of [key, value, ...Object.values(headers).flat()]) {
    if (bytes !== null) yield Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}

/** UTF-8 has at most so many bytes for one UTF-16 unit. */
const UNIT_BYTES_MAX = 3;
/** Bytes of a letter's text that its message, JSON and the like do not have. */
const NO_TEXT = /[^\P{Cc}\t\n\r]/u;

/**
 * Every string of one of these lengths (UTF-16 units) with its length before it, as MessagePack and
 * Avro have strings: nothing else need part it there from what stands before and after.
 */
function* measuredOf(letter: DeadLetter, lengths: ReadonlySet<number>): Iterable<string> {
  const [least, most] = [Math.min(...lengths), UNIT_BYTES_MAX * Math.max(...lengths)];
  for (const bytes of bytesOf(letter)) {
    if (isUtf8(bytes) && !NO_TEXT.test(bytes.toString())) continue;
    const runs = textRuns(bytes);
    for (let from = 1; from + least <= bytes.length; from++) {
      if (runs[from]! < least) continue;
      for (const length of measuresBefore(bytes, from)) {
        if (length < least || length > most || length > runs[from]!) continue;
        const text = bytes.toString('utf8', from, from + length);
        if (lengths.has(text.length)) yield text;
      }
    }
  }
}

/** For each byte: how many from it on are UTF-8. Most of what is no text is sorted out by that. */
function textRuns(bytes: Buffer): Int32Array {
  const runs = new Int32Array(bytes.length + 1);
  for (let at = bytes.length - 1; at >= 0; at--) {
    const size = sequenceSize(bytes[at]!);
    let next = at + 1;
    while (next < at + size && (bytes[next]! & 0xc0) === 0x80) next++;
    runs[at] = size > 0 && next === at + size ? size + runs[next]! : 0;
  }
  return runs;
}

/** Bytes of the character that begins with this one; 0 where none does. */
function sequenceSize(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}

/** The lengths that the bytes before a string can stand for. */
function measuresBefore(bytes: Buffer, at: number): number[] {
  const [high, low] = [bytes[at - 2] ?? 0, bytes[at - 1]!];
  return [
    // MessagePack: three bits and the length, or the length in one byte or more, big-endian.
    low & 0x1f,
    low,
    (high << 8) | low,
    // Avro: twice the length, seven bits a byte, the lowest first, all bytes but the last marked.
    low >> 1,
    ((low << 7) | (high & 0x7f)) >> 1,
  ];
}

const ESCAPE = /\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])/g;

/** Also where the whole is no JSON. */
function unescaped(text: string): string {
  return text.replaceAll(ESCAPE, (escape) => JSON.parse(`"${escape}"`) as string);
}

/** Whether a word may begin or end there. */
function isEdge(text: string, at: number): boolean {
  const before = text.charCodeAt(at - 1);
  const after = text.charCodeAt(at);
  if (isWord(before) && isWord(after)) return false;
  // Between the halves of a number with a fraction there is none.
  if (after === POINT) return !(isDigit(before) && isDigit(text.charCodeAt(at + 1)));
  if (before === POINT) return !(isDigit(text.charCodeAt(at - 2)) && isDigit(after));
  return true;
}

const POINT = 0x2e;
const UNDERSCORE = 0x5f;

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** NaN, which is beyond the text's ends, is none. */
function isWord(code: number): boolean {
  const letter = code | 0x20;
  return isDigit(code) || (letter >= 0x61 && letter <= 0x7a) || code === UNDERSCORE;
}
