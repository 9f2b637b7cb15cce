import { rmSync } from 'node:fs';

import { TidemarkError } from '../ground/errors.ts';
import type { Micros } from '../ground/time.ts';
import type { CommitRequest, CommitResult } from './batch.ts';
import { Catalogue, type FeatureView, type ModelVersion } from './catalogue.ts';
import { claimDirectory } from './format.ts';
import { lockDirectory } from './lock.ts';
import { VersionStore } from './version-store.ts';
import { Writer } from './writer.ts';

/** A data directory, open for reading and, as the only process, for writing. */
export interface Store {
  readonly catalogue: Catalogue;
  /** Everything at and below this seq is durable: the snapshot that reads are bounded by (A9). */
  readonly snapshot: number;
  readonly waitingRows: number;
  /** Why nothing can be written any more; undefined while all is well. */
  readonly failure: string | undefined;
  clock(): Micros;
  /** The store of a model version of the catalogue. */
  version(view: string, version: string): VersionStore;
  /** See `Writer.commit`. */
  commit(view: string, version: string, request: CommitRequest): Promise<CommitResult>;
  /** Adds a view with one version, durable on return. */
  createView(view: FeatureView): void;
  /** Adds a version to a view, durable on return. */
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

  function openVersion(view: string, { version, dim, dtype }: ModelVersion): void {
    stores.set(
      nameOf(view, version),
      new VersionStore(catalogue.folder(view, version), dim, dtype),
    );
  }
  for (const view of catalogue.views()) {
    for (const each of Object.values(view.versions)) openVersion(view.name, each);
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
    async commit(viewName, versionName, request) {
      return writer.commit(mustGet(viewName, versionName), request);
    },
    createView(view) {
      for (const added of Object.values(view.versions)) {
        // What a crash left of a creation that was never acknowledged.
        rmSync(catalogue.folder(view.name, added.version), { recursive: true, force: true });
        openVersion(view.name, added);
      }
      catalogue.put(view);
    },
    addVersion(viewName, added) {
      const view = catalogue.mustGetView(viewName);
      rmSync(catalogue.folder(viewName, added.version), { recursive: true, force: true });
      openVersion(viewName, added);
      catalogue.put({ ...view, versions: { ...view.versions, [added.version]: added } });
    },
    async dropView(viewName) {
      const view = catalogue.mustGetView(viewName);
      const names = Object.keys(view.versions).map((name) => nameOf(viewName, name));
      const dropped = names.flatMap((name) => stores.get(name) ?? []);
      // No new commit finds it; those on their way finish first.
      for (const name of names) stores.delete(name);
      await writer.drain();
      for (const gone of dropped) await gone.close();
      catalogue.drop(viewName);
    },
    async close() {
      await writer.drain();
      for (const opened of stores.values()) await opened.close();
      await catalogue.close();
      release();
    },
  };
}

function nameOf(view: string, version: string): string {
  return `${view}@${version}`;
}
