import { expect } from 'vitest';

import { restoreBackup } from '../../src/store/restore.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { follow } from './following.ts';
import type { NaiveView, World } from './world.ts';

interface Backup {
  directory: string;
  snapshot: number;
  /** What a store must hold that it is restored into. */
  views: Map<string, NaiveView>;
  /** How many erasures there had been. */
  erasures: number;
}

/** The copies of a world's store: a replica that follows it, and its last backup. */
export class Copies {
  private world: World;
  private replica: { store: Store; directory: string } | undefined;
  private backup: Backup | undefined;

  constructor(world: World) {
    this.world = world;
  }

  get hasReplica(): boolean {
    return this.replica !== undefined;
  }

  get hasBackup(): boolean {
    return this.backup !== undefined;
  }

  /** Brings a second store to where the first one is. */
  async follow(pageRows: number): Promise<Store> {
    const { world } = this;
    if (this.replica === undefined) {
      const directory = world.newDirectory();
      this.replica = { directory, store: openStore(directory, world.clock.read) };
    }
    const { store } = this.replica;
    await follow(world.store, store, pageRows);
    return store;
  }

  /** The leader is lost, and its replica takes its place. */
  async promote(): Promise<void> {
    const { world } = this;
    await world.settle();
    const { store, directory } = this.replica!;
    await this.follow(100);
    await world.store.close();
    await store.replica.promote(Math.random);
    this.replica = undefined;
    this.backup = undefined;
    world.directory = directory;
    world.receipts = [];
    world.goOnWith(store);
    // It dropped nothing of what its leader compacted, and had not all that the leader had dropped.
    for (const { naive } of world.targets()) {
      naive.dropped.clear();
      for (const fact of naive.dropping()) naive.perhapsDropped.add(fact);
    }
  }

  async backUp(): Promise<void> {
    const { world } = this;
    await world.settle();
    const directory = world.newDirectory();
    const { snapshot } = await world.store.backup(directory);
    const views = new Map<string, NaiveView>();
    for (const [name, { targets, reigns, ...known }] of world.views) {
      const copies = targets.map((target) => target.copy());
      // A backup leaves behind what compaction does.
      for (const copy of copies) {
        copy.noteDropped(copy.naive.dropping());
        copy.naive.perhapsDropped.clear();
      }
      views.set(name, { ...known, targets: copies, reigns: [...reigns] });
    }
    this.backup = { directory, snapshot, views, erasures: world.erasures.length };
    world.snapshots.push(snapshot);
  }

  /** Puts the last backup in the place of the store; what was erased since stays erased (A8). */
  async restore(): Promise<void> {
    const { world } = this;
    await world.settle();
    await world.store.close();
    await this.close();
    const { directory, snapshot, views, erasures } = this.backup!;
    // What is put aside is called by the time.
    world.clock.now++;
    const settings = { replace: true, erasedFrom: undefined, noNewerErasures: false };
    const done = await restoreBackup(
      directory,
      world.directory,
      settings,
      world.clock.read,
      Math.random,
    );
    expect(done.snapshot).toBe(snapshot);
    world.views.clear();
    for (const [name, { targets, reigns, ...known }] of views) {
      const { view } = known;
      const copies = targets.map((target) => target.copy());
      for (const copy of copies) world.adopt(copy);
      for (const { scope, ids } of world.erasures.slice(erasures)) {
        if (scope.entity !== view.entity || (scope.view ?? name) !== name) continue;
        for (const { naive } of copies) for (const id of ids) naive.erase(id);
      }
      world.views.set(name, { ...known, targets: copies, reigns: [...reigns] });
    }
    world.snapshots = world.snapshots.filter((each) => each <= snapshot);
    world.goOnWith(openStore(world.directory, world.clock.read));
    world.snapshots.push(world.store.snapshot);
    await world.settle();
  }

  /** The replica is in order, too. */
  async finish(): Promise<void> {
    const { directory } = this.replica ?? {};
    await this.close();
    if (directory !== undefined) expect((await verifyStore(directory)).problems).toEqual([]);
  }

  async close(): Promise<void> {
    await this.replica?.store.close();
    this.replica = undefined;
  }
}
