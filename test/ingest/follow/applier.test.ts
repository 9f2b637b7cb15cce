import { setImmediate } from 'node:timers/promises';

import { expect, test } from 'vitest';

import { Applier } from '../../../src/ingest/follow/applier.ts';
import type { Watermark } from '../../../src/store/change-frames.ts';
import type { LeaderItem } from '../../../src/store/leader.ts';
import type { Replica } from '../../../src/store/replica.ts';

/** A replica whose steps end when they are told to. */
class SlowReplica {
  steps: { items: readonly LeaderItem[]; upTo: number; end: PromiseWithResolvers<void> }[] = [];

  apply(items: readonly LeaderItem[], upTo: number): Promise<void> {
    const end = Promise.withResolvers<void>();
    this.steps.push({ items, upTo, end });
    return end.promise;
  }
}

function item(view: string): LeaderItem {
  return { view, version: 'v1', changes: [], vectors: new Map() };
}

function watermark(up_to: number): Watermark {
  return { type: 'watermark', up_to, snapshot: 9, seq_reserved: 9, time: 0 };
}

function newApplier() {
  const replica = new SlowReplica();
  const applied: number[] = [];
  const failures: unknown[] = [];
  const applier = new Applier(
    replica as unknown as Replica,
    ({ up_to }) => void applied.push(up_to),
    (error) => void failures.push(error),
  );
  return { replica, applier, applied, failures };
}

test('what comes while something is being stored is stored together after it, up to the last watermark', async () => {
  const { replica, applier, applied } = newApplier();
  applier.add(item('a'), 1);
  await applier.reach(watermark(1));
  for (const [at, view] of ['b', 'c', 'd'].entries()) {
    applier.add(item(view), 1);
    await applier.reach(watermark(at + 2));
  }
  // No watermark says yet that this is all of its page.
  applier.add(item('e'), 1);
  expect(replica.steps.map(({ upTo }) => upTo)).toEqual([1]);
  replica.steps[0]!.end.resolve();
  await setImmediate();
  expect(replica.steps.map(({ items, upTo }) => [items.length, upTo])).toEqual([
    [1, 1],
    [3, 4],
  ]);
  replica.steps[1]!.end.resolve();
  await applier.settle();
  expect(applied).toEqual([1, 4]);
});

test('no more is taken while much is waiting', async () => {
  const { replica, applier } = newApplier();
  await applier.reach(watermark(1));
  applier.add(item('a'), 17 * 2 ** 20);
  let hasRoom = false;
  const reached = applier.reach(watermark(2)).then(() => (hasRoom = true));
  await setImmediate();
  expect(hasRoom).toBe(false);
  replica.steps[0]!.end.resolve();
  await reached;
  expect(replica.steps).toHaveLength(2);
});

test('after a failure nothing more is stored, and nobody waits', async () => {
  const { replica, applier, applied, failures } = newApplier();
  await applier.reach(watermark(1));
  applier.add(item('a'), 17 * 2 ** 20);
  const reached = applier.reach(watermark(2));
  replica.steps[0]!.end.reject(new Error('the disk is full'));
  await reached;
  await applier.settle();
  expect(failures).toEqual([new Error('the disk is full')]);
  expect([replica.steps.length, applied]).toEqual([1, []]);
});
