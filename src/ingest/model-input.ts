import { hash } from 'node:crypto';

import { TidemarkError } from '../ground/errors.ts';
import { HASH_BYTES } from '../store/batch.ts';

// Nobody sees these, and two texts that differ only in them mean the same: C0 controls other than
// white space, DEL, zero-width space, word joiner, byte order mark.
// oxlint-disable-next-line no-control-regex -- they are what is meant
const INVISIBLE = /[\u0000-\u0008\u000e-\u001f\u007f\u200b\u2060\ufeff]+/g;

// The two joiners shape letters of these scripts and build emoji; anywhere else they are as idle as
// the above. Both neighbours must be such, so that what is stripped here never depends on whether
// an accent has met its letter yet.
const JOINING_SCRIPTS =
  'Arab Syrc Mong Deva Beng Guru Gujr Orya Taml Telu Knda Mlym Sinh Khmr Mymr Tibt'
    .split(' ')
    .map((script) => `\\p{Script_Extensions=${script}}`)
    .join('');
const JOINED = `[${JOINING_SCRIPTS}\\p{Extended_Pictographic}\\p{Emoji_Modifier}\\ufe0f]`;
const IDLE_JOINERS = new RegExp(
  `(?<!${JOINED})[\\u200c\\u200d]|[\\u200c\\u200d](?!${JOINED})`,
  'gu',
);

const LINE_BREAK = /[\n\v\f\r\u0085\u2028\u2029]/;
// White space that is not yet one space or one LF: most of a text's is, and is left alone.
const WHITE_SPACE = /[\s\u0085]{2,}|(?![ \n])[\s\u0085]/g;

/**
 * The one form of a text that is both hashed and embedded: well-formed, in NFC, without invisible
 * characters, and every run of white space one space, or one LF where the run breaks a line (so
 * CRLF is LF, and the line breaks that instruction prompts rely on survive). Case is kept: whether
 * it matters is the model's to say.
 *
 * `charsMax` bounds the result, in UTF-16 code units.
 * Throws EMPTY_TEXT when nothing is left, BAD_INPUT when too much: a text is never cut silently here.
 */
export function normaliseText(text: string, charsMax: number): string {
  const normal = text
    .toWellFormed()
    .replace(INVISIBLE, '')
    .replace(IDLE_JOINERS, '')
    // After the stripping, since a letter and its accent may have had something between them.
    .normalize('NFC')
    .replace(WHITE_SPACE, (run) => (LINE_BREAK.test(run) ? '\n' : ' '))
    .trim();
  if (normal === '') {
    throw new TidemarkError(
      'EMPTY_TEXT',
      'the text is empty once white space and invisible characters are gone, expected something to embed',
    );
  }
  if (normal.length > charsMax) {
    throw new TidemarkError(
      'BAD_INPUT',
      `the text has ${normal.length} characters, expected at most ${charsMax}`,
    );
  }
  return normal;
}

/** The first 16 bytes of the SHA-256 of the text's UTF-8. Hash exactly what is embedded. */
export function hashInput(text: string): Buffer {
  return hash('sha256', text, 'buffer').subarray(0, HASH_BYTES);
}
