import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { micros } from '../../src/ground/time.ts';
import { openStore } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { type Asked, answersOf } from '../support/answers.ts';

/** Damage to one file. */
export interface Flip {
  file: string;
  /** Bytes of it. */
  at: number[];
  /** What it is XORed with. */
  bits: number;
}

export interface Order {
  /** A data directory that is whole. */
  clean: string;
  /** Where copies of it are damaged. */
  scratch: string;
  flips: Flip[];
  asked: Asked;
}

/** What the child says: what verify found, then what was answered. */
export type Said =
  | { flip: number; problems: string[] }
  | { flip: number; refused: string }
  | { flip: number; answers: [string, string][] };

/** Damages one copy after another; another process, since a damaged file may end it. */
const order = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Order;
const from = Number(process.argv[3]);
for (let flip = from; flip < order.flips.length; flip++) {
  const directory = join(order.scratch, String(flip));
  cpSync(order.clean, directory, { recursive: true });
  const { file, at, bits } = order.flips[flip]!;
  const path = join(directory, file);
  const bytes = readFileSync(path);
  for (const each of at) bytes[each]! ^= bits;
  writeFileSync(path, bytes);
  const { problems } = await verifyStore(directory);
  say({ flip, problems: problems.map(({ where, what }) => `${where}: ${what}`) });
  // Whoever goes on all the same may die of it, now or later.
  if (problems.length > 0) continue;
  let store;
  try {
    store = openStore(directory, () => micros(1_000_000));
  } catch (error) {
    say({ flip, refused: `${(error as { code?: string }).code}: ${(error as Error).message}` });
    continue;
  }
  say({ flip, answers: [...answersOf(store, order.asked)] });
  await store.close();
  rmSync(directory, { recursive: true });
}

function say(said: Said): void {
  writeFileSync(1, `${JSON.stringify(said)}\n`);
}
