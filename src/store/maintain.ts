import { TidemarkError } from '../ground/errors.ts';
import type { Compaction } from './compaction.ts';
import { deadShare } from './dead-share.ts';
import { NO_HORIZON } from './horizon.ts';
import type { Store } from './store.ts';
import type { VersionStore } from './version-store.ts';

export interface MaintenanceSettings {
  /** Compact a version past this share of dead bytes, from 0 to 1. */
  deadShare: number;
  /** Compact what still holds erased bytes after so long, µs. */
  erasedWithin: number;
}

/** What maintenance found of a model version, and did for it. */
export interface Maintained {
  feature_view: string;
  version: string;
  /** See `deadShare`. */
  dead_share: number;
  /** Undefined where none was due. */
  compaction?: Compaction;
  /** Why one that was due did not come about. */
  failure?: unknown;
}

/**
 * Moves the horizons of views with retention on, and compacts the versions where that is due: one
 * that fails does not keep the others from theirs.
 */
export async function maintain(
  store: Store,
  versions: () => readonly VersionStore[],
  settings: MaintenanceSettings,
): Promise<Maintained[]> {
  if (store.following === undefined) {
    for (const { name, retention } of store.catalogue.views()) {
      if (retention === undefined) continue;
      await whileThere(async () => store.advanceHorizon(name, store.clock() - retention));
    }
  }
  const done: Maintained[] = [];
  for (const version of versions()) {
    const one = await whileThere(async () => maintainVersion(store, version, settings));
    if (one !== undefined) done.push(one);
  }
  return done;
}

async function maintainVersion(
  store: Store,
  version: VersionStore,
  settings: MaintenanceSettings,
): Promise<Maintained> {
  const { view, version: name } = version;
  const erasedAt = erasedSince(store, version);
  const isLeft = erasedAt <= store.clock() - settings.erasedWithin;
  const isClean = erasedAt === Number.POSITIVE_INFINITY && version.horizon === NO_HORIZON;
  const dead_share = isClean
    ? 0
    : await store.maintenance.run(view, async (signal) => deadShare(version, signal));
  const found: Maintained = { feature_view: view, version: name, dead_share };
  if (!isLeft && dead_share <= settings.deadShare) return found;
  try {
    return { ...found, compaction: await store.compact(view, name) };
  } catch (failure) {
    if (isGone(failure) || isClosing(failure)) throw failure;
    return { ...found, failure };
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

/** Undefined where the view is dropped meanwhile. */
async function whileThere<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Whether the error says that a view or a version is not there any more. */
export function isGone(error: unknown): boolean {
  const code = error instanceof TidemarkError ? error.code : undefined;
  return code === 'VIEW_NOT_FOUND' || code === 'VERSION_NOT_FOUND';
}

function isClosing(error: unknown): boolean {
  return error instanceof TidemarkError && error.code === 'SHUTTING_DOWN';
}
