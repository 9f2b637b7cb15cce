import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';

import { TidemarkError } from '../ground/errors.ts';
import type { Micros } from '../ground/time.ts';
import { promoted, rolledBack, withoutVersion, withVersion } from './aliases.ts';
import { backUp, type BackupProgress } from './backup.ts';
import type { CommitRequest, CommitResult } from './batch.ts';
import {
  type Audit,
  Catalogue,
  type Erasure,
  type FeatureView,
  type Following,
  type ModelVersion,
  type Moment,
  type ViewChange,
} from './catalogue.ts';
import { type Compaction, compactVersion } from './compaction.ts';
import { ErasedSet } from './erased-set.ts';
import { type ErasureScope, packHashes } from './erasures.ts';
import { type FeedPage, type FeedRange, readFeed } from './feed.ts';
import { claimDirectory, FORMAT_VERSION, writeFormat } from './format.ts';
import { NO_HORIZON } from './horizon.ts';
import { ReadOnlyReplica } from './leader.ts';
import { lockDirectory } from './lock.ts';
import { maintain, type Maintained, type MaintenanceSettings } from './maintain.ts';
import { Maintenance } from './maintenance.ts';
import { isBackup, type Manifest } from './manifest.ts';
import { Replica } from './replica.ts';
import { type ResidentMemory, residentMemory } from './resident-budget.ts';
import { abandonRestore, finishRestore } from './swap.ts';
import { upgradeDirectory } from './upgrade.ts';
import type { VersionStore } from './version-store.ts';
import { nameOf, Versions } from './versions.ts';
import { unavailable, Writer } from './writer.ts';

/** A data directory, open for reading and, as the only process, for writing. */
export interface Store {
  readonly catalogue: Catalogue;
  /** Everything at and below this seq is durable: the snapshot that reads are bounded by (A9). */
  readonly snapshot: number;
  readonly waitingRows: number;
  /** Memory that keeps what lookups have read. */
  readonly residentBytes: number;
  /** Why nothing can be written any more; undefined while all is well. */
  readonly failure: string | undefined;
  /** Why the last write was refused, as by a full disk; undefined once one has gone through. */
  readonly refusal: string | undefined;
  /** What a read replica follows, or is to follow; undefined for a store of its own. */
  readonly following: Following | undefined;
  clock(): Micros;
  /** The store of a model version of the catalogue. */
  version(view: string, version: string): VersionStore;
  /** Throws READ_ONLY_REPLICA. */
  requireLeading(): void;
  /** See `Writer.commit`. Rejects with READ_ONLY_REPLICA, as all that changes a store does. */
  commit(view: string, version: string, request: CommitRequest): Promise<CommitResult>;
  /** Adds a view that is not there, durable on return. Throws STORE_UNAVAILABLE. */
  createView(view: FeatureView): void;
  /** Adds a version that the view does not have, durable on return. Throws STORE_UNAVAILABLE. */
  addVersion(view: string, version: ModelVersion): void;
  /**
   * Has the version answer where none is named, from the next read on; nothing where it does already.
   * Resolves when a snapshot says so. Rejects with VERSION_NOT_FOUND, STORE_UNAVAILABLE, and with
   * VIEW_CONFLICT where the view is not as its gates were looked at any more.
   */
  promote(view: string, version: string, why: Promotion): Promise<void>;
  /** Has the previous version answer again, likewise. Rejects with NO_PREVIOUS, STORE_UNAVAILABLE. */
  rollBack(view: string, why: Why): Promise<void>;
  /**
   * Drops a version with all that it holds: at once for whoever asks for it. Resolves when its files
   * are unlinked. Rejects with VERSION_IN_USE for the current one.
   */
  retire(view: string, version: string, why: Why): Promise<void>;
  /** Changes the settings of a view; undefined takes one away. Durable on return. */
  changeView(view: string, settings: ViewSettings): void;
  /** Drops a view with all that it holds. */
  dropView(view: string): Promise<void>;
  /**
   * Erases entities (A8): durable on return, and removed from all databases unless a long work on
   * the files is going on, which is waited for in the background. The receipt says which.
   */
  erase(scope: ErasureScope, ids: readonly string[]): Promise<Erasure>;
  /** Lets entities come again; how many of them were erased. What was erased stays gone. */
  liftErasure(scope: ErasureScope, ids: readonly string[]): Promise<number>;
  /** When nothing that an erasure removed was left in any file of the store; undefined before. */
  compactedAt(erasure: Erasure): Micros | undefined;
  /** How many erasures something may be left of in a file. */
  readonly waitingErasures: number;
  /** Moves the view's horizon to `moment`, unless it is further on already (A10). */
  advanceHorizon(view: string, moment: number): Promise<void>;
  /** See `compactVersion`. */
  compact(
    view: string,
    version: string,
    onProgress?: (vectors: number) => void,
  ): Promise<Compaction>;
  /**
   * Copies the store as it is now into an empty or a new directory, verified; see `backUp`. It waits
   * for other long works, and they for it.
   */
  backup(
    directory: string,
    options?: { signal?: AbortSignal; onProgress?: (progress: BackupProgress) => void },
  ): Promise<Manifest>;
  /** What is due: retention, removals that a crash interrupted, and compaction. */
  maintain(settings: MaintenanceSettings): Promise<Maintained[]>;
  /** See `readFeed`: of what is durable. */
  changes(range: FeedRange): FeedPage;
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

/** What those who only read ask of a store. */
export type ReadStore = Pick<
  Store,
  'catalogue' | 'snapshot' | 'residentBytes' | 'clock' | 'version'
>;

export interface StoreOptions {
  /** Memory for what lookups have read, so that they find it again without the file; none by default. */
  residentBytes?: number;
}

export type Why = Pick<Audit, 'reason'>;

interface Promotion extends Omit<Audit, 'version'> {
  /** The view as it was when gates were looked at. */
  of?: FeatureView;
  /** When the version that is current until now may be retired; undefined: not by itself. */
  kept_until: Micros | undefined;
}

export type ViewSettings = Pick<FeatureView, 'max_age' | 'retention' | 'history'>;

/**
 * Opens the data directory, creating it where there is none, and bringing it to the format of today
 * where it has an older one.
 * Throws STORE_LOCKED, STORE_FORMAT, STORE_CORRUPT, STORE_UNAVAILABLE.
 */
export function openStore(
  directory: string,
  clock: () => Micros,
  { residentBytes = 0 }: StoreOptions = {},
): Store {
  const memory = residentBytes > 0 ? residentMemory(residentBytes) : undefined;
  try {
    return lockAndOpen(directory, clock, memory);
  } catch (error) {
    throw unopenable(directory, error);
  }
}

/** What the system refused, as an error for the caller: a full disk, or one that is read-only. */
function unopenable(directory: string, error: unknown): unknown {
  const isOfSystem =
    error instanceof Error && ('syscall' in error || ('code' in error && Number(error.code) > 0));
  if (!isOfSystem) return error;
  return new TidemarkError(
    'STORE_UNAVAILABLE',
    `the data directory ${directory} cannot be opened: ${error.message}; it must be on a disk ` +
      'that can be written to, and that has room',
    { cause: error },
  );
}

function lockAndOpen(
  directory: string,
  clock: () => Micros,
  memory: ResidentMemory | undefined,
): Store {
  if (isBackup(directory)) {
    throw new TidemarkError(
      'STORE_FORMAT',
      `${directory} is a backup, and stays as it is: restore it into a data directory`,
    );
  }
  finishRestore(directory);
  const format = claimDirectory(directory);
  const lock = lockDirectory(directory);
  try {
    abandonRestore(directory);
    if (format < FORMAT_VERSION) {
      upgradeDirectory(directory, format);
      writeFormat(directory);
    }
    return open(directory, clock, memory, () => lock.release());
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Throws STORE_CORRUPT, with nothing left open. */
function openFiles(directory: string, clock: () => Micros, memory: ResidentMemory | undefined) {
  const catalogue = new Catalogue(directory);
  let versions: Versions | undefined;
  try {
    catalogue.prepare();
    catalogue.finishDrops();
    catalogue.undoCreations();
    const erased = new ErasedSet(catalogue);
    versions = new Versions(catalogue, erased, memory);
    const files = versions.all().map((version) => version.files);
    const writer = new Writer(catalogue, files, clock);
    catalogue.putClosed(undefined);
    return { catalogue, erased, versions, writer };
  } catch (error) {
    void versions?.release();
    void catalogue.close();
    throw error;
  }
}

function open(
  directory: string,
  clock: () => Micros,
  memory: ResidentMemory | undefined,
  release: () => void,
): Store {
  const { catalogue, erased, versions, writer } = openFiles(directory, clock, memory);
  const maintenance = new Maintenance();
  const replica = new Replica({ catalogue, writer, maintenance, erased, versions });

  function refuseReplica(): void {
    const { following } = replica;
    if (following !== undefined) throw new ReadOnlyReplica(following.leader);
  }

  async function removeErased(signal: AbortSignal, only?: VersionStore): Promise<void> {
    await erased.removeAll(writer, versions.all(), signal, { ...(only && { only }) });
  }

  function hashesOf(scope: ErasureScope, ids: readonly string[]): string[] {
    return [...new Set(ids)].map((id) => erased.set.hashOf(scope, id));
  }

  /**
   * Between two commits: there all that has a smaller seq is durable, and the snapshot goes on to the
   * change with the catalogue, so that no answer tells of one without the other.
   */
  async function flip(change: () => [FeatureView, ViewChange] | undefined): Promise<void> {
    await writer.alone(async () => {
      const changed = change();
      if (changed === undefined) return;
      const at = writer.takeMoment();
      versions.add(changed[0], [], at, changed[1]);
      writer.advance(at.seq);
    });
  }

  const store: Store = {
    catalogue,
    clock,
    maintenance,
    version: (view, version) => versions.mustGet(view, version),
    get residentBytes() {
      return memory === undefined ? 0 : memory.heads.used + memory.vectors.used;
    },
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
    get waitingErasures() {
      return erased.waiting;
    },
    get following() {
      return replica.following;
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
      const at = writer.takeMoment();
      const made = Object.values(view.versions).map((each) => madeAt(each, at));
      versions.add({ ...view, versions: byVersion(made) }, made, at);
    },
    addVersion(name, added) {
      refuseReplica();
      const view = catalogue.mustGetView(name);
      const folded = added.version.toLowerCase();
      const alike = Object.keys(view.versions).find((each) => each.toLowerCase() === folded);
      if (alike !== undefined) throw isThere(nameOf(name, alike));
      if (versions.isDropping(nameOf(name, added.version))) {
        throw new TidemarkError(
          'STORE_UNAVAILABLE',
          `${nameOf(name, added.version)} is being retired: try again after a moment`,
        );
      }
      const at = writer.takeMoment();
      const made = madeAt(added, at);
      versions.add(withVersion(view, made), [made], at);
    },
    async promote(name, version, { of, kept_until, ...why }) {
      refuseReplica();
      await flip(() => {
        const view = catalogue.mustGetView(name);
        catalogue.mustGetVersion(view, version);
        if (view.aliases.current === version) return undefined;
        if (of !== undefined) requireUnchanged(of, view, version);
        const audit = { version, ...why };
        return [promoted(view, version, kept_until), { type: 'promoted', audit }];
      });
    },
    async rollBack(name, why) {
      refuseReplica();
      await flip(() => {
        const next = rolledBack(catalogue.mustGetView(name));
        const audit = { version: next.aliases.current, ...why };
        return [next, { type: 'rolled_back', audit }];
      });
    },
    async retire(name, version, why) {
      refuseReplica();
      const view = catalogue.mustGetView(name);
      catalogue.mustGetVersion(view, version);
      const next = withoutVersion(view, version);
      const at = writer.takeMoment();
      const change = { type: 'version_retired' as const, audit: { version, ...why } };
      await versions.retire(next, [version], at, change, maintenance, writer);
      erased.noteCompacted(writer);
    },
    changeView(name, settings) {
      refuseReplica();
      const before = catalogue.mustGetView(name);
      const { max_age: _age, retention: _retention, history: _history, ...view } = before;
      versions.add({ ...view, ...settings }, [], writer.takeMoment());
    },
    async dropView(name) {
      refuseReplica();
      const view = catalogue.mustGetView(name);
      await versions.drop(view, writer.takeMoment(), maintenance, writer);
      erased.noteCompacted(writer);
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
      erased.add(scope, hashes, at.seq, receipt);
      const removal = maintenance.run(undefined, async (signal) =>
        erased.removeAll(writer, versions.all(), signal, { known: { receipt, ids, before } }),
      );
      // What is erased is erased; what cannot be removed now is with the next maintenance.
      const done = removal.catch(() => {});
      if (!isBusy) await done;
      return catalogue.mustGetReceipt(receipt.id);
    },
    async liftErasure(scope, ids) {
      refuseReplica();
      const hashes = hashesOf(scope, ids);
      const work = maintenance.run(undefined, async (signal) => {
        // What is erased meanwhile is to be gone too before it may come again.
        do await removeErased(signal);
        while (versions.all().some(({ erasures }) => !erasures.settled));
        const type = 'erasure_lifted' as const;
        catalogue.putErasure({ ...writer.takeMoment(), type, scope, hashes: packHashes(hashes) });
        const lifted = hashes.filter((hash) => erased.set.has(scope, hash)).length;
        erased.set.remove(scope, hashes);
        return lifted;
      });
      return work.catch((error: unknown) => {
        throw unavailable(error);
      });
    },
    compactedAt: ({ id }) => catalogue.mustGetReceipt(id).compacted_at,
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
        versions.add({ ...view, horizon: { moment, seq } }, [], writer.takeMoment(), {
          type: 'horizon',
        });
      });
    },
    async compact(view, name, onProgress) {
      const version = versions.mustGet(view, name);
      return maintenance.run(nameOf(view, name), async (signal) => {
        await removeErased(signal, version);
        const upTo = erased.goneUpTo(version);
        const done = await compactVersion(catalogue, writer, version, upTo, signal, onProgress);
        erased.noteCompacted(writer);
        return done;
      });
    },
    async backup(target, { signal: asked, onProgress } = {}) {
      return maintenance.run(undefined, async (closing) => {
        const signal = asked === undefined ? closing : AbortSignal.any([asked, closing]);
        signal.throwIfAborted();
        await removeErased(signal);
        const source = { directory, catalogue, writer, erased, versions };
        return backUp(source, target, signal, onProgress);
      });
    },
    async maintain(settings) {
      return maintain(store, () => versions.all(), settings, {
        removeErased: async (version) =>
          maintenance.run(nameOf(version.view, version.version), async (signal) =>
            removeErased(signal, version),
          ),
        unlink: async ({ view, version }) =>
          maintenance.run(nameOf(view, version), async () => {
            if (catalogue.hasOldFiles(view, version)) await catalogue.unlinkOldFiles(view, version);
            erased.noteCompacted(writer);
          }),
      });
    },
    requireLeading: refuseReplica,
    changes: (range) =>
      readFeed(catalogue, versions.all(), {
        ...range,
        upTo: Math.min(range.upTo, writer.snapshot),
      }),
    nextMove: async () => writer.nextMove(),
    alone: async (work) => writer.alone(work),
    replica,
    async close() {
      await (closing ??= close());
    },
  };

  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    await maintenance.close();
    await writer.drain();
    await versions.close(writer.failure === undefined);
    await catalogue.close();
    release();
  }

  // What a crash interrupted; until it is done every entity that is asked about is looked up.
  const isLeft = versions.all().some(({ erasures }) => !erasures.settled);
  if (isLeft || erased.waiting > 0) {
    maintenance.run(undefined, async (signal) => removeErased(signal)).catch(() => {});
  }
  return store;
}

function madeAt(version: ModelVersion, { seq }: Moment): ModelVersion {
  return { ...version, created_seq: seq };
}

function byVersion(versions: readonly ModelVersion[]): FeatureView['versions'] {
  return Object.fromEntries(versions.map((each) => [each.version, each]));
}

/** Gates take their time, and say something of the two versions that they held against each other. */
function requireUnchanged(before: FeatureView, now: FeatureView, version: string): void {
  const isSame = [before.aliases.current, version].every(
    (name) => now.versions[name]?.created_seq === before.versions[name]?.created_seq,
  );
  if (isSame && now.aliases.current === before.aliases.current) return;
  throw new TidemarkError(
    'VIEW_CONFLICT',
    `${now.name} has changed while the gates of ${version} were looked at, and ` +
      `${now.aliases.current} is its current version now: look at them again`,
  );
}

function isThere(name: string): TidemarkError {
  return new TidemarkError('VIEW_CONFLICT', `${name} is there already: take another name`);
}
