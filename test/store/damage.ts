import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { expect } from 'vitest';

import { RevisionBatch } from '../../src/store/batch.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { seeded } from '../model/random.ts';
import { type Asked, answersOf, differences } from '../support/answers.ts';
import { batchOf, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import type { Flip, Order, Said } from './damage-child.ts';

const CHILD = join(import.meta.dirname, 'damage-child.ts');
export const FILES = [
  'catalogue/data.mdb',
  'views/job/v1/g1/data.mdb',
  'views/member/v1/g1/data.mdb',
];

/** A store with some of everything, closed: what it is asked, and what it answers. */
export async function filled(): Promise<{ directory: string; asked: Asked; answers: Answers }> {
  const directory = tempDirectory();
  const clock = new TestClock(1_000);
  const store = openStore(directory, clock.read);
  store.createView({ ...viewOf('job', 8), max_age: 5_000 });
  store.createView(viewOf('member', 4, 'float16'));
  const random = seeded(7);
  for (let commit = 0; commit < 60; commit++) {
    clock.now += 10;
    const rows = Array.from({ length: 20 }, () => {
      const event = random(2_000);
      const vector = Array.from({ length: 8 }, () => random(500) / 7);
      return { id: `job-${random(6)}`, event, vector: random(8) === 0 ? null : vector };
    });
    await store.commit('job', 'v1', { rows: batchOf(rows, 8) });
    await fromSource(store, commit);
  }
  await store.erase({ entity: 'job' }, ['job-5']);
  // Files without a free page: what is hit matters.
  await store.compact('job', 'v1');
  await store.compact('member', 'v1');
  await store.close();
  const ids = [...Array.from({ length: 7 }, (_, at) => `job-${at}`), 'member-0', 'member-3'];
  const moments = [0, 400, 900, 1_300, 1_999];
  const reopened = openStore(directory, clock.read);
  const asked = { ids, moments, snapshot: 2_000 };
  const answers = answersOf(reopened, asked);
  await reopened.close();
  return { directory, asked, answers };
}

export type Answers = Map<string, string>;

/** A record of a source, with an input, an offset and now and then a dead letter. */
async function fromSource(store: Store, at: number): Promise<void> {
  const rows = new RevisionBatch(8);
  rows.nextPayload().fill(at);
  const payload = rows.addFilled(new Uint8Array(16).fill(at % 20));
  rows.addRow(`member-${at % 4}`, at, at, payload, at);
  const partition = { source: 'members', topic: 'changes', partition: 0 };
  const letter = {
    position: { ...partition, offset: at },
    reason: 'BAD_RECORD',
    message: 'no',
    key: null,
    value: Buffer.from(`record ${at}`),
    headers: {},
    timestamp: at,
  };
  await store.commit('member', 'v1', {
    rows,
    offset: { ...partition, expected: at === 0 ? undefined : BigInt(at), next: BigInt(at + 1) },
    deadLetters: at % 5 === 0 ? [letter] : [],
  });
}

export interface Found {
  flip: Flip;
  problems: string[] | undefined;
  refused: string | undefined;
  answers: Answers | undefined;
  /** What its process ended of. */
  died?: string;
}

/** Damages copies of the directory, one after another, and says what was found and answered. */
export async function damage(clean: string, flips: Flip[], asked: Asked): Promise<Found[]> {
  const scratch = tempDirectory();
  const file = join(scratch, 'order.json');
  const order: Order = { clean, scratch, flips, asked };
  writeFileSync(file, JSON.stringify(order));
  const found = flips.map((flip): Found => ({
    flip,
    problems: undefined,
    refused: undefined,
    answers: undefined,
  }));
  for (let from = 0; from < flips.length;) {
    const child = spawn(process.execPath, [CHILD, file, String(from)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let complaint = '';
    child.stderr.on('data', (bytes: Buffer) => (complaint += bytes.toString()));
    const ended = once(child, 'exit');
    for await (const line of createInterface({ input: child.stdout })) {
      const said = JSON.parse(line) as Said;
      const one = found[said.flip]!;
      if ('problems' in said) one.problems = said.problems;
      else if ('refused' in said) one.refused = said.refused;
      else one.answers = new Map(said.answers);
      from = 'problems' in said ? said.flip : said.flip + 1;
    }
    const [code, signal] = (await ended) as [number | null, string | null];
    if (code === 0) break;
    // What a defect throws is not what a damaged file does to a process.
    expect(signal, complaint).not.toBeNull();
    found[from]!.died = `${signal}: ${complaint}`;
    from++;
  }
  return found;
}

/** The answers that are neither what they were nor refused. */
export function wrongAnswers({ answers }: Found, expected: Answers): string[] {
  if (answers === undefined) return [];
  const answered = [...answers].filter(([, answer]) => answer !== 'throws STORE_CORRUPT');
  const asked = [...expected].filter(
    ([question]) => answers.get(question) !== 'throws STORE_CORRUPT',
  );
  return differences(new Map(asked), new Map(answered));
}
