/**
 * A process that opens a store, works on it, and is killed on its way: `node victim.ts <order>`.
 * Each line that it prints is a `Said`: what it asks of the store before it asks, and what the store
 * has answered.
 */
import { copyFileSync, mkdirSync, writeSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';

import { type Micros, micros } from '../../src/ground/time.ts';
import { promoted, rolledBack, withoutVersion, withVersion } from '../../src/store/aliases.ts';
import type { FeatureView } from '../../src/store/catalogue.ts';
import { Environment } from '../../src/store/environment.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { seeded } from '../model/random.ts';
import { batchOf, viewOf } from '../support/store.ts';
import { beginServing, POINTS, watchCopies, whenDone, wrap } from './points.ts';

/** What the process is to do. */
export interface Order {
  directory: string;
  /** Where its backups go. */
  backups: string;
  /** The name of a point, and the how manieth time there is the last. */
  point: string;
  times: number;
  seed: number;
  /** The first event that was not sent before. */
  from: number;
  /** Events that were sent and are not there. */
  again: readonly number[];
  /** Where each file is kept as it was when it was last on the disk for sure. */
  flushed?: string;
}

/** A revision as the store has it: entity, event time, created time, seq. */
export type Stored = [id: string, event: number, created: number, seq: number];

export type Said =
  | { asks: 'push'; events: number[] }
  | { asks: 'erase' | 'lift'; id: string }
  | { asks: 'horizon'; moment: number }
  | { asks: 'member'; to: string; isMade: boolean }
  | { asks: 'backup'; target: string }
  | { has: 'opened'; snapshot: number }
  | { has: 'pushed'; stored: Stored[]; snapshot: number }
  /** `seq`: of the erasure. */
  | { has: 'erased'; id: string; seq: number }
  | { has: 'lifted'; id: string }
  | { has: 'horizon'; moment: number }
  | { has: 'backup'; target: string; snapshot: number }
  | { has: 'member' };

const PUSHERS = 3;
/** So often each of them pushes, and in a process that is to come to its end. */
const PUSHES = 25;
const PUSHES_TO_END = 4;
/** Late events are held back for so many pushes. */
const HELD = 6;
/** What is pushed again is younger than this, and no horizon comes so near. */
const YOUNG = 60;
const HORIZON_BEHIND = 300;

/** The entity of an event: others come as time goes on, so that some are there to be erased. */
export function entityOf(event: number): string {
  return `e${Math.floor(event / 600)}/${event % 12}`;
}

export function isDelete(event: number): boolean {
  return event % 11 === 5;
}

/** What a version of `member` says, and no other one does. */
export function vectorOf(version: string): [number, number] {
  return [Number(version.slice(1)), 1];
}

/** Which versions a view has, and what they are to each other. */
export function shapeOf(view: FeatureView | undefined): string {
  if (view === undefined) return 'none';
  const { current, candidate, previous } = view.aliases;
  return JSON.stringify([Object.keys(view.versions).toSorted(), current, candidate, previous]);
}

interface Step {
  /** What the view is then. */
  to: FeatureView | undefined;
  take(store: Store): Promise<void> | void;
}

/** All that can be done to the versions of a view, sooner or later. */
function nextStep(view: FeatureView | undefined, random: (below: number) => number): Step {
  if (view === undefined) {
    const made = viewOf('member');
    return { to: made, take: (store) => store.createView(made) };
  }
  const { current, previous } = view.aliases;
  const others = Object.keys(view.versions).filter((name) => name !== current);
  const steps: Step[] = [
    { to: undefined, take: async (store) => store.dropView('member') },
    ...others.flatMap((name): Step[] => [
      {
        to: promoted(view, name, undefined),
        take: async (store) => store.promote('member', name, { kept_until: undefined }),
      },
      {
        to: withoutVersion(view, name),
        take: async (store) => store.retire('member', name, {}),
      },
    ]),
  ];
  if (previous !== undefined) {
    steps.push({ to: rolledBack(view), take: async (store) => store.rollBack('member', {}) });
  }
  const added = ['v1', 'v2', 'v3'].find((name) => !Object.hasOwn(view.versions, name));
  if (added !== undefined) {
    const version = { ...view.versions[current]!, version: added };
    const step = {
      to: withVersion(view, version),
      take: (store: Store) => store.addVersion('member', version),
    };
    // Often enough for the others to have something to do.
    steps.push(step, step);
  }
  return steps[random(steps.length)]!;
}

function say(said: Said): void {
  writeSync(1, `${JSON.stringify(said)}\n`);
}

async function forever(work: () => Promise<void>): Promise<never> {
  for (;;) await work();
}

/** Does the rounds of a store: pushes from several sides, and chores among them. */
class Victim {
  private store: Store;
  private random: (below: number) => number;
  private next: number;
  private logRead: number;
  private held: number[] = [];
  /** The last event that was acknowledged. */
  private pushed: number | undefined;
  /** Those that this process has erased. */
  private erased: string[] = [];
  private backups: string;
  private copies = 0;

  constructor(store: Store, random: (below: number) => number, { from, backups }: Order) {
    this.store = store;
    this.random = random;
    this.next = from;
    this.backups = backups;
    this.logRead = store.snapshot;
  }

  get clock(): number {
    return this.next;
  }

  async run({ again, point }: Order): Promise<void> {
    const { store } = this;
    if (store.catalogue.view('job') === undefined) store.createView(viewOf('job'));
    if (again.length > 0) await this.push([...again]);
    const isToEnd = POINTS[point]!.isAtEnd === true;
    const pushing = Array.from({ length: PUSHERS }, async () => {
      for (let push = 0; push < (isToEnd ? PUSHES_TO_END : PUSHES); push++) {
        await this.push(this.events());
      }
    });
    const chores = isToEnd
      ? []
      : [forever(async () => this.change()), forever(async () => this.copy())];
    await Promise.all([...pushing, ...chores]);
  }

  /** Some that are new, in another order, one of them held back and one late; one that is there. */
  private events(): number[] {
    const first = this.next;
    const count = 8 * (1 + this.random(4));
    this.next += count;
    const events = Array.from({ length: count }, (_, at) => first + (at ^ 5));
    this.held.push(events.pop()!);
    if (this.held.length > HELD) events.push(this.held.shift()!);
    if (this.pushed !== undefined && this.pushed > this.next - YOUNG) events.push(this.pushed);
    return events;
  }

  private async push(events: number[]): Promise<void> {
    say({ asks: 'push', events });
    const rows = events.map((event) => ({
      id: entityOf(event),
      event,
      vector: isDelete(event) ? null : [event, 1],
    }));
    const { snapshot } = await this.store.commit('job', 'v1', { rows: batchOf(rows) });
    // All that is durable by now, whoever asked for it.
    const changes = this.store.version('job', 'v1').log.read(this.logRead, snapshot, 1e6);
    this.logRead = Math.max(this.logRead, snapshot);
    const stored = changes.map(({ entityId, event, created, seq }): Stored => [
      entityId,
      event,
      created,
      seq,
    ]);
    say({ has: 'pushed', stored, snapshot });
    this.pushed = events[0]!;
  }

  private async change(): Promise<void> {
    for (let turns = this.random(10); turns > 0; turns--) await turn();
    switch (this.random(4)) {
      case 0: {
        const id = entityOf(Math.max(0, this.next - this.random(900)));
        say({ asks: 'erase', id });
        const { seq } = await this.store.erase({ entity: 'job' }, [id]);
        say({ has: 'erased', id, seq });
        this.erased.push(id);
        return;
      }
      case 1: {
        // Of three that are erased one stays so.
        const id = this.erased.splice(0, 3)[0];
        if (id === undefined) return;
        say({ asks: 'lift', id });
        await this.store.liftErasure({ entity: 'job' }, [id]);
        say({ has: 'lifted', id });
        this.erased = this.erased.filter((other) => other !== id);
        return;
      }
      case 2: {
        const moment = this.next - HORIZON_BEHIND - this.random(600);
        say({ asks: 'horizon', moment });
        await this.store.advanceHorizon('job', moment);
        say({ has: 'horizon', moment });
        return;
      }
      default:
        await this.changeMember();
    }
  }

  /** The next step in the life of a view that gets and loses versions. */
  private async changeMember(): Promise<void> {
    const { store } = this;
    const view = store.catalogue.view('member');
    for (const version of Object.keys(view?.versions ?? {})) {
      const rows = batchOf([{ id: 'm', event: this.next, vector: vectorOf(version) }]);
      await store.commit('member', version, { rows });
    }
    const step = nextStep(view, this.random);
    say({ asks: 'member', to: shapeOf(step.to), isMade: view === undefined });
    await step.take(store);
    say({ has: 'member' });
  }

  private async copy(): Promise<void> {
    for (let turns = this.random(20); turns > 0; turns--) await turn();
    if (this.random(4) > 0) {
      await this.store.compact('job', 'v1');
      return;
    }
    const target = join(this.backups, `${this.next}-${this.copies++}`);
    say({ asks: 'backup', target });
    const { snapshot } = await this.store.backup(target);
    say({ has: 'backup', target, snapshot });
  }
}

/** Keeps each file as it was when it was last on the disk for sure. */
function keepFlushed(directory: string, folder: string): void {
  const keep = (file: string): void => {
    if (relative(directory, file).startsWith('..')) return;
    const kept = join(folder, relative(directory, file));
    mkdirSync(dirname(kept), { recursive: true });
    copyFileSync(file, kept);
  };
  for (const name of ['flushed', 'commitSync', 'table']) {
    wrap(Environment.prototype, name, (call, self) =>
      whenDone(call(), () => keep((self as Environment).file)),
    );
  }
}

async function main(order: Order): Promise<void> {
  const { directory, point, seed, from, flushed } = order;
  watchCopies();
  if (flushed !== undefined) keepFlushed(directory, flushed);
  let left = order.times;
  POINTS[point]!.arm(() => {
    left--;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
  });
  const state: { victim?: Victim } = {};
  const clock = (): Micros => micros(state.victim?.clock ?? from);
  const store = openStore(directory, clock);
  beginServing();
  say({ has: 'opened', snapshot: store.snapshot });
  state.victim = new Victim(store, seeded(seed), order);
  await state.victim.run(order);
  await store.close();
}

if (import.meta.main) await main(JSON.parse(process.argv[2]!) as Order);
