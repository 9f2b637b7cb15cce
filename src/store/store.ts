import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import type { Micros } from '../ground/time.ts';
import type { CommitRequest, CommitResult } from './batch.ts';
import { Catalogue, type FeatureView, type ModelVersion } from './catalogue.ts';
import { DATA_FILE } from './environment.ts';
import { claimDirectory } from './format.ts';
import { lockDirectory } from './lock.ts';
import { VersionStore } from './version-store.ts';
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
  clock(): Micros;
  /** The store of a model version of the catalogue. */
  version(view: string, version: string): VersionStore;
  /** See `Writer.commit`. */
  commit(view: string, version: string, request: CommitRequest): Promise<CommitResult>;
  /** Adds a view that is not there, durable on return. Throws STORE_UNAVAILABLE. */
  createView(view: FeatureView): void;
  /** Adds a version that the view does not have, durable on return. Throws STORE_UNAVAILABLE. */
  addVersion(view: string, version: ModelVersion): void;
  /** Drops a view with all that it holds. */
  dropView(view: string): Promise<void>;
  /** Waits for what was asked, and closes. */
  close(): Promise<void>;
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
  catalogue.finishDrops();
  const stores = new Map<string, VersionStore>();

  const dropping = new Set<string>();

  function openVersion(view: string, { version, dim, dtype }: ModelVersion): void {
    stores.set(
      nameOf(view, version),
      new VersionStore(catalogue.folder(view, version), dim, dtype),
    );
  }
  for (const view of catalogue.views()) {
    for (const each of Object.values(view.versions)) {
      // Opening would make an empty one, and the view would have forgotten all that it held.
      requireFiles(catalogue.folder(view.name, each.version), nameOf(view.name, each.version));
      openVersion(view.name, each);
    }
  }
  const writer = new Writer(catalogue, [...stores.values()], clock);

  function mustGet(viewName: string, versionName: string): VersionStore {
    const found = stores.get(nameOf(viewName, versionName));
    if (found === undefined) {
      throw new TidemarkError(
        'VERSION_NOT_FOUND',
        `there is no model version ${nameOf(viewName, versionName)}`,
      );
    }
    return found;
  }

  /** Opens the versions that are new in the view, and stores the view; all of it or nothing. */
  function add(view: FeatureView, added: readonly ModelVersion[]): void {
    try {
      for (const version of added) openVersion(view.name, version);
      catalogue.put(view);
    } catch (error) {
      for (const { version } of added) {
        void stores.get(nameOf(view.name, version))?.close();
        stores.delete(nameOf(view.name, version));
      }
      throw unavailable(error);
    }
  }

  return {
    catalogue,
    clock,
    version: mustGet,
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
    async commit(viewName, versionName, request) {
      return writer.commit(mustGet(viewName, versionName), request);
    },
    createView(view) {
      if (dropping.has(view.name)) {
        throw new TidemarkError(
          'STORE_UNAVAILABLE',
          `the feature view ${view.name} is being dropped: try again after a moment`,
        );
      }
      // Names that differ in case alone are one folder on some disks.
      const folded = view.name.toLowerCase();
      const alike = catalogue.views().find(({ name }) => name.toLowerCase() === folded);
      if (alike !== undefined) throw isThere(alike.name);
      // What a crash left of a creation that was never acknowledged, or of a drop.
      rmSync(catalogue.folder(view.name), { recursive: true, force: true });
      add(view, Object.values(view.versions));
    },
    addVersion(viewName, added) {
      const view = catalogue.mustGetView(viewName);
      const folded = added.version.toLowerCase();
      const alike = Object.keys(view.versions).find((name) => name.toLowerCase() === folded);
      if (alike !== undefined) throw isThere(nameOf(viewName, alike));
      rmSync(catalogue.folder(viewName, added.version), { recursive: true, force: true });
      add({ ...view, versions: { ...view.versions, [added.version]: added } }, [added]);
    },
    async dropView(viewName) {
      const view = catalogue.mustGetView(viewName);
      const names = Object.keys(view.versions).map((name) => nameOf(viewName, name));
      const dropped = names.flatMap((name) => stores.get(name) ?? []);
      // From here on it is gone: no new commit finds it, and those on their way finish first.
      try {
        catalogue.drop(viewName);
      } catch (error) {
        throw unavailable(error);
      }
      for (const name of names) stores.delete(name);
      dropping.add(viewName);
      try {
        await writer.drain();
        for (const gone of dropped) await gone.close();
        catalogue.finishDrop(viewName);
      } finally {
        dropping.delete(viewName);
      }
    },
    async close() {
      await writer.drain();
      for (const opened of stores.values()) await opened.close();
      await catalogue.close();
      release();
    },
  };
}

function requireFiles(folder: string, name: string): void {
  if (existsSync(join(folder, DATA_FILE))) return;
  throw new TidemarkError(
    'STORE_CORRUPT',
    `${name} has lost its file: there is no ${DATA_FILE} in ${folder}; restore a backup`,
  );
}

function isThere(name: string): TidemarkError {
  return new TidemarkError('VIEW_CONFLICT', `${name} is there already: take another name`);
}

function nameOf(view: string, version: string): string {
  return `${view}@${version}`;
}
