import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { isSystemError, systemWords } from '../ground/system-error.ts';
import type { Catalogue, FeatureView, ModelVersion, Moment, ViewChange } from './catalogue.ts';
import { DATA_FILE } from './environment.ts';
import type { ErasedSet } from './erased-set.ts';
import { formatOf, raiseFormat } from './format.ts';
import { NO_HORIZON } from './horizon.ts';
import type { Maintenance } from './maintenance.ts';
import { lastTransaction } from './meta-page.ts';
import type { ResidentMemory } from './resident-budget.ts';
import { VersionFiles } from './version-files.ts';
import { VersionStore } from './version-store.ts';
import { unavailable, type Writer } from './writer.ts';

/** The model versions of a store that are open: all that the catalogue has. */
export class Versions {
  /** Views and versions that are gone, and whose files are not yet; each ends with them. */
  private dropping = new Map<string, Promise<void>>();
  private byName = new Map<string, VersionStore>();
  private catalogue: Catalogue;
  private erased: ErasedSet;
  private memory: ResidentMemory | undefined;

  /** Opens them. Throws STORE_CORRUPT. */
  constructor(catalogue: Catalogue, erased: ErasedSet, memory: ResidentMemory | undefined) {
    this.catalogue = catalogue;
    this.memory = memory;
    this.erased = erased;
    try {
      this.openAll();
    } catch (error) {
      void this.release();
      throw error;
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

  /** `name`: of a view, or of a version (`nameOf`). */
  isDropping(name: string): boolean {
    // Names that differ in case alone are one folder on some disks.
    const folded = name.toLowerCase();
    return this.dropping.keys().some((each) => each.toLowerCase() === folded);
  }

  /** Resolves when no files are left of what had that name and is gone, or none can be unlinked. */
  async dropped(name: string): Promise<void> {
    await this.dropping.get(name)?.catch(() => {});
  }

  /**
   * Opens the versions that are new in the view, and stores the view; all of it or nothing.
   * Throws STORE_UNAVAILABLE.
   */
  add(view: FeatureView, added: readonly ModelVersion[], at: Moment, change?: ViewChange): void {
    const { catalogue } = this;
    try {
      for (const version of added) {
        // What a crash left of a creation that was never acknowledged, or of a drop.
        const folder = catalogue.folder(view.name, version.version);
        rmSync(folder, { recursive: true, force: true });
        // Before there are files: by it a start knows those that no view came to have.
        catalogue.putGeneration(view.name, version.version, {
          number: 0,
          since: at.seq,
          created: at.created,
        });
        this.erased.begin(this.open(view, version));
      }
      if (added.length > 0) raiseFormat(catalogue.directory, formatOf([view]));
      catalogue.put(view, at, change);
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
    await this.letGo([view.name], names, maintenance, writer, {
      forget: () => this.catalogue.drop(view.name, at),
      unlink: async () => {
        const before = [...this.dropping].filter(([name]) => name.startsWith(`${view.name}@`));
        await Promise.allSettled(before.map(([, done]) => done));
        await this.catalogue.finishDrop(view.name);
      },
    });
  }

  /**
   * Forgets versions of a view at once; `view`: what it is without them. Resolves when their files
   * are unlinked. Rejects with STORE_UNAVAILABLE.
   */
  async retire(
    view: FeatureView,
    gone: readonly string[],
    at: Moment,
    change: ViewChange,
    maintenance: Maintenance,
    writer: Writer,
  ): Promise<void> {
    const names = gone.map((name) => nameOf(view.name, name));
    await this.letGo(names, names, maintenance, writer, {
      forget: () => this.catalogue.retire(view, gone, at, change),
      unlink: async () => {
        for (const name of gone) await this.catalogue.finishDrop(view.name, name);
      },
    });
  }

  /** `what`: names that are not to be given again before the files are unlinked. */
  private async letGo(
    what: readonly string[],
    names: readonly string[],
    maintenance: Maintenance,
    writer: Writer,
    { forget, unlink }: { forget: () => void; unlink: () => Promise<void> },
  ): Promise<void> {
    const gone = names.flatMap((name) => this.byName.get(name) ?? []);
    // From here on it is gone: no new commit finds it, and those on their way finish first.
    try {
      forget();
    } catch (error) {
      throw unavailable(error);
    }
    for (const name of names) this.byName.delete(name);
    const closed = async (): Promise<void> => {
      try {
        await maintenance.stop(names);
        await writer.drain();
        for (const version of gone) await version.close();
        await unlink();
      } catch (error) {
        throw leftBehind(what, error);
      } finally {
        for (const name of what) this.dropping.delete(name);
      }
    };
    const done = closed();
    for (const name of what) this.dropping.set(name, done);
    await done;
  }

  /** `isSound`: all that was committed can be brought to the disk. */
  async close(isSound: boolean): Promise<void> {
    await Promise.allSettled(this.dropping.values());
    const ends: Record<string, number> = {};
    for (const [name, { environment }] of this.byName) {
      if (!isSound) break;
      await environment.flushed();
      ends[name] = lastTransaction(environment.file);
    }
    await this.release();
    if (!isSound) return;
    try {
      this.catalogue.putClosed(ends);
    } catch {
      // As after a crash, the next start cannot tell whether a file lost its end; no more than that.
    }
  }

  /** Closes them, and says nothing about it. */
  async release(): Promise<void> {
    for (const opened of this.all()) await opened.close();
  }

  private openAll(): void {
    const { catalogue } = this;
    const closed = catalogue.closed();
    for (const view of catalogue.views()) {
      for (const version of Object.values(view.versions)) {
        this.requireFiles(view.name, version.version);
        for (const path of catalogue.oldFiles(view.name, version.version)) {
          rmSync(path, { recursive: true });
        }
        const { file } = this.open(view, version).environment;
        const expected = closed?.[nameOf(view.name, version.version)];
        if (expected !== undefined) requireEnd(file, expected);
      }
    }
  }

  private open(view: FeatureView, layout: ModelVersion): VersionStore {
    const { catalogue } = this;
    const { version } = layout;
    const { number } = catalogue.generation(view.name, version);
    const folder = catalogue.folder(view.name, version, number);
    const files = new VersionFiles(folder, layout, { memory: this.memory });
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

function leftBehind(what: readonly string[], cause: unknown): TidemarkError {
  const why = isSystemError(cause) ? systemWords(cause) : String(cause);
  return new TidemarkError(
    'STORE_UNAVAILABLE',
    `${what.join(', ')} is gone, and its files could not be unlinked: ${why}; the next start does it`,
    { cause },
  );
}

/** What a file says of its own end can be damaged too: it would then be opened as it was before. */
function requireEnd(file: string, expected: number): void {
  const found = lastTransaction(file);
  if (found === expected) return;
  throw new TidemarkError(
    'STORE_CORRUPT',
    `${file} was closed after its commit ${expected}, and ends with ${found}; ` +
      'restore a backup',
  );
}

export function nameOf(view: string, version: string): string {
  return `${view}@${version}`;
}
