import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { expect, onTestFinished, test } from 'vitest';

import { openFixture } from '../ingest/backfill/fixture.ts';
import { held, say } from '../ingest/backfill/revisions.ts';
import { seeded } from '../model/random.ts';
import { tempDirectory } from '../support/temp.ts';

const KILLS = Number(process.env['CRASH_KILLS'] ?? 2);
const EVENTS = 12_000;
const CHILD = join(import.meta.dirname, 'backfill-child.ts');

/** Runs the process until it is done, or has said that it has read so many events. */
async function run(directory: string, upTo: number): Promise<'done' | 'killed'> {
  const child = spawn(process.execPath, [CHILD, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const exit = once(child, 'exit');
  let isDone = false;
  for await (const line of createInterface({ input: child.stdout })) {
    isDone ||= line === 'done';
    if (Number(line) >= upTo) child.kill('SIGKILL');
  }
  await exit;
  return isDone ? 'done' : 'killed';
}

test('a backfill whose process is killed again and again stores each event once (A12)', async () => {
  const directory = tempDirectory();
  const before = await openFixture({ directory });
  const said = Array.from({ length: EVENTS }, (_, at) => ({
    id: `e${at % 700}`,
    at: Math.floor(at / 100),
    known: 200,
    text: at % 97 === 5 ? null : at % 401 === 7 ? 'bad' : `job ${at % 1_500}`,
  }));
  for (let from = 0; from < EVENTS; from += 1_000) {
    await say(before, 'v1', said.slice(from, from + 1_000));
  }
  const wanted = held(before.store, 'v1');
  await before.store.close();

  const random = seeded(Number(process.env['CRASH_SEED'] ?? 1));
  let killed = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    // Each process has its share of the way, so that the last kill finds some of it left.
    const upTo = Math.floor((EVENTS * (kill + random(1_000) / 1_000)) / KILLS);
    if ((await run(directory, upTo)) === 'done') break;
    killed++;
  }
  expect(killed).toBeGreaterThan(0);
  expect(await run(directory, Infinity)).toBe('done');

  const after = await openFixture({ directory });
  await after.backfills.start();
  const record = after.backfills.list(1, undefined)[0]!.record;
  const bad = wanted.filter(([, , , length]) => length === 3).length;
  expect(bad).toBeGreaterThan(0);
  expect(held(after.store, 'v2')).toEqual(wanted.filter(([, , , length]) => length !== 3));
  expect(record).toMatchObject({
    state: 'done',
    counts: { read: wanted.length, stored: wanted.length - bad, duplicate: 0, rejected: bad },
  });
  expect(after.store.version('job', 'v2').offsets.all()).toEqual([]);
  await after.backfills.stop();
  await after.store.close();
});
