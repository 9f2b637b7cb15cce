import { TidemarkError } from '../ground/errors.ts';
import type { Compaction } from './compaction.ts';
import { deadShare } from './dead-share.ts';
import { NO_HORIZON } from './horizon.ts';
import type { Store } from './store.ts';
import type { VersionStore } from './version-store.ts';
import { nameOf } from './versions.ts';

export interface MaintenanceSettings {
  /** Compact a version past this share of dead bytes, from 0 to 1. */
  deadShare: number;
  /** Compact what still holds erased bytes after so long, µs. */
  erasedWithin: number;
  /** Leave horizons where they are: what they pass is gone for good. */
  holdHorizons?: boolean;
}

/** What maintenance found of a model version, and did for it. */
export interface Maintained {
  feature_view: string;
  version: string;
  /** See `deadShare`; 0 where it could not be told. */
  dead_share: number;
  /** Undefined where none was due. */
  compaction?: Compaction;
  /** Why something that was due did not come about. */
  failure?: unknown;
}

/** What is done of a version whatever its shares are. */
interface Chores {
  removeErased(version: VersionStore): Promise<void>;
  /** Files that were compacted away, and could not be unlinked then. */
  unlink(version: VersionStore): Promise<void>;
}

/** A horizon moves in steps of this part of the retention: each step is kept for those who follow. */
const HORIZON_STEPS = 100;

/**
 * Removes what was erased, moves the horizons of views with retention on, and compacts the versions
 * where that is due: one that fails does not keep the others from theirs.
 */
export async function maintain(
  store: Store,
  versions: () => readonly VersionStore[],
  settings: MaintenanceSettings,
  chores: Chores,
): Promise<Maintained[]> {
  const failures = await moveHorizons(store, settings);
  const done: Maintained[] = [];
  for (const version of versions()) {
    const found: Maintained = {
      feature_view: version.view,
      version: version.version,
      dead_share: 0,
    };
    try {
      requireOpen(store, version);
      await chores.removeErased(version);
      requireOpen(store, version);
      await chores.unlink(version);
      const failure = failures.get(version.view);
      if (failure !== undefined) throw failure;
      requireOpen(store, version);
      await maintainVersion(store, version, settings, found);
    } catch (failure) {
      if (isClosing(failure)) throw failure;
      if (isGone(failure)) continue;
      found.failure = failure;
    }
    done.push(found);
  }
  return done;
}

/** Throws VERSION_NOT_FOUND where the version went while others were looked after. */
function requireOpen(store: Store, version: VersionStore): void {
  if (store.version(version.view, version.version) === version) return;
  throw new TidemarkError(
    'VERSION_NOT_FOUND',
    `the model version ${nameOf(version.view, version.version)} was made anew`,
  );
}

/** Gives what failed, by view. */
async function moveHorizons(
  store: Store,
  { holdHorizons }: MaintenanceSettings,
): Promise<Map<string, unknown>> {
  const failures = new Map<string, unknown>();
  if (store.following !== undefined || holdHorizons === true) return failures;
  for (const { name, retention, horizon = NO_HORIZON } of store.catalogue.views()) {
    if (retention === undefined) continue;
    const moment = store.clock() - retention;
    if (moment - horizon.moment < retention / HORIZON_STEPS) continue;
    try {
      await store.advanceHorizon(name, moment);
    } catch (error) {
      if (!isGone(error)) failures.set(name, error);
    }
  }
  return failures;
}

/** Writes what it finds and does into `found`. */
async function maintainVersion(
  store: Store,
  version: VersionStore,
  settings: MaintenanceSettings,
  found: Maintained,
): Promise<void> {
  const { view, version: name } = version;
  const erasedAt = erasedSince(store, version);
  const isLeft = erasedAt <= store.clock() - settings.erasedWithin;
  const isClean = erasedAt === Number.POSITIVE_INFINITY && version.horizon === NO_HORIZON;
  if (!isClean) {
    found.dead_share = await store.maintenance.run(nameOf(view, name), async (signal) =>
      deadShare(version, signal),
    );
  }
  if (isLeft || found.dead_share > settings.deadShare) {
    found.compaction = await store.compact(view, name);
  }
}

/** When the first erasure came that the version's files may hold something of; never: infinite. */
function erasedSince({ catalogue }: Store, { view, version }: VersionStore): number {
  const { entity } = catalogue.mustGetView(view);
  // Not by the receipts: those are where the erasure was asked for, and not on a replica.
  const reaching = catalogue
    .erasedAfter(catalogue.generation(view, version).since)
    .find(({ scope }) => scope.entity === entity && (scope.view ?? view) === view);
  return reaching?.created ?? Number.POSITIVE_INFINITY;
}

/** Whether the error says that a view or a version is not there any more. */
export function isGone(error: unknown): boolean {
  const code = error instanceof TidemarkError ? error.code : undefined;
  return code === 'VIEW_NOT_FOUND' || code === 'VERSION_NOT_FOUND';
}

function isClosing(error: unknown): boolean {
  return error instanceof TidemarkError && error.code === 'SHUTTING_DOWN';
}
