import { describe, expect, onTestFinished, test } from 'vitest';

import { seeded } from '../model/random.ts';
import { Broker, missingForBroker } from './broker.ts';
import { FAULTS, POINTS } from './nearline-points.ts';
import { World } from './nearline-world.ts';

const describeOwnBroker = missingForBroker() === undefined ? describe : describe.skip;

/** How long it goes on; without, every point and fault has its turn once. */
const MINUTES = Number(process.env['NEARLINE_MINUTES'] ?? 0);
const SEED = Number(process.env['NEARLINE_SEED'] ?? 1);
/** What befalls a server from outside, by what it is called. */
const TROUBLES: Record<string, (world: World) => Promise<void>> = {
  async 'the broker is killed'({ broker }) {
    await broker.kill();
    await broker.start();
  },
  'a foreign member joins': async (world) => world.joinAndLeave(),
  // The group waits ten seconds for its members.
  ...(MINUTES > 0 && { 'the process hangs': async (world: World) => world.hang() }),
};

describeOwnBroker('a server that reads texts from Kafka', () => {
  test('killed at every point of its work, it holds and has published what a replay from zero does (A2, A4, A12)', async () => {
    const broker = await Broker.launch();
    onTestFinished(() => broker.remove());
    const random = seeded(SEED);
    const end = performance.now() + MINUTES * 60_000;
    let [deaths, answers] = [0, 0];
    do {
      const world = await World.make(broker, SEED + deaths);
      await world.makeViews();
      for (const [at, { times }] of shuffled(POINTS, random)) {
        // At times the dead one is still in the group: the next one waits for it to be given up.
        world.start({ at, times: 1 + random(times) }, MINUTES > 0 && random(6) === 0);
        await world.death(at);
      }
      for (const [at, { times }] of shuffled(FAULTS, random)) {
        world.start({ at, times: 1 + random(times) });
        await world.hears(at);
        await world.kill(random(6));
      }
      for (const [, trouble] of shuffled(TROUBLES, random)) {
        world.start();
        await world.ready();
        await trouble(world);
        await world.kill(random(6));
      }
      answers += await world.expectAsReplayed();
      deaths += world.deaths;
      process.stdout.write(`${deaths} deaths survived, ${answers} answers compared\n`);
    } while (performance.now() < end);
    expect(answers).toBeGreaterThan(1_000);
  });
});

function shuffled<T>(all: Record<string, T>, random: (below: number) => number): [string, T][] {
  const left = Object.entries(all);
  return Object.keys(all).map(() => left.splice(random(left.length), 1)[0]!);
}
