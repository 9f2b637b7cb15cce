import fc from 'fast-check';
import { expect, test } from 'vitest';

import { commands, counts, finish } from './commands.ts';
import { Copies } from './copies.ts';
import { World } from './world.ts';

/**
 * A history that failed, to be run again: `MODEL_REPLAY` is the line that the failure shows.
 * `MODEL_MINUTES` goes on with new seeds until the time is up.
 */
const REPLAY = process.env['MODEL_REPLAY'];
const MINUTES = Number(process.env['MODEL_MINUTES'] ?? 0);
const RUNS = 12;
const COMMANDS_MAX = 100;
/** Making a failing history smaller ends after so long, ms. */
const SHRINKING = 240_000;

/** Runs histories; the smallest one that fails is shown, with what runs it again. */
async function runHistories(seed: number, runs: number, replay?: string): Promise<void> {
  const [path, replayPath] = replay?.split(' ') ?? [];
  // Without a bias towards short ones: little happens in few steps.
  const histories = fc.noBias(
    fc.commands(commands(), {
      maxCommands: COMMANDS_MAX,
      size: 'max',
      ...(replayPath !== undefined && { replayPath }),
    }),
  );
  const property = fc.asyncProperty(histories, async (history) => {
    const world = await World.make();
    const copies = new Copies(world);
    try {
      await fc.asyncModelRun(() => ({ model: world, real: copies }), history);
      await finish(world, copies, seed);
    } finally {
      await copies.close();
      await world.close();
    }
  });
  const done = await fc.check(property, {
    seed,
    numRuns: runs,
    interruptAfterTimeLimit: SHRINKING,
    markInterruptAsFailure: true,
    ...(path !== undefined && { path }),
  });
  if (!done.failed) return;
  if (done.counterexample === null) throw new Error(`the histories of seed ${seed} did not end`);
  const history = fc.stringify(done.counterexample[0]);
  const replayOf = /replayPath="([^"]*)"/.exec(history)?.[1] ?? '';
  throw new Error(
    `MODEL_REPLAY='${seed} ${done.counterexamplePath ?? ''} ${replayOf}' runs it again:\n` +
      `${history}\n${String(done.errorInstance)}`,
    { cause: done.errorInstance },
  );
}

test(
  'any history of pushes, deletes, erasures, retention, compaction, backfills, promotions, rollbacks, backups, drops and restarts answers as the naive model does, each answer of one version (A1–A11)',
  async () => {
    if (REPLAY !== undefined) {
      const [seed, ...rest] = REPLAY.split(' ');
      await runHistories(Number(seed), 1, rest.join(' '));
      return;
    }
    const end = Date.now() + MINUTES * 60_000;
    let seed = MINUTES === 0 ? 1 : Date.now() % 2 ** 31;
    const first = seed;
    do await runHistories(seed++, RUNS);
    while (Date.now() < end);
    const { histories, commands: steps, answers } = counts;
    expect(answers).toBeGreaterThan(histories);
    process.stdout.write(
      `seeds ${first} to ${seed - 1}: ${histories} histories, ${steps} commands, ${answers} answers compared\n`,
    );
  },
  MINUTES * 60_000 + 300_000,
);
