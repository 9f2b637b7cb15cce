import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';

import { TidemarkError } from '../ground/errors.ts';
import { type Micros, micros } from '../ground/time.ts';
import type { CommitRequest, CommitResult } from './batch.ts';
import {
  Catalogue,
  type Erasure,
  type FeatureView,
  type Following,
  type ModelVersion,
} from './catalogue.ts';
import { type Compaction, compactVersion, deadShare } from './compaction.ts';
import { ErasedSet } from './erased-set.ts';
import { type ErasureScope, packHashes } from './erasures.ts';
import { type FeedPage, readFeed } from './feed.ts';
import { claimDirectory } from './format.ts';
import { NO_HORIZON } from './horizon.ts';
import { lockDirectory } from './lock.ts';
import { Maintenance } from './maintenance.ts';
import { Replica } from './replica.ts';
import type { VersionStore } from './version-store.ts';
import { nameOf, Versions } from './versions.ts';
import { unavailable, Writer } from './writer.ts';

/** A data directory, open for reading and, as the only process, for writing. */
export interface Store {
  readonly catalogue: Catalogue;
  /** Everything at and below this seq is durable: the snapshot that reads are bounded by (A9). */
  readonly snapshot: number;
  readonly waitingRows: number;
  /** Why nothing can be written any more; undefined while all is well. */
  readonly failure: string | undefined;
  /** Why the last write was refused, as by a full disk; undefined once one has gone through. */
  readonly refusal: string | undefined;
  /** What a read replica follows; undefined for a store of its own. */
  readonly following: Following | undefined;
  clock(): Micros;
  /** The store of a model version of the catalogue. */
  version(view: string, version: string): VersionStore;
  /** See `Writer.commit`. Rejects with READ_ONLY_REPLICA, as all that changes a store does. */
  commit(view: string, version: string, request: CommitRequest): Promise<CommitResult>;
  /** Adds a view that is not there, durable on return. Throws STORE_UNAVAILABLE. */
  createView(view: FeatureView): void;
  /** Adds a version that the view does not have, durable on return. Throws STORE_UNAVAILABLE. */
  addVersion(view: string, version: ModelVersion): void;
  /** Changes the settings of a view; undefined takes one away. Durable on return. */
  changeView(view: string, settings: ViewSettings): void;
  /** Drops a view with all that it holds. */
  dropView(view: string): Promise<void>;
  /**
   * Erases entities (A8): durable on return, and removed from all databases unless a long work on
   * the files is going on, which is waited for in the background. The receipt says which.
   */
  erase(scope: ErasureScope, ids: readonly string[]): Promise<Erasure>;
  /** Lets entities come again. What was erased stays gone. */
  liftErasure(scope: ErasureScope, ids: readonly string[]): Promise<void>;
  /** Whether nothing that an erasure removed is left in any file of today, and since when. */
  compactedAt(erasure: Erasure): Micros | undefined;
  /** Moves the view's horizon to `moment`, unless it is further on already (A10). */
  advanceHorizon(view: string, moment: number): Promise<void>;
  /** See `compactVersion`. */
  compact(
    view: string,
    version: string,
    onProgress?: (vectors: number) => void,
  ): Promise<Compaction>;
  /** What is due: retention, removals that a crash interrupted, and compaction. */
  maintain(settings: MaintenanceSettings): Promise<Compaction[]>;
  /** See `readFeed`: the changes after `after` that are durable. */
  changes(after: number, limit: number): FeedPage;
  /** Resolves when more has become durable. */
  nextMove(): Promise<void>;
  /** The long works on the files: one at a time. */
  readonly maintenance: Maintenance;
  /** How this store follows another one. */
  readonly replica: Replica;
  /** Runs `work` while nothing is written and everything that was is durable. */
  alone<T>(work: () => Promise<T>): Promise<T>;
  /** Waits for what was asked, and closes. */
  close(): Promise<void>;
}

export type ViewSettings = Pick<FeatureView, 'max_age' | 'retention'>;

export interface MaintenanceSettings {
  /** Compact a version past this share of dead vectors, from 0 to 1. */
  deadShare: number;
  /** Compact what still holds erased bytes after so long, µs. */
  erasedWithin: number;
}

/**
 * Opens the data directory, creating it where there is none.
 * Throws STORE_LOCKED, STORE_FORMAT.
 */
export function openStore(directory: string, clock: () => Micros): Store {
  claimDirectory(directory);
  const lock = lockDirectory(directory);
  try {
    return open(directory, clock, () => lock.release());
  } catch (error) {
    lock.release();
    throw error;
  }
}

function open(directory: string, clock: () => Micros, release: () => void): Store {
  const catalogue = new Catalogue(directory);
  catalogue.prepare();
  catalogue.finishDrops();
  const maintenance = new Maintenance();
  const erased = new ErasedSet(catalogue);
  const versions = new Versions(catalogue, erased);
  const files = versions.all().map((version) => version.files);
  const writer = new Writer(catalogue, files, clock);

  function refuseReplica(): void {
    const following = catalogue.following();
    if (following === undefined) return;
    throw new TidemarkError(
      'READ_ONLY_REPLICA',
      `this is a read replica of ${following.leader}: write there, or promote the replica`,
    );
  }

  async function removeErased(signal: AbortSignal): Promise<void> {
    await erased.removeAll(writer, versions.all(), signal);
  }

  function hashesOf(scope: ErasureScope, ids: readonly string[]): string[] {
    return [...new Set(ids)].map((id) => erased.set.hashOf(scope, id));
  }

  const store: Store = {
    catalogue,
    clock,
    maintenance,
    version: (view, version) => versions.mustGet(view, version),
    get snapshot() {
      return writer.snapshot;
    },
    get waitingRows() {
      return writer.waitingRows;
    },
    get failure() {
      return writer.failure;
    },
    get refusal() {
      return writer.refusal;
    },
    get following() {
      return catalogue.following();
    },
    async commit(view, version, request) {
      refuseReplica();
      return writer.commit(versions.mustGet(view, version), request);
    },
    createView(view) {
      refuseReplica();
      if (versions.isDropping(view.name)) {
        throw new TidemarkError(
          'STORE_UNAVAILABLE',
          `the feature view ${view.name} is being dropped: try again after a moment`,
        );
      }
      // Names that differ in case alone are one folder on some disks.
      const folded = view.name.toLowerCase();
      const alike = catalogue.views().find(({ name }) => name.toLowerCase() === folded);
      if (alike !== undefined) throw isThere(alike.name);
      rmSync(catalogue.folder(view.name), { recursive: true, force: true });
      versions.add(view, Object.values(view.versions), writer.takeMoment());
    },
    addVersion(name, added) {
      refuseReplica();
      const view = catalogue.mustGetView(name);
      const folded = added.version.toLowerCase();
      const alike = Object.keys(view.versions).find((each) => each.toLowerCase() === folded);
      if (alike !== undefined) throw isThere(nameOf(name, alike));
      const withIt = { ...view, versions: { ...view.versions, [added.version]: added } };
      versions.add(withIt, [added], writer.takeMoment());
    },
    changeView(name, settings) {
      refuseReplica();
      const { max_age: _age, retention: _retention, ...view } = catalogue.mustGetView(name);
      versions.add({ ...view, ...settings }, [], writer.takeMoment());
    },
    async dropView(name) {
      refuseReplica();
      const view = catalogue.mustGetView(name);
      await versions.drop(view, writer.takeMoment(), maintenance, writer);
    },
    async erase(scope, ids) {
      refuseReplica();
      const isBusy = maintenance.busy;
      const hashes = hashesOf(scope, ids);
      const at = writer.takeMoment();
      const receipt: Erasure = {
        id: randomUUID(),
        scope,
        entities: hashes.length,
        seq: at.seq,
        erased_at: at.created,
      };
      const before = erased.last;
      try {
        const event = { ...at, type: 'erased' as const, scope, hashes: packHashes(hashes) };
        catalogue.putErasure(event, receipt);
      } catch (error) {
        throw unavailable(error);
      }
      erased.add(scope, hashes, at.seq);
      const removal = maintenance.run(undefined, async (signal) =>
        erased.removeAll(writer, versions.all(), signal, { receipt, ids, before }),
      );
      // What is erased is erased; what cannot be removed now is with the next maintenance.
      const done = removal.catch(() => {});
      if (!isBusy) await done;
      return catalogue.mustGetReceipt(receipt.id);
    },
    async liftErasure(scope, ids) {
      refuseReplica();
      const hashes = hashesOf(scope, ids);
      await maintenance.run(undefined, async (signal) => {
        await removeErased(signal);
        const type = 'erasure_lifted' as const;
        catalogue.putErasure({ ...writer.takeMoment(), type, scope, hashes: packHashes(hashes) });
        erased.set.remove(scope, hashes);
      });
    },
    compactedAt({ scope, seq, erased_at, removed_at }) {
      if (removed_at === undefined) return undefined;
      const generations = catalogue.generationsIn(scope);
      if (generations.some(({ since }) => since < seq)) return undefined;
      return micros(Math.max(erased_at, ...generations.map(({ created }) => created)));
    },
    async advanceHorizon(name, asked) {
      refuseReplica();
      await writer.alone(async () => {
        const view = catalogue.mustGetView(name);
        const moment = Math.min(asked, clock());
        const before = view.horizon ?? NO_HORIZON;
        if (moment <= before.moment) return;
        writer.closeCreated(moment);
        const logs = Object.keys(view.versions).map((each) => versions.mustGet(name, each).log);
        const seq = Math.max(before.seq, ...logs.map((log) => log.lastCreatedBy(moment)));
        catalogue.put({ ...view, horizon: { moment, seq } }, writer.takeMoment(), 'horizon');
      });
    },
    async compact(view, name, onProgress) {
      const version = versions.mustGet(view, name);
      return maintenance.run(view, async (signal) => {
        await removeErased(signal);
        return compactVersion(catalogue, writer, version, signal, onProgress);
      });
    },
    async maintain(settings) {
      await maintenance.run(undefined, removeErased);
      for (const { name, retention } of catalogue.views()) {
        if (retention !== undefined && store.following === undefined) {
          await store.advanceHorizon(name, clock() - retention);
        }
      }
      const done: Compaction[] = [];
      for (const version of versions.all()) {
        if (await isDue(version, settings))
          done.push(await store.compact(version.view, version.version));
      }
      return done;
    },
    changes: (after, limit) => readFeed(catalogue, versions.all(), after, writer.snapshot, limit),
    nextMove: async () => writer.nextMove(),
    alone: async (work) => writer.alone(work),
    replica: new Replica({ catalogue, writer, maintenance, erased, versions }),
    async close() {
      await (closing ??= close());
    },
  };

  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    await maintenance.close();
    await writer.drain();
    await versions.close();
    await catalogue.close();
    release();
  }

  /** Whether a version is to be compacted: for the share of it that is dead, or for what was erased. */
  async function isDue(
    version: VersionStore,
    { deadShare: shareMax, erasedWithin }: MaintenanceSettings,
  ): Promise<boolean> {
    const { since } = catalogue.generation(version.view, version.version);
    const { entity } = catalogue.mustGetView(version.view);
    const reaching = catalogue
      .receipts()
      .filter(({ scope, seq }) => seq > since && scope.entity === entity)
      .filter(({ scope }) => scope.view === undefined || scope.view === version.view);
    if (reaching.some(({ erased_at }) => erased_at <= clock() - erasedWithin)) return true;
    if (reaching.length === 0 && version.horizon === NO_HORIZON) return false;
    const share = maintenance.run(version.view, async (signal) => deadShare(version, signal));
    return (await share) > shareMax;
  }

  // What a crash interrupted; until it is done every entity that is asked about is looked up.
  if (versions.all().some(({ erasures }) => !erasures.settled)) {
    maintenance.run(undefined, removeErased).catch(() => {});
  }
  return store;
}

function isThere(name: string): TidemarkError {
  return new TidemarkError('VIEW_CONFLICT', `${name} is there already: take another name`);
}
