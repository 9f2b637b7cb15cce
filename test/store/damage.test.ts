import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { Environment } from '../../src/store/environment.ts';
import { seeded } from '../model/random.ts';
import type { Flip } from './damage-child.ts';
import { damage, FILES, filled, wrongAnswers } from './damage.ts';

const FLIPS = Number(process.env['DAMAGE_FLIPS'] ?? 150);

test(`of ${FLIPS} bytes flipped anywhere none changes an answer that verify does not warn of`, async () => {
  const { directory, asked, answers } = await filled();
  const random = seeded(20_261_122);
  const sizes = FILES.map((file) => readFileSync(join(directory, file)).byteLength);
  const flips = Array.from({ length: FLIPS }, (_, at): Flip => {
    const which = at % FILES.length;
    return { file: FILES[which]!, at: [random(sizes[which]!)], bits: 1 + random(255) };
  });
  const found = await damage(directory, flips, asked);
  const silent: unknown[] = [];
  let count = 0;
  for (const one of found) {
    const isFound = (one.problems?.length ?? 0) > 0;
    if (isFound) count++;
    // Whatever the damage, verify lives to tell, and so does who asks where it had nothing to tell.
    expect(one.died, JSON.stringify(one.flip)).toBeUndefined();
    const wrong = wrongAnswers(one, answers);
    if (!isFound && wrong.length > 0) silent.push([one.flip, wrong.slice(0, 3)]);
  }
  expect(silent).toEqual([]);
  expect(count).toBeGreaterThan(FLIPS / 10);
}, 600_000);

/** Where in the file these bytes stand: everywhere, since an old page may hold them too. */
function placesOf(file: Buffer, bytes: Uint8Array): number[] {
  const places: number[] = [];
  for (let at = file.indexOf(bytes); at >= 0; at = file.indexOf(bytes, at + 1)) places.push(at);
  return places;
}

/** A key of a table as it stands in the file, and the value after it. */
function entriesOf(folder: string, table: string): { key: Buffer; value: Buffer }[] {
  const environment = new Environment(folder, 'read-only');
  onTestFinished(async () => environment.close());
  const entries = environment.table<Buffer>(table, RAW_KEYS).getRange({ start: undefined });
  return Array.from(entries, ({ key, value }) => ({ key, value: Buffer.from(value) }));
}

const RAW_KEYS = {
  writeKey: (key: Buffer, target: Buffer, start: number): number => start + key.copy(target, start),
  readKey: (source: Uint8Array, start: number, end: number): Buffer =>
    Buffer.from(Uint8Array.from(source.subarray(start, end))),
};

const HEAD = 0xff;

/** By table: which of its entries are damaged, and at which bytes of the value, or of the key before. */
const TARGETS: [string, string, (key: Buffer) => boolean, number[]][] = [
  ['job', 'vector', (key) => key[7] === 5, [0, 13, 31, 32, 35, -1]],
  ['job', 'timeline', (key) => key.at(-1) === HEAD, [0, 4, 8, 16, 24, 32, 40, 200, 900, 1_600, -3]],
  ['job', 'timeline', (key) => key.at(-1) !== HEAD, [0, 4, 8, 16, 24, 33, 500, 2_000, -2, -30]],
  ['member', 'log', () => true, [0, 8, 16, 24, 32, 40, 44, 45, 46, 50, 60, -1]],
  ['member', 'input', () => true, [0, 6, 8, 11, -1, -16]],
  ['member', 'offset', () => true, [0, 7, 8, -9]],
  ['member', 'dead_letter', () => true, [0, 20, -1]],
  ['member', 'meta', () => true, [0, 9, -1]],
  ['', 'view', () => true, [0, 40, -1]],
  ['', 'meta', () => true, [0, -1]],
  ['', 'event', () => true, [0, 30, -1]],
  ['', 'erasure', () => true, [5]],
  ['', 'generation', () => true, [2, -1]],
];

test('a flipped byte of any value or key is found by verify, whatever it is', async () => {
  const { directory, asked } = await filled();
  const flips: Flip[] = [];
  const names: string[] = [];
  for (const [view, table, isMeant, offsets] of TARGETS) {
    const file = view === '' ? FILES[0]! : `views/${view}/v1/g1/data.mdb`;
    const bytes = readFileSync(join(directory, file));
    const entries = entriesOf(join(directory, dirname(file)), table).filter(({ key }) =>
      isMeant(key),
    );
    expect(entries, table).not.toEqual([]);
    const { key, value } = entries[Math.floor(entries.length / 2)]!;
    // A value stands just after its key, or in pages of its own.
    const together = placesOf(bytes, Buffer.concat([key, value]));
    const isTogether = together.length > 0;
    const keys = (isTogether ? together : placesOf(bytes, key)).map((at) => at + key.byteLength);
    const values = isTogether ? keys : placesOf(bytes, value);
    expect([keys, values], `${table}, in ${file}`).not.toContainEqual([]);
    for (const offset of offsets) {
      flips.push({ file, at: (offset < 0 ? keys : values).map((at) => at + offset), bits: 4 });
      names.push(`${table} ${offset}`);
    }
  }
  const found = await damage(directory, flips, asked);
  const missed = found.flatMap(({ problems, died }, at) =>
    problems === undefined || problems.length === 0 ? [`${names[at]} ${died}`] : [],
  );
  expect(missed).toEqual([]);
}, 300_000);

test('a flipped byte of the pages that a file begins with changes no answer unfound', async () => {
  const { directory, asked, answers } = await filled();
  const fields = [
    0, 8, 18, 24, 28, 40, 48, 52, 54, 56, 64, 72, 80, 88, 100, 102, 104, 112, 128, 136, 144, 152,
  ];
  const flips = FILES.flatMap((file) =>
    [0, 2_048, 4_096].flatMap((page) =>
      fields.map((field): Flip => ({ file, at: [page + field], bits: 3 })),
    ),
  );
  const found = await damage(directory, flips, asked);
  const silent = found.flatMap((one) => {
    const isKnown = (one.problems?.length ?? 0) > 0 || one.refused?.startsWith('STORE_CORRUPT');
    const isWrong = one.died !== undefined || wrongAnswers(one, answers).length > 0;
    return isWrong && !isKnown ? [JSON.stringify([one.flip, one.died])] : [];
  });
  expect(silent).toEqual([]);
}, 300_000);
