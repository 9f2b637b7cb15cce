import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { afterEach, expect, test } from 'vitest';

import { verifyStore } from '../../src/store/verify.ts';
import { seeded } from '../model/random.ts';
import { Ledger } from './ledger.ts';
import { BACKUPS, POINTS } from './points.ts';
import { losePower } from './power.ts';
import type { Order, Said } from './victim.ts';

const VICTIM = join(import.meta.dirname, 'victim.ts');
const NAMES = Object.keys(POINTS);

/** How many processes are killed, over all points; `CRASH_SEED` has them do other things. */
const KILLS = 4 * Number(process.env['CRASH_KILLS'] ?? 6);
const EACH = Math.ceil(KILLS / NAMES.length);
const SEED = Number(process.env['CRASH_SEED'] ?? 1);
/** A store lives so often before another one begins. */
const LIVES = 8;

/** A store, and all that was asked of it in its lives. */
class World {
  readonly ledger: Ledger;
  lives = 0;
  private folder = mkdtempSync(join(tmpdir(), 'tidemark-crash-'));
  readonly directory = join(this.folder, 'data');
  private flushed = join(this.folder, 'flushed');

  constructor() {
    this.ledger = new Ledger(this.directory);
  }

  /** Has a process die at the point, by a kill or by a power loss. */
  async die(point: string, seed: number, isPowerLost: boolean): Promise<void> {
    const random = seeded(seed);
    this.lives++;
    const { directory, ledger } = this;
    const order: Order = {
      directory,
      backups: join(this.folder, BACKUPS),
      point,
      times: 1 + random(POINTS[point]!.times),
      seed,
      from: ledger.next,
      again: ledger.unstored(),
      ...(isPowerLost && { flushed: this.flushed }),
    };
    const child = spawn(process.execPath, [VICTIM, JSON.stringify(order)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
      killSignal: 'SIGABRT',
    });
    const [said, errors, [, signal]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'exit') as Promise<[number | null, string | null]>,
    ]);
    expect(signal, `${JSON.stringify(order)}: ${errors}`).toBe('SIGKILL');
    if (isPowerLost) losePower(directory, this.flushed, random);
    const lines = said.split('\n').slice(0, -1);
    ledger.take(lines.map((line) => JSON.parse(line) as Said));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

let world: World | undefined;

afterEach(({ task }) => {
  if (task.result?.state !== 'fail' && world!.lives < LIVES && task.name !== LAST) return;
  world!.remove();
  world = undefined;
});

const titleOf = (point: string): string =>
  `killed ${point}, a store holds all that was acknowledged, exactly once, erased what was erased, ` +
  'and answers as the naive model does (A8–A10)';
const LAST = titleOf(NAMES.at(-1)!);

test.for(NAMES.map((point) => [titleOf(point), point] as const))('%s', async ([, point]) => {
  for (let kill = 0; kill < EACH; kill++) {
    const seed = SEED * 1_000_000 + NAMES.indexOf(point) * 1_000 + kill;
    const random = seeded(seed);
    world ??= new World();
    const isPowerLost = random(2) === 0;
    await world.die(point, seed, isPowerLost);
    // Sometimes the next process dies as well before anybody has looked.
    if (random(4) === 0) await world.die(NAMES[random(NAMES.length)]!, seed + 500, isPowerLost);
    // Verifying settles a crash, as opening does.
    if (random(2) === 0) expect((await verifyStore(world.directory)).problems).toEqual([]);
    await expect(world.ledger.check(random), `kill ${kill}, seed ${seed}`).resolves.toBeUndefined();
  }
});
