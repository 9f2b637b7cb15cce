import { expect, test, vi } from 'vitest';

import { asked, startWorld, type World } from './world.ts';

/** An export that has ended its first part and is broken off; its id. */
async function brokenOff(world: World): Promise<string> {
  const gate = Promise.withResolvers<void>();
  world.join.gates.set(1, gate.promise);
  const { record } = await world.exports.submit(asked(world));
  await vi.waitUntil(() => record.done.rows === 2);
  await world.exports.stop();
  world.join.gates.clear();
  return record.id;
}

async function endOf({ exports }: World, id: string): Promise<(string | undefined)[]> {
  await vi.waitUntil(() => exports.mustGet(id).record.ended !== undefined);
  const { state, failure } = exports.mustGet(id).record;
  return [state, failure?.code];
}

test('an export goes on in a store that was promoted or restored with all of its snapshot (A9)', async () => {
  const world = await startWorld();
  const id = await brokenOff(world);
  const { catalogue, snapshot } = world.store;
  catalogue.branch(snapshot, catalogue.seqReserved() + 2 ** 32);
  await world.restart();
  expect(await endOf(world, id)).toEqual(['done', undefined]);
  expect(world.join.written).toEqual([0, 1, 2]);
});

test('an export of a snapshot that the store has no more, promoted or restored from before it, fails (A9)', async () => {
  const world = await startWorld();
  const id = await brokenOff(world);
  const { catalogue, snapshot } = world.store;
  catalogue.branch(snapshot - 1, catalogue.seqReserved() + 2 ** 32);
  await world.restart();
  expect(await endOf(world, id)).toEqual(['failed', 'SNAPSHOT_UNAVAILABLE']);
  expect(world.join.written).toEqual([0]);
});
