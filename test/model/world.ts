import { hash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

import { expect } from 'vitest';

import { TidemarkError } from '../../src/ground/errors.ts';
import { micros } from '../../src/ground/time.ts';
import { DELETED, type Outcome, RevisionBatch } from '../../src/store/batch.ts';
import type { Erasure, FeatureView } from '../../src/store/catalogue.ts';
import type { Compaction } from '../../src/store/compaction.ts';
import { vectorBytes } from '../../src/store/dtype.ts';
import type { ErasureScope } from '../../src/store/erasures.ts';
import { restoreBackup } from '../../src/store/restore.ts';
import { openStore, type Store, type ViewSettings } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import type { VersionStore } from '../../src/store/version-store.ts';
import { TestClock } from '../support/store.ts';
import { follow } from './following.ts';
import { type Fact, NaiveStore } from './naive.ts';

/** A row as the model pushes it; see `Fact`. */
export interface Row {
  id: string;
  event: number;
  known: number;
  value: number | null;
}

/** One model version: what the store must hold of it, and how far its log has been read. */
export interface Target {
  view: string;
  version: string;
  dim: number;
  naive: NaiveStore;
  /** All that was ever sent to it: any of it may be sent again. */
  sent: Row[];
  /** Compactions asked for that have not ended. */
  compacting: number;
  logRead: number;
}

interface NaiveView {
  view: FeatureView;
  targets: Target[];
}

/** A copy of the store, and what a store must hold that it is restored into. */
interface Backup {
  directory: string;
  snapshot: number;
  views: Map<string, NaiveView>;
  /** Erasures after it: they hold in what is restored (A8). */
  erasures: { scope: ErasureScope; ids: readonly string[] }[];
}

/** Entities: one id starts another one, one is as long as an id can be. */
export const IDS = ['ada', 'adamant', 'bob', 'zoë 🌊', 'l'.repeat(1_024), 'nobody'];

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
  /** Snapshots that were handed out. */
  snapshots: number[] = [0];
  store: Store;
  replica: Store | undefined;
  private directories: string[] = [];
  private directory: string;
  private replicaDirectory = '';
  private erased = new Map<string, Set<string>>();
  private lastBackup: Backup | undefined;
  private receipts: string[] = [];
  private lastCreated = Number.NEGATIVE_INFINITY;
  private running = new Set<Promise<unknown>>();
  private made = 0;

  constructor() {
    this.directory = this.newDirectory();
    this.store = openStore(this.directory, this.clock.read);
    this.createAt(0);
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

  isErased(view: string, id: string): boolean {
    const { entity } = this.views.get(view)!.view;
    return [scopeName({ entity }), scopeName({ entity, view })].some((name) =>
      this.erased.get(name)?.has(id),
    );
  }

  /** Creates one of the views, unless it is there. */
  createAt(pick: number): void {
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
    this.store.createView(view);
    this.views.set(name, { view, targets: [] });
    this.begin(name, 'v1', 2);
  }

  /** A second model version, filled with what the first one knows: its facts, with their times. */
  async backfill(name: string): Promise<void> {
    const dim = 5;
    this.store.addVersion(name, {
      version: 'v2',
      dim,
      dtype: 'float32',
      created_timestamp: micros(this.clock.now),
    });
    const [first] = this.views.get(name)!.targets;
    const target = this.begin(name, 'v2', dim);
    const rows = first!.naive
      .ids()
      .flatMap((id) =>
        first!.naive.history(id).map(({ event, known, value }) => ({ id, event, known, value })),
      );
    await this.push(target, rows);
  }

  private begin(name: string, version: string, dim: number): Target {
    const { view, targets } = this.views.get(name)!;
    const naive = new NaiveStore();
    naive.isErased = (id) => this.isErased(view.name, id);
    naive.horizon = targets[0]?.naive.horizon ?? naive.horizon;
    const target: Target = {
      view: name,
      version,
      dim,
      naive,
      sent: [],
      compacting: 0,
      logRead: this.store.snapshot,
    };
    targets.push(target);
    return target;
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
    const wasErased = rows.map(({ id }) => this.isErased(target.view, id));
    const request = { rows: batchOf(version, rows, target.dim, hashed), isAtomic };
    const commit = this.store.commit(target.view, target.version, request);
    if (isAtomic && wasErased.includes(true)) {
      await expect(commit).rejects.toMatchObject({ code: 'ENTITY_ERASED' });
      return;
    }
    // In the very turn in which it is answered: a compaction may drop some of it soon after.
    const { outcomes, snapshot } = await commit;
    this.take(target, rows, outcomes, wasErased);
    this.snapshots.push(snapshot);
  }

  private take(
    target: Target,
    rows: readonly Row[],
    outcomes: readonly Outcome[],
    wasErased: readonly boolean[],
  ): void {
    const { naive } = target;
    const log = this.open(target).log.read(target.logRead, this.store.snapshot, 1e9);
    expect(outcomes).toHaveLength(rows.length);
    rows.forEach(({ id, event, known, value }, at) => {
      const outcome = outcomes[at]!;
      const isErased = this.isErased(target.view, id);
      if (wasErased[at]) expect(outcome).toBe('erased');
      if (!isErased) {
        const isDuplicate = naive.isDuplicate(id, { event, known, value });
        if (isDuplicate !== undefined) expect(outcome === 'duplicate').toBe(isDuplicate);
      }
      if (outcome !== 'latest' && outcome !== 'history') return;
      const change = log.shift()!;
      const { seq, created } = change;
      expect(change).toMatchObject({ entityId: id, event, known });
      expect(seq).toBeGreaterThan(target.logRead);
      expect(created).toBeGreaterThanOrEqual(this.lastCreated);
      expect(created).toBeGreaterThanOrEqual(this.clock.now);
      expect(created).toBeGreaterThan(naive.horizon.moment);
      target.logRead = seq;
      this.lastCreated = created;
      // Erased on its way: stored, and removed again.
      if (isErased) return;
      expect(outcome).toBe(naive.keep(id, { event, known, created, seq, value }));
    });
    this.noteDropping(target);
  }

  /** While a compaction runs, all that retention lets go may be dropped, or not any more. */
  private noteDropping({ naive, compacting }: Target): void {
    if (compacting > 0) for (const fact of naive.dropping()) naive.perhapsDropped.add(fact);
  }

  async erase(scope: ErasureScope, ids: readonly string[]): Promise<void> {
    const isBusy = this.store.maintenance.busy;
    const erasing = this.store.erase(scope, ids);
    const name = scopeName(scope);
    const before = this.erased.get(name) ?? new Set();
    this.erased.set(name, before.union(new Set(ids)));
    for (const { naive, view } of this.targets()) {
      for (const id of ids) if (this.isErased(view, id)) naive.erase(id);
    }
    this.lastBackup?.erasures.push({ scope, ids });
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
  private takeHorizon(name: string, asked: number): void {
    const { targets } = this.views.get(name)!;
    const before = targets[0]!.naive.horizon;
    const moment = Math.max(before.moment, Math.min(asked, this.clock.now));
    const horizon = this.store.catalogue.mustGetView(name).horizon ?? before;
    expect(horizon.moment).toBe(moment);
    expect(horizon.seq).toBeGreaterThanOrEqual(before.seq);
    const reached = (facts: Fact[]) =>
      Math.max(0, ...facts.filter(({ created }) => created <= moment).map(({ seq }) => seq));
    const kept = targets.flatMap(({ naive }) => {
      const gone = new Set(naive.ids().flatMap((id) => naive.letGo(id)));
      return naive.ids().flatMap((id) => naive.history(id).filter((fact) => !gone.has(fact)));
    });
    // What was dropped or erased need not count any more.
    if (moment > before.moment) {
      expect(horizon.seq).toBeGreaterThanOrEqual(Math.max(before.seq, reached(kept)));
      expect(horizon.seq).toBeLessThanOrEqual(this.store.snapshot);
    }
    for (const target of targets) {
      target.naive.horizon = horizon;
      this.noteDropping(target);
    }
  }

  /** Begins to compact; `settle` waits for it. */
  compact(target: Target): Promise<Compaction | undefined> {
    const { naive } = target;
    const dropping = naive.dropping();
    for (const fact of dropping) naive.perhapsDropped.add(fact);
    target.compacting++;
    const work = async (): Promise<Compaction | undefined> => {
      try {
        const done = await this.store.compact(target.view, target.version);
        this.dropped(target, dropping);
        return done;
      } catch (error) {
        // The view was dropped, or the store closed, meanwhile.
        const isEnded =
          error instanceof TidemarkError &&
          ['VIEW_NOT_FOUND', 'SHUTTING_DOWN'].includes(error.code);
        if (isEnded) return undefined;
        throw error;
      } finally {
        target.compacting--;
      }
    };
    return this.run(work());
  }

  private dropped({ naive }: Target, facts: readonly Fact[]): void {
    for (const fact of facts) {
      naive.perhapsDropped.delete(fact);
      naive.dropped.add(fact);
    }
  }

  /** Compacts while nothing else goes on: what it drops is known to the last revision. */
  async compactAlone(target: Target): Promise<void> {
    await this.settle();
    const { naive } = target;
    const isExact = naive.perhapsDropped.size === 0;
    const dropping = naive.dropping().length;
    const done = await this.compact(target);
    if (isExact) expect(done).toMatchObject({ revisions_dropped: dropping });
    this.expectCounted(target);
  }

  /** The version holds just the facts that the naive model says are left. */
  private expectCounted(target: Target): void {
    const { naive } = target;
    if (naive.perhapsDropped.size > 0) return;
    const left = naive.ids().map((id) => ({
      id,
      facts: naive.history(id).filter((fact) => !naive.dropped.has(fact)).length,
    }));
    const { revisions, entities } = this.open(target).counters();
    expect({ revisions, entities }).toEqual({
      revisions: left.reduce((sum, { facts }) => sum + facts, 0),
      entities: left.filter(({ facts }) => facts > 0).length,
    });
  }

  /** Does what is due: retention, and compaction past this share of dead vectors. */
  async maintain(deadShare: number, erasedWithin: number): Promise<void> {
    await this.settle();
    const dropping = new Map<Target, Fact[]>();
    const { store } = this;
    const now = this.clock.now;
    const done = await store.maintain({ deadShare, erasedWithin });
    for (const [name, { view, targets }] of this.views) {
      if (view.retention !== undefined) this.takeHorizon(name, now - view.retention);
      for (const target of targets) dropping.set(target, target.naive.dropping());
    }
    for (const { feature_view: view, version, compaction, failure } of done) {
      expect(failure).toBeUndefined();
      if (compaction === undefined) continue;
      const target = this.targets().find((each) => each.view === view && each.version === version)!;
      this.dropped(target, dropping.get(target)!);
      this.expectCounted(target);
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

  private run<T>(work: Promise<T>): Promise<T> {
    this.running.add(work);
    // Whoever awaits it, or `settle`, hears of a failure.
    work.then(() => this.running.delete(work)).catch(() => {});
    return work;
  }

  async reopen(): Promise<void> {
    await this.store.close();
    await Promise.all(this.running);
    this.store = openStore(this.directory, this.clock.read);
    this.beginAnew();
  }

  /** What a store that was just opened goes on from. */
  private beginAnew(): void {
    expect(this.store.snapshot).toBeGreaterThanOrEqual(Math.max(...this.snapshots));
    const facts = this.targets().flatMap(({ naive }) =>
      naive.ids().flatMap((id) => naive.history(id)),
    );
    this.lastCreated = Math.max(Number.NEGATIVE_INFINITY, ...facts.map(({ created }) => created));
  }

  /** Copies the store into a directory of its own, and what it must hold. */
  async backUp(): Promise<void> {
    await this.settle();
    const directory = this.newDirectory();
    const { snapshot } = await this.store.backup(directory);
    const views = new Map(
      Array.from(this.views, ([name, { view, targets }]) => {
        const copies = targets.map((target) => {
          const naive = target.naive.copy();
          // A backup leaves behind what compaction does.
          for (const fact of naive.dropping()) naive.dropped.add(fact);
          naive.perhapsDropped.clear();
          return { ...target, naive, sent: [...target.sent] };
        });
        return [name, { view, targets: copies }];
      }),
    );
    this.lastBackup = { directory, snapshot, views, erasures: [] };
    this.snapshots.push(snapshot);
  }

  get hasBackup(): boolean {
    return this.lastBackup !== undefined;
  }

  /** Puts the last backup in the place of the store; what was erased since stays erased (A8). */
  async restore(): Promise<void> {
    await this.settle();
    await this.store.close();
    await this.replica?.close();
    this.replica = undefined;
    const { directory, snapshot, views, erasures } = this.lastBackup!;
    // What is put aside is called by the time.
    this.clock.now++;
    const settings = { replace: true, erasedFrom: undefined, noNewerErasures: false };
    const restored = await restoreBackup(directory, this.directory, settings, this.clock.read);
    expect(restored.snapshot).toBe(snapshot);
    this.store = openStore(this.directory, this.clock.read);
    await this.store.maintenance.run(undefined, async () => {});
    this.views.clear();
    for (const [name, { view, targets }] of views) {
      const copies = targets.map((target) => ({ ...target, naive: target.naive.copy() }));
      for (const { naive } of copies) {
        naive.isErased = (id) => this.isErased(name, id);
        for (const { scope, ids } of erasures) {
          if (scope.entity !== view.entity || (scope.view ?? name) !== name) continue;
          for (const id of ids) naive.erase(id);
        }
      }
      this.views.set(name, { view, targets: copies });
    }
    this.snapshots = [...this.snapshots.filter((each) => each <= snapshot), this.store.snapshot];
    this.beginAnew();
    for (const target of this.targets()) target.logRead = this.store.snapshot;
  }

  /** Brings a second store to where this one is. */
  async follow(pageRows: number): Promise<Store> {
    if (this.replica === undefined) {
      this.replicaDirectory = this.newDirectory();
      this.replica = openStore(this.replicaDirectory, this.clock.read);
    }
    await follow(this.store, this.replica, pageRows);
    return this.replica;
  }

  /** The leader is lost, and its replica takes its place. */
  async promote(): Promise<void> {
    const replica = this.replica!;
    await this.settle();
    await follow(this.store, replica, 100);
    await this.store.close();
    await replica.replica.promote();
    this.directory = this.replicaDirectory;
    this.store = replica;
    this.replica = undefined;
    this.receipts = [];
    this.lastBackup = undefined;
    this.beginAnew();
    // It dropped nothing of what its leader compacted, and had not all that the leader had dropped.
    for (const { naive } of this.targets()) {
      naive.dropped.clear();
      for (const fact of naive.dropping()) naive.perhapsDropped.add(fact);
    }
  }

  /** The end of a history: everything erased is out of the files, and these are in order. */
  async finish(): Promise<void> {
    // Its clock may have stepped back behind an erasure.
    this.clock.now += 10;
    await this.maintain(2, 0);
    for (const id of this.receipts) {
      const receipt: Erasure = this.store.catalogue.mustGetReceipt(id);
      expect(receipt.removed_at).toBeDefined();
      expect(this.store.compactedAt(receipt)).toBeDefined();
    }
    const { directory, replica } = this;
    await this.store.close();
    await replica?.close();
    for (const each of this.directories) expectSound(await verifyStore(each));
    this.store = openStore(directory, this.clock.read);
    this.replica = undefined;
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.running);
    await this.replica?.close();
    await this.store.close();
    for (const each of this.directories) rmSync(each, { recursive: true, force: true });
  }
}

function expectSound({ problems, counters }: Awaited<ReturnType<typeof verifyStore>>): void {
  expect(problems).toEqual([]);
  expect(counters).toBe(true);
}

function scopeName({ entity, view = '' }: ErasureScope): string {
  return `${entity}/${view}`;
}

/** The vector that stands for a value. */
export function vectorOf(value: number, dim: number): Float32Array {
  return Float32Array.from({ length: dim }, (_, at) => value + at / 8);
}

/** `hashed`: as the embedder sends them, an equal input taken from the pool. */
function batchOf(
  version: VersionStore,
  rows: readonly Row[],
  dim: number,
  hashed: boolean,
): RevisionBatch {
  const batch = new RevisionBatch(vectorBytes(dim, 'float32'), rows.length);
  for (const { id, event, known, value } of rows) {
    let payload = DELETED;
    if (value !== null) {
      const out = batch.nextPayload();
      const bytes = new Uint8Array(vectorOf(value, dim).buffer);
      const inputHash = hashed ? hash('sha256', `${value}`, 'buffer').subarray(0, 16) : undefined;
      if (inputHash !== undefined && version.copyPooled(inputHash, out)) {
        expect([...out]).toEqual([...bytes]);
      } else out.set(bytes);
      payload = batch.addFilled(inputHash);
    }
    batch.addRow(id, event, known, payload);
  }
  return batch;
}
