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
export function* partsOf(letter: DeadLetter, lengths: Iterable<number>): Iterable<string> {
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

/** A string of JSON, whole; or what stands between blanks and punctuation. */
const WORD = /"((?:[^"\\]|\\.)*)"|[^\s"',;|{}[\]]+/g;
/** Numbers of vectors, which a letter may have hundreds of. */
const FRACTION = /^[-+]?\d*\.\d+(?:[eE][-+]?\d+)?$/;

/**
 * What a record that is about an entity would have its id as: the whole key or header, or a whole
 * string or number in the value. Far fewer than `partsOf`.
 */
function* wordsOf(letter: DeadLetter): Iterable<string> {
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
  for (const word of wordsOf(letter)) if (erasures.has(word)) return true;
  return false;
}

/** What can be read of the letter: as it stands and, where that makes a difference, without escapes. */
function* textsOf({ key, value, headers, message }: DeadLetter): Iterable<string> {
  for (const bytes of [key, value, ...Object.values(headers)]) {
    if (bytes === null) continue;
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
    yield text;
    if (text.includes('\\')) yield unescaped(text);
  }
  yield message;
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
