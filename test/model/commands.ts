import fc from 'fast-check';

import type { ErasureScope } from '../../src/store/erasures.ts';
import type { Copies } from './copies.ts';
import { askAll, expectAlike, expectJoin, glimpse } from './questions.ts';
import { seeded } from './random.ts';
import { IDS, type Row, type Target } from './target.ts';
import * as upkeep from './upkeep.ts';
import type { World } from './world.ts';

/** What was run, for the record. */
export const counts = { histories: 0, commands: 0, answers: 0 };

/** One step of a history, shown by what it was made of. */
class Step<T> implements fc.AsyncCommand<World, Copies> {
  private name: string;
  private data: T;
  private work: Work<T>;

  constructor(name: string, data: T, work: Work<T>) {
    this.name = name;
    this.data = data;
    this.work = work;
  }

  check(): boolean {
    return true;
  }

  async run(world: World, copies: Copies): Promise<void> {
    await this.work(world, this.data, copies);
    counts.commands++;
  }

  toString(): string {
    return `${this.name} ${JSON.stringify(this.data)}`;
  }
}

type Work<T> = (world: World, data: T, copies: Copies) => Promise<void>;
type Command = fc.Arbitrary<Step<unknown>>;

function step<T>(name: string, data: fc.Arbitrary<T>, work: Work<T>): Command {
  return data.map((value) => new Step(name, value, work) as Step<unknown>);
}

const pick = fc.nat(5);
const seed = fc.nat(2 ** 31 - 1);

/** Event times at few fixed moments, which tie, or close to the clock. */
const rowShape = fc.record({
  id: fc.nat(IDS.length - 2),
  fixed: fc.option(fc.nat(30), { freq: 1 }),
  back: fc.nat(40),
  lag: fc.oneof(fc.constant(0), fc.nat(60)),
  value: fc.option(fc.nat(4), { freq: 5 }),
});

type RowShape = typeof rowShape extends fc.Arbitrary<infer T> ? T : never;

function rowOf(world: World, { id, fixed, back, lag, value }: RowShape): Row {
  const event = fixed === null ? world.clock.now + 5 - back : fixed * 10;
  return { id: IDS[id]!, event, known: event + lag, value };
}

/** Rows that were sent before, sent again. */
function sentAgain({ sent }: Target, count: number, from: number): Row[] {
  if (sent.length === 0) return [];
  return Array.from({ length: count }, (_, at) => sent[(from + at * 7) % sent.length]!);
}

const pushShape = fc.record({
  target: pick,
  rows: fc.array(rowShape, { minLength: 1, maxLength: 6 }),
  again: fc.oneof(fc.constant(0), fc.nat(4)),
  from: fc.nat(1_000),
  hashed: fc.boolean(),
});

type PushShape = typeof pushShape extends fc.Arbitrary<infer T> ? T : never;

async function push(world: World, shape: PushShape, isAtomic = false): Promise<void> {
  const target = world.target(shape.target);
  const rows = shape.rows.map((row) => rowOf(world, row));
  const all = [...rows, ...sentAgain(target, shape.again, shape.from)];
  await world.push(target, all, { hashed: shape.hashed, isAtomic });
}

const burstShape = fc.record({
  target: pick,
  id: fc.nat(IDS.length - 2),
  count: fc.integer({ min: 20, max: 300 }),
  span: fc.constantFrom(1, 8, 200),
  seed,
});

/** Many rows of one entity: chunks are sealed and split, late rows come far below the head. */
async function burst(
  world: World,
  {
    target,
    id,
    count,
    span,
    seed: from,
  }: typeof burstShape extends fc.Arbitrary<infer T> ? T : never,
): Promise<void> {
  const random = seeded(from);
  const rows = Array.from({ length: count }, () => {
    const event = world.clock.now - random(span);
    return { id: IDS[id]!, event, known: event + random(9), value: random(span * 3) };
  });
  await world.push(world.target(target), rows);
}

const erasureShape = fc.record({
  view: pick,
  onlyView: fc.boolean(),
  ids: fc.array(fc.nat(IDS.length - 1), { minLength: 1, maxLength: 2 }),
});

type ErasureShape = typeof erasureShape extends fc.Arbitrary<infer T> ? T : never;

function scopeOf(world: World, { view, onlyView, ids }: ErasureShape): [ErasureScope, string[]] {
  const name = world.viewAt(view);
  const { entity } = world.views.get(name)!.view;
  return [onlyView ? { entity, view: name } : { entity }, ids.map((id) => IDS[id]!)];
}

async function erase(world: World, shape: ErasureShape): Promise<void> {
  await world.erase(...scopeOf(world, shape));
}

const settingsShape = fc.record({
  view: pick,
  max_age: fc.option(fc.nat(80)),
  retention: fc.option(fc.integer({ min: 20, max: 200 })),
});

function change(
  world: World,
  { view, max_age, retention }: typeof settingsShape extends fc.Arbitrary<infer T> ? T : never,
): void {
  world.changeView(world.viewAt(view), {
    ...(max_age !== null && { max_age }),
    ...(retention !== null && { retention }),
  });
}

const versionShape = fc.record({ view: pick, version: pick, seed });

const horizonShape = fc.record({ view: pick, back: fc.nat(120) });

async function advanceHorizon(
  world: World,
  { view, back }: { view: number; back: number },
): Promise<void> {
  await world.advanceHorizon(world.viewAt(view), world.clock.now - back);
}

async function ask(world: World, from: number, count: number): Promise<void> {
  const random = seeded(from);
  counts.answers += askAll(world, random, count);
  counts.answers += await expectJoin(world, random, 8);
}

const togetherShape = fc.record({
  pushes: fc.array(pushShape, { minLength: 1, maxLength: 4 }),
  settings: fc.option(settingsShape),
  erasure: fc.option(erasureShape),
  horizon: fc.option(horizonShape),
  compact: fc.option(pick),
  flip: fc.option(versionShape),
  seed,
});

/** Things asked for at once; the answers given meanwhile must stand. */
async function together(
  world: World,
  shape: typeof togetherShape extends fc.Arbitrary<infer T> ? T : never,
): Promise<void> {
  const { pushes, settings, erasure, horizon, compact, flip } = shape;
  const random = seeded(shape.seed);
  const work = pushes.map(
    (one): (() => Promise<unknown>) =>
      async () =>
        push(world, one),
  );
  const others = [
    settings && (async () => change(world, settings)),
    erasure && (async () => erase(world, erasure)),
    horizon && (async () => advanceHorizon(world, horizon)),
    flip && (async () => world.promote(world.viewAt(flip.view), flip.version)),
    compact !== null && (async () => void upkeep.compact(world, world.target(compact))),
  ];
  // In any order, and the later ones while the first are on their way.
  for (const one of others) {
    if (one === null || one === false) continue;
    work.splice(random(work.length + 1), 0, random(2) === 0 ? one : () => later(one, random(5)));
  }
  await world.together(work, () => glimpse(world, random));
}

async function later(work: () => Promise<unknown>, turns: number): Promise<unknown> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
  return work();
}

async function follow(
  world: World,
  { page, seed: from }: { page: number; seed: number },
  copies: Copies,
): Promise<void> {
  const replica = await copies.follow(page);
  counts.answers += expectAlike(world, replica, seeded(from), 5);
}

const nothing = fc.constant(null);

/** What a history is made of; as often as they stand here. */
export function commands(): Command[] {
  const pushing = step('push', pushShape, async (world, shape) => push(world, shape));
  const asking = step('ask', seed, async (world, from) => ask(world, from, 4));
  const racing = step('together', togetherShape, together);
  const passing = step('pass time', fc.integer({ min: -5, max: 60 }), async (world, by) => {
    // The clock of the machine may step back; created times may not.
    world.clock.now = Math.max(0, world.clock.now + by);
  });
  const compacting = step('begin to compact', pick, async (world, target) => {
    void upkeep.compact(world, world.target(target));
  });
  const flipping = step('promote', versionShape, async (world, { view, version }) =>
    world.promote(world.viewAt(view), version),
  );
  return [
    pushing,
    pushing,
    pushing,
    pushing,
    passing,
    passing,
    asking,
    asking,
    racing,
    racing,
    compacting,
    compacting,
    step('push whole or not at all', pushShape, async (world, shape) => push(world, shape, true)),
    step('burst', burstShape, burst),
    step('erase', erasureShape, erase),
    step('lift', erasureShape, async (world, shape) => world.lift(...scopeOf(world, shape))),
    step('change', settingsShape, async (world, shape) => change(world, shape)),
    step('advance the horizon', horizonShape, advanceHorizon),
    step('compact', pick, async (world, target) =>
      upkeep.compactAlone(world, world.target(target)),
    ),
    step('settle', nothing, async (world) => world.settle()),
    step('maintain', fc.record({ share: fc.nat(10), within: fc.nat(50) }), async (world, due) =>
      upkeep.maintain(world, due.share / 10, due.within),
    ),
    step('reopen', nothing, async (world) => world.reopen()),
    step('add a version', pick, async (world, view) => world.addVersion(world.viewAt(view))),
    step('backfill', versionShape, async (world, { view, version, seed: from }) =>
      world.backfill(world.viewAt(view), version, seeded(from)),
    ),
    flipping,
    flipping,
    step('roll back', pick, async (world, view) => world.rollBack(world.viewAt(view))),
    step('retire', versionShape, async (world, { view, version }) =>
      world.retire(world.viewAt(view), version),
    ),
    step('drop', pick, async (world, view) => {
      await world.drop(world.viewAt(view));
      if (world.views.size === 0) await world.createAt(view % 3);
    }),
    step('create', fc.nat(2), async (world, view) => world.createAt(view)),
    step('follow', fc.record({ page: fc.integer({ min: 1, max: 50 }), seed }), follow),
    step('back up', nothing, async (_world, _data, copies) => copies.backUp()),
    step('restore', nothing, async (_world, _data, copies) => {
      if (copies.hasBackup) await copies.restore();
    }),
    step('promote the replica', nothing, async (_world, _data, copies) => {
      if (copies.hasReplica) await copies.promote();
    }),
  ];
}

/** After a history: questions without end, the files in order, and the same questions again. */
export async function finish(world: World, copies: Copies, from: number): Promise<void> {
  const random = seeded(from);
  counts.answers += askAll(world, random, 40);
  counts.answers += await expectJoin(world, random, 100);
  await upkeep.finish(world);
  await copies.finish();
  counts.answers += askAll(world, random, 40);
  counts.histories++;
}
