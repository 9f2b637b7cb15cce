import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

import { expect } from 'vitest';

import { TidemarkError } from '../../src/ground/errors.ts';
import { micros } from '../../src/ground/time.ts';
import type { FeatureView } from '../../src/store/catalogue.ts';
import type { ErasureScope } from '../../src/store/erasures.ts';
import { openStore, type Store, type ViewSettings } from '../../src/store/store.ts';
import type { VersionStore } from '../../src/store/version-store.ts';
import { JoinPool } from '../../src/timetravel/join/pool.ts';
import { RESIDENT_BYTES, TestClock } from '../support/store.ts';
import type { Fact } from './naive.ts';
import { batchOf, type Row, Target } from './target.ts';

export interface NaiveView {
  view: FeatureView;
  targets: Target[];
  /** Who answered where no version was named, from which seq on; the last one does now. */
  reigns: { seq: number; current: string }[];
  candidate: string | undefined;
  previous: string | undefined;
}

const FLIPS = new Set(['promoted', 'rolled_back']);

/** Names of versions that may come beside the first one, and again when they are gone. */
const MORE_VERSIONS = [
  { version: 'v2', dim: 5 },
  { version: 'v3', dim: 2 },
];

/** Two views of one entity type: an erasure may reach one of them or both. */
const VIEWS = [
  { name: 'job', entity: 'job' },
  { name: 'member', entity: 'person' },
  { name: 'seeker', entity: 'person' },
];

/**
 * A store, and beside it what it must answer by the naive model. Every operation is done to both,
 * and what the store says of it is compared.
 */
export class World {
  readonly clock = new TestClock(100);
  readonly views = new Map<string, NaiveView>();
  directory: string;
  store: Store;
  /** Snapshots that were handed out. */
  snapshots: number[] = [0];
  /** Receipts of erasures. */
  receipts: string[] = [];
  /** Erasures, in their order. */
  readonly erasures: { scope: ErasureScope; ids: readonly string[] }[] = [];
  /** What goes on in the background. */
  readonly running = new Set<Promise<unknown>>();
  private directories: string[] = [];
  private erased = new Map<string, Set<string>>();
  private lastCreated = Number.NEGATIVE_INFINITY;
  private made = 0;

  /** One thread: the histories run beside each other. */
  readonly pool = new JoinPool(1);

  constructor() {
    this.directory = this.newDirectory();
    this.store = openStore(this.directory, this.clock.read, { residentBytes: RESIDENT_BYTES });
  }

  static async make(): Promise<World> {
    const world = new World();
    await world.createAt(0);
    return world;
  }

  newDirectory(): string {
    const directory = mkdtempSync(join(tmpdir(), 'tidemark-model-'));
    this.directories.push(directory);
    return directory;
  }

  targets(): Target[] {
    return [...this.views.values()].flatMap(({ targets }) => targets);
  }

  target(pick: number): Target {
    const all = this.targets();
    return all[pick % all.length]!;
  }

  viewAt(pick: number): string {
    return [...this.views.keys()][pick % this.views.size]!;
  }

  open(target: Target): VersionStore {
    return this.store.version(target.view, target.version);
  }

  private isErased(view: string, id: string): boolean {
    const { entity } = this.views.get(view)!.view;
    return [scopeName({ entity }), scopeName({ entity, view })].some((name) =>
      this.erased.get(name)?.has(id),
    );
  }

  /** Creates one of the views, unless it is there. */
  async createAt(pick: number): Promise<void> {
    const { name, entity } = VIEWS[pick]!;
    if (this.views.has(name)) return;
    const created_timestamp = micros(this.clock.now * 1_000 + this.made++);
    const view: FeatureView = {
      name,
      entity,
      join_key: `${name}_id`,
      created_timestamp,
      aliases: { current: 'v1' },
      versions: { v1: { version: 'v1', dim: 2, dtype: 'float32', created_timestamp } },
    };
    await this.whenGone(() => this.store.createView(view));
    const reigns = [{ seq: this.store.catalogue.lastEvent(), current: 'v1' }];
    this.views.set(name, { view, targets: [], reigns, candidate: undefined, previous: undefined });
    this.begin(name, 'v1', 2);
  }

  /** A store that followed another may have files left of what had that name: it says so. */
  private async whenGone(make: () => void): Promise<void> {
    for (;;) {
      try {
        make();
        return;
      } catch (error) {
        if (!(error instanceof TidemarkError) || error.code !== 'STORE_UNAVAILABLE') throw error;
        await setImmediate();
      }
    }
  }

  /** One more model version, if there is a name left for it: the candidate from then on. */
  async addVersion(name: string): Promise<void> {
    const known = this.views.get(name)!;
    const added = MORE_VERSIONS.find(({ version }) => this.targetOf(name, version) === undefined);
    if (added === undefined) return;
    const { version, dim } = added;
    const created_timestamp = micros(this.clock.now);
    await this.whenGone(() =>
      this.store.addVersion(name, { version, dim, dtype: 'float32', created_timestamp }),
    );
    this.begin(name, version, dim);
    known.candidate = version;
  }

  /**
   * Fills another version with a part of what the current one knows: its facts, with their times, in
   * any order and as often as it happens.
   */
  async backfill(name: string, pick: number, random: (below: number) => number): Promise<void> {
    const current = this.targetOf(name, this.currentOf(name))!;
    const others = this.views.get(name)!.targets.filter((each) => each !== current);
    if (others.length === 0) return;
    const { naive } = current;
    const rows = naive
      .ids()
      .flatMap((id) =>
        naive.history(id).map(({ event, known, value }) => ({ id, event, known, value })),
      )
      .filter(() => random(3) > 0)
      .toSorted(() => random(3) - 1);
    if (rows.length > 0) await this.push(others[pick % others.length]!, rows);
  }

  currentOf(name: string): string {
    return this.views.get(name)!.reigns.at(-1)!.current;
  }

  private targetOf(name: string, version: string): Target | undefined {
    return this.views.get(name)!.targets.find((each) => each.version === version);
  }

  async promote(name: string, pick: number): Promise<void> {
    const known = this.views.get(name)!;
    const { version } = known.targets[pick % known.targets.length]!;
    const before = this.currentOf(name);
    await this.store.promote(name, version, { kept_until: undefined });
    if (version === before) return;
    known.previous = before;
    if (known.candidate === version) known.candidate = undefined;
    this.noteReign(name, version);
  }

  async rollBack(name: string): Promise<void> {
    const known = this.views.get(name)!;
    const { previous } = known;
    const before = this.currentOf(name);
    const rolling = this.store.rollBack(name, {});
    if (previous === undefined) {
      await expect(rolling).rejects.toMatchObject({ code: 'NO_PREVIOUS' });
      return;
    }
    await rolling;
    known.previous = undefined;
    known.candidate = before;
    this.noteReign(name, previous);
  }

  async retire(name: string, pick: number): Promise<void> {
    const known = this.views.get(name)!;
    const target = known.targets[pick % known.targets.length]!;
    const { version } = target;
    const retiring = this.store.retire(name, version, {});
    if (version === this.currentOf(name)) {
      await expect(retiring).rejects.toMatchObject({ code: 'VERSION_IN_USE' });
      return;
    }
    known.targets = known.targets.filter((each) => each !== target);
    if (known.candidate === version) known.candidate = undefined;
    if (known.previous === version) known.previous = undefined;
    await retiring;
  }

  /** From its own seq on, whatever else was changed at once. */
  private noteReign(name: string, current: string): void {
    const { reigns } = this.views.get(name)!;
    const flips = this.store.catalogue.history(name).filter(({ type }) => FLIPS.has(type));
    const { seq } = flips.at(-1)!;
    expect(seq).toBeGreaterThan(reigns.at(-1)!.seq);
    expect(seq).toBeLessThanOrEqual(this.store.snapshot);
    reigns.push({ seq, current });
    this.snapshots.push(this.store.snapshot);
  }

  private begin(name: string, version: string, dim: number): Target {
    const { targets } = this.views.get(name)!;
    const target = new Target(name, version, dim, this.store.snapshot);
    target.naive.horizon = targets[0]?.naive.horizon ?? target.naive.horizon;
    targets.push(target);
    this.adopt(target);
    return target;
  }

  /** Has the naive store ask this world who is erased. */
  adopt({ naive, view }: Target): void {
    naive.isErased = (id) => this.isErased(view, id);
  }

  async drop(name: string): Promise<void> {
    this.views.delete(name);
    await this.store.dropView(name);
  }

  changeView(name: string, settings: ViewSettings): void {
    this.store.changeView(name, settings);
    const known = this.views.get(name)!;
    const { max_age: _age, retention: _retention, ...view } = known.view;
    known.view = { ...view, ...settings };
  }

  /** Pushes the rows; what the store says of each must be what the naive model says (A4, A8). */
  async push(
    target: Target,
    rows: readonly Row[],
    { hashed = false, isAtomic = false } = {},
  ): Promise<void> {
    target.sent.push(...rows);
    const version = this.open(target);
    const wasErased = rows.map(({ id }) => target.naive.isErased(id));
    const request = { rows: batchOf(version, rows, target.dim, hashed), isAtomic };
    const commit = this.store.commit(target.view, target.version, request);
    if (isAtomic && wasErased.includes(true)) {
      await expect(commit).rejects.toMatchObject({ code: 'ENTITY_ERASED' });
      return;
    }
    const { outcomes, snapshot } = await commit;
    // In the very turn in which it is answered: a compaction may drop some of it soon after.
    const log = version.log.read(target.logRead, this.store.snapshot, 1e9);
    for (const { created } of target.take(rows, outcomes, log, wasErased)) {
      expect(created).toBeGreaterThanOrEqual(Math.max(this.lastCreated, this.clock.now));
      this.lastCreated = created;
    }
    this.snapshots.push(snapshot);
  }

  async erase(scope: ErasureScope, ids: readonly string[]): Promise<void> {
    const isBusy = this.store.maintenance.busy;
    const erasing = this.store.erase(scope, ids);
    const name = scopeName(scope);
    const before = this.erased.get(name) ?? new Set();
    this.erased.set(name, before.union(new Set(ids)));
    this.erasures.push({ scope, ids });
    for (const { naive } of this.targets()) {
      for (const id of ids) if (naive.isErased(id)) naive.erase(id);
    }
    const receipt = await erasing;
    expect(receipt.entities).toBe(new Set(ids).size);
    if (!isBusy) expect(receipt.removed_at).toBeDefined();
    this.receipts.push(receipt.id);
  }

  async lift(scope: ErasureScope, ids: readonly string[]): Promise<void> {
    await this.store.liftErasure(scope, ids);
    const name = scopeName(scope);
    this.erased.set(name, (this.erased.get(name) ?? new Set()).difference(new Set(ids)));
  }

  async advanceHorizon(name: string, asked: number): Promise<void> {
    await this.store.advanceHorizon(name, asked);
    this.takeHorizon(name, asked);
  }

  /** The view's horizon is where it must be, and the naive one follows. */
  takeHorizon(name: string, asked: number): void {
    const { targets } = this.views.get(name)!;
    const before = targets[0]!.naive.horizon;
    const moment = Math.max(before.moment, Math.min(asked, this.clock.now));
    const horizon = this.store.catalogue.mustGetView(name).horizon ?? before;
    expect(horizon.moment).toBe(moment);
    expect(horizon.seq).toBeGreaterThanOrEqual(before.seq);
    expect(horizon.seq).toBeLessThanOrEqual(this.store.snapshot);
    for (const target of targets) {
      const { naive } = target;
      naive.horizon = horizon;
      target.noteDropping();
      const isLetGo = new Set<Fact>(naive.ids().flatMap((id) => naive.letGo(id)));
      // What is let go or erased need not count.
      for (const fact of naive.ids().flatMap((id) => naive.history(id))) {
        if (fact.created > moment || isLetGo.has(fact)) continue;
        expect(horizon.seq).toBeGreaterThanOrEqual(fact.seq);
      }
    }
  }

  /** Operations at once; meanwhile nothing that was answered at a snapshot may change (A9). */
  async together(
    work: readonly (() => Promise<unknown>)[],
    glimpse: () => () => void,
  ): Promise<void> {
    const recheck: (() => void)[] = [];
    const state = { pending: true };
    const looking = (async () => {
      while (state.pending) {
        recheck.push(glimpse());
        await setImmediate();
      }
    })();
    try {
      await Promise.all(work.map(async (one) => one()));
    } finally {
      state.pending = false;
      await looking;
    }
    for (const check of recheck) check();
  }

  /** Waits for what goes on in the background. */
  async settle(): Promise<void> {
    while (this.running.size > 0) await Promise.all(this.running);
    await this.store.maintenance.run(undefined, async () => {});
  }

  /** Closes the store, and opens what is in the directory. */
  async reopen(): Promise<void> {
    await this.store.close();
    await Promise.all(this.running);
    this.goOnWith(openStore(this.directory, this.clock.read, { residentBytes: RESIDENT_BYTES }));
  }

  goOnWith(store: Store): void {
    this.store = store;
    expect(store.snapshot).toBeGreaterThanOrEqual(Math.max(...this.snapshots));
    const facts = this.targets().flatMap(({ naive }) =>
      naive.ids().flatMap((id) => naive.history(id)),
    );
    this.lastCreated = Math.max(Number.NEGATIVE_INFINITY, ...facts.map(({ created }) => created));
    for (const target of this.targets()) target.logRead = store.snapshot;
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.running);
    await this.pool.close();
    await this.store.close();
    for (const each of this.directories) rmSync(each, { recursive: true, force: true });
  }
}

function scopeName({ entity, view = '' }: ErasureScope): string {
  return `${entity}/${view}`;
}
