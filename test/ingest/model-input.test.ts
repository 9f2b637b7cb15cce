import { createHash } from 'node:crypto';

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { hashInput, normaliseText } from '../../src/ingest/model-input.ts';

const normalise = (text: string): string => normaliseText(text, 1_000);
const hash = (text: string): string => hashInput(normalise(text)).toString('hex');

test.each([
  ['plain text stays', 'Senior Engineer', 'Senior Engineer'],
  ['case is kept', 'iOS at SAP', 'iOS at SAP'],
  ['a letter and its accent become one', 'Cafe\u0301', 'Café'],
  ['compatibility forms are left to the model', 'ﬁle ①', 'ﬁle ①'],
  ['CRLF is LF', 'a\r\nb', 'a\nb'],
  ['runs of blanks are one space', ' a \t\u00a0\u3000 b ', 'a b'],
  ['a run that breaks a line is one LF', 'a \r\n\r\n \u2028 b', 'a\nb'],
  ['a single odd blank is a space', 'a\u00a0b\tc', 'a b c'],
  ['a form feed parts words', 'a\fb', 'a\nb'],
  ['controls go', 'a\u0000\u0007b\u007f', 'ab'],
  ['byte order marks and zero-width spaces go', '\ufeffa\u200bb\u2060c', 'abc'],
  ['joiners between Latin letters go', 'a\u200db\u200cc', 'abc'],
  ['joiners at the end of a word go', 'नमस्ते\u200d x', 'नमस्ते x'],
  ['joiners stay where they shape Persian', 'می\u200cخواهم', 'می\u200cخواهم'],
  ['joiners stay where they shape Devanagari', 'क्\u200dष', 'क्\u200dष'],
  ['joiners stay inside emoji', '👩\u200d💻 x', '👩\u200d💻 x'],
  ['an accent finds its letter once what parted them is gone', 'e\u200b\u0301', 'é'],
  ['half a surrogate pair is a replacement character', 'a\ud800b', 'a\ufffdb'],
])('%s', (_rule, text, expected) => {
  expect(normalise(text)).toBe(expected);
});

test.each(['', '  \r\n\t', '\ufeff\u200b\u0000', '\u200d'])(
  'a text of nothing to see is no input: %j',
  (text) => {
    expect(() => normalise(text)).toThrow(expect.objectContaining({ code: 'EMPTY_TEXT' }));
  },
);

test('a text longer than the limit is refused, not cut', () => {
  expect(normaliseText('  abcd  ', 4)).toBe('abcd');
  expect(() => normaliseText('abcde', 4)).toThrow('5 characters, expected at most 4');
});

test('a normal text is its own normal form', () => {
  const odd = fc.constantFrom(
    '\u200b',
    '\u200d',
    '\u0301',
    '\r',
    '\n',
    ' ',
    '\u0085',
    'a',
    'م',
    '👩',
  );
  const texts = fc.string({ unit: fc.oneof(odd, fc.string({ unit: 'binary', maxLength: 1 })) });
  fc.assert(
    fc.property(texts, (text) => {
      const once = normalise(`x${text}`);
      expect(normalise(once)).toBe(once);
      expect(once.isWellFormed()).toBe(true);
    }),
  );
});

test('the hash is the first half of the SHA-256 of what is embedded', () => {
  const full = createHash('sha256').update('Café', 'utf8').digest();
  expect(hashInput('Café')).toEqual(full.subarray(0, 16));
  expect(hashInput('Café')).toHaveLength(16);
});

test('texts that differ only in form have one hash, others do not', () => {
  expect(hash('Cafe\u0301 \r\n Rose')).toBe(hash('Café\nRose'));
  expect(hash('Café Rose')).not.toBe(hash('café Rose'));
});
