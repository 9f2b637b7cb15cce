import { stripVTControlCharacters } from 'node:util';

import { expect, test, vi } from 'vitest';

import { visible } from '../../src/cli/output.ts';
import { outputOf, Sink } from './run.ts';

const ESC = '\u001b';
const HEADS = ['ENTITY', 'COUNT', 'ABOUT'];
const ROWS = [
  ['a', 5, { text: 'late', style: 'yellow' as const }],
  ['longer', 1_234, 'x'],
];

test('a table has its columns under each other, numbers to the right, and no borders', () => {
  const out = new Sink();
  outputOf(out, new Sink()).printTable(HEADS, ROWS);
  expect(out.text).toBe(
    ['ENTITY  COUNT  ABOUT', 'a           5  late', 'longer   1234  x', ''].join('\n'),
  );
});

test('a terminal gets the same table in styles, unless NO_COLOR asks for none', () => {
  vi.stubEnv('NO_COLOR', undefined);
  const out = new Sink(true);
  outputOf(out, new Sink()).printTable(HEADS, ROWS);
  expect(out.text).toContain(`${ESC}[`);
  expect(stripVTControlCharacters(out.text)).toContain('a           5  late');
  vi.stubEnv('NO_COLOR', '1');
  const plain = new Sink(true);
  outputOf(plain, new Sink()).printTable(HEADS, ROWS);
  vi.unstubAllEnvs();
  expect(plain.text).not.toContain(ESC);
});

test('a stored id cannot command the terminal', () => {
  const out = new Sink(true);
  const err = new Sink(true);
  const output = outputOf(out, err);
  output.printTable(['ENTITY'], [[`${ESC}[2Jid\n`]]);
  output.say(`refused ${ESC}[2J`);
  expect(out.text).toContain('\\u001b[2Jid\\u000a');
  expect(err.text).toBe('refused \\u001b[2J\n');
  expect(visible('é 漢 🙂')).toBe('é 漢 🙂');
});

test('progress is shown on a terminal and nowhere else', () => {
  for (const isTTY of [false, true]) {
    const err = new Sink(isTTY);
    const progress = outputOf(new Sink(), err).startProgress('{records} records', 10, {
      records: 0,
    });
    progress.update(5, { records: 3 });
    progress.stop();
    expect(err.text.includes('3 records')).toBe(isTTY);
    expect(err.text === '').toBe(!isTTY);
  }
});

test('JSON is one document on one line', () => {
  const out = new Sink(true);
  outputOf(out, new Sink()).printJson({ a: [1, null], b: 'é' });
  expect(out.text).toBe('{"a":[1,null],"b":"é"}\n');
});
