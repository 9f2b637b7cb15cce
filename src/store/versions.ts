import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { micros } from '../ground/time.ts';
import type { Catalogue, FeatureView, ModelVersion, Moment } from './catalogue.ts';
import { DATA_FILE } from './environment.ts';
import type { ErasedSet } from './erased-set.ts';
import { NO_HORIZON } from './horizon.ts';
import type { Maintenance } from './maintenance.ts';
import { VersionFiles } from './version-files.ts';
import { VersionStore } from './version-store.ts';
import { unavailable, type Writer } from './writer.ts';

/** The model versions of a store that are open: all that the catalogue has. */
export class Versions {
  /** Views that are gone, and whose files are not yet. */
  private dropping = new Set<string>();
  private byName = new Map<string, VersionStore>();
  private catalogue: Catalogue;
  private erased: ErasedSet;

  /** Opens them. Throws STORE_CORRUPT. */
  constructor(catalogue: Catalogue, erased: ErasedSet) {
    this.catalogue = catalogue;
    this.erased = erased;
    for (const view of catalogue.views()) {
      for (const version of Object.values(view.versions)) {
        this.requireFiles(view.name, version.version);
        catalogue.removeOldGenerations(view.name, version.version);
        this.open(view, version);
      }
    }
  }

  all(): VersionStore[] {
    return [...this.byName.values()];
  }

  /** Throws VERSION_NOT_FOUND. */
  mustGet(view: string, version: string): VersionStore {
    const found = this.byName.get(nameOf(view, version));
    if (found === undefined) {
      throw new TidemarkError(
        'VERSION_NOT_FOUND',
        `there is no model version ${nameOf(view, version)}`,
      );
    }
    return found;
  }

  isDropping(view: string): boolean {
    return this.dropping.has(view);
  }

  /**
   * Opens the versions that are new in the view, and stores the view; all of it or nothing.
   * Throws STORE_UNAVAILABLE.
   */
  add(view: FeatureView, added: readonly ModelVersion[], at: Moment | undefined): void {
    const { catalogue } = this;
    try {
      for (const version of added) {
        // What a crash left of a creation that was never acknowledged, or of a drop.
        const folder = catalogue.folder(view.name, version.version);
        rmSync(folder, { recursive: true, force: true });
        this.erased.begin(this.open(view, version));
        catalogue.putGeneration(view.name, version.version, {
          number: 0,
          since: at?.seq ?? 0,
          created: at?.created ?? micros(0),
        });
      }
      catalogue.put(view, at);
    } catch (error) {
      for (const { version } of added) {
        const name = nameOf(view.name, version);
        void this.byName.get(name)?.close();
        this.byName.delete(name);
      }
      throw unavailable(error);
    }
  }

  /** Forgets the view at once. Resolves when its files are unlinked. Rejects with STORE_UNAVAILABLE. */
  async drop(
    view: FeatureView,
    at: Moment,
    maintenance: Maintenance,
    writer: Writer,
  ): Promise<void> {
    const names = Object.keys(view.versions).map((name) => nameOf(view.name, name));
    const dropped = names.flatMap((name) => this.byName.get(name) ?? []);
    // From here on it is gone: no new commit finds it, and those on their way finish first.
    try {
      this.catalogue.drop(view.name, at);
    } catch (error) {
      throw unavailable(error);
    }
    for (const name of names) this.byName.delete(name);
    this.dropping.add(view.name);
    try {
      await maintenance.stop(view.name);
      await writer.drain();
      for (const gone of dropped) await gone.close();
      this.catalogue.finishDrop(view.name);
    } finally {
      this.dropping.delete(view.name);
    }
  }

  async close(): Promise<void> {
    for (const opened of this.all()) await opened.close();
  }

  private open(view: FeatureView, { version, dim, dtype }: ModelVersion): VersionStore {
    const { catalogue } = this;
    const { number } = catalogue.generation(view.name, version);
    const files = new VersionFiles(catalogue.folder(view.name, version, number), dim, dtype);
    const opened = new VersionStore(
      { view: view.name, version },
      files,
      () => catalogue.view(view.name)?.horizon ?? NO_HORIZON,
      this.erased.of(view, files),
    );
    this.byName.set(nameOf(view.name, version), opened);
    return opened;
  }

  /** Opening would make an empty one, and the view would have forgotten all that it held. */
  private requireFiles(view: string, version: string): void {
    const { number } = this.catalogue.generation(view, version);
    const folder = this.catalogue.folder(view, version, number);
    if (existsSync(join(folder, DATA_FILE))) return;
    throw new TidemarkError(
      'STORE_CORRUPT',
      `${nameOf(view, version)} has lost its file: there is no ${DATA_FILE} in ${folder}; ` +
        'restore a backup',
    );
  }
}

export function nameOf(view: string, version: string): string {
  return `${view}@${version}`;
}
