import { expect } from 'vitest';

import { TidemarkError } from '../../src/ground/errors.ts';
import type { Compaction } from '../../src/store/compaction.ts';
import type { Horizon } from '../../src/store/horizon.ts';
import { verifyStore } from '../../src/store/verify.ts';
import type { Fact } from './naive.ts';
import type { Target } from './target.ts';
import type { World } from './world.ts';

/** How a compaction ends whose version is gone, or its view, or whose store closes. */
const ENDS = new Set<unknown>(['VIEW_NOT_FOUND', 'VERSION_NOT_FOUND', 'SHUTTING_DOWN']);

/** Begins to compact; the world's `settle` waits for it. */
export function compact(world: World, target: Target): Promise<Compaction | undefined> {
  const { naive } = target;
  const dropping = naive.dropping();
  for (const fact of dropping) naive.perhapsDropped.add(fact);
  target.compacting++;
  const work = (async () => {
    try {
      const done = await world.store.compact(target.view, target.version);
      target.noteDropped(dropping);
      return done;
    } catch (error) {
      // The version went, or the store was closed, meanwhile.
      const code = error instanceof TidemarkError ? error.code : undefined;
      if (ENDS.has(code)) return undefined;
      throw error;
    } finally {
      target.compacting--;
    }
  })();
  world.running.add(work);
  // Whoever awaits it hears of a failure.
  work.then(
    () => world.running.delete(work),
    () => {},
  );
  return work;
}

/** Compacts while nothing else goes on: what it drops is known to the last revision. */
export async function compactAlone(world: World, target: Target): Promise<void> {
  await world.settle();
  const { naive } = target;
  const isExact = naive.perhapsDropped.size === 0;
  const dropping = naive.dropping().length;
  const done = await compact(world, target);
  if (isExact) expect(done).toMatchObject({ revisions_dropped: dropping });
  target.expectCounted(world.open(target));
}

/** Does what is due: retention, and compaction past this share of what is dead. */
export async function maintain(
  world: World,
  deadShare: number,
  erasedWithin: number,
): Promise<void> {
  await world.settle();
  const now = world.clock.now;
  const done = await world.store.maintain({ deadShare, erasedWithin });
  const dropping = new Map<Target, Fact[]>();
  for (const [name, { view, targets }] of world.views) {
    if (view.retention !== undefined) {
      const { moment } = targetsHorizon(world, name);
      const asked = now - view.retention;
      // In steps of a hundredth of the retention.
      if (asked - moment >= view.retention / 100) world.takeHorizon(name, asked);
    }
    for (const target of targets) dropping.set(target, target.naive.dropping());
  }
  for (const { feature_view, version, compaction, failure } of done) {
    expect(failure).toBeUndefined();
    if (compaction === undefined) continue;
    const target = world
      .targets()
      .find((each) => each.view === feature_view && each.version === version)!;
    target.noteDropped(dropping.get(target)!);
    target.expectCounted(world.open(target));
  }
}

function targetsHorizon(world: World, name: string): Horizon {
  return world.views.get(name)!.targets[0]!.naive.horizon;
}

/** The end of a history: nothing of what was erased is in the files, and these are in order. */
export async function finish(world: World): Promise<void> {
  // Its clock may have stepped back behind an erasure.
  world.clock.now += 10;
  await maintain(world, 2, 0);
  for (const id of world.receipts) {
    const receipt = world.store.catalogue.mustGetReceipt(id);
    expect(receipt.removed_at).toBeDefined();
    expect(world.store.compactedAt(receipt)).toBeDefined();
  }
  await world.store.close();
  expect(await verifyStore(world.directory)).toMatchObject({ problems: [], counters: true });
  await world.reopen();
}
