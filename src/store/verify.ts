import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { Catalogue, CATALOGUE_FOLDER, type FeatureView, type ModelVersion } from './catalogue.ts';
import { DATA_FILE, Environment } from './environment.ts';
import { checkDirectory } from './format.ts';
import { lockToRead, type ReadLock } from './lock.ts';
import { describeFile, isBackup, readManifest, requireSame } from './manifest.ts';
import { isSettled } from './meta-page.ts';
import { checkPages } from './pages.ts';
import { type Checked, type Problem, verifyFiles } from './verify-files.ts';
import { tablesOf, VersionFiles } from './version-files.ts';
import { nameOf } from './versions.ts';

export interface Verification {
  problems: Problem[];
  checked: Checked & { versions: number };
  /**
   * False while another process writes: totals and pages move, and were not compared.
   */
  counters: boolean;
}

/** Further problems are likely more of the same. */
const PROBLEMS_MAX = 1_000;

interface VerifyOptions {
  signal?: AbortSignal;
  /** Hears of each thousandth thing checked. */
  onProgress?: (done: { view: string; version: string; checked: number }) => void;
}

/**
 * Checks every page, checksum, order, reference and counter of a data directory or a backup; changes
 * nothing, and may run beside a server. A crash is settled first, as at any start.
 * Throws STORE_FORMAT where there is no data directory of this format, and the signal's reason.
 */
export async function verifyStore(
  directory: string,
  options: VerifyOptions = {},
): Promise<Verification> {
  checkDirectory(directory);
  // Nobody writes to a backup, and nothing of it is to change.
  const lock: ReadLock = isBackup(directory)
    ? { isWritten: false, isHeld: false, release: () => {} }
    : lockToRead(directory);
  const verifying = new Verifying(directory, lock, options);
  try {
    await verifying.run();
  } finally {
    lock.release();
  }
  return verifying.result;
}

class Verifying {
  readonly result: Verification;
  private directory: string;
  private lock: ReadLock;
  private options: VerifyOptions;

  constructor(directory: string, lock: ReadLock, options: VerifyOptions) {
    this.directory = directory;
    this.lock = lock;
    this.options = options;
    this.result = {
      problems: [],
      checked: {
        versions: 0,
        chunks: 0,
        revisions: 0,
        vectors: 0,
        inputs: 0,
        texts: 0,
        changes: 0,
      },
      counters: !lock.isWritten,
    };
  }

  async run(): Promise<void> {
    if (isBackup(this.directory)) await this.manifest();
    const where = 'the catalogue';
    const folder = join(this.directory, CATALOGUE_FOLDER);
    const found = await this.pages(where, folder, Catalogue.tables);
    if (found === undefined) return;
    await this.attempt(where, async () => {
      const catalogue = new Catalogue(this.directory, 'read-only');
      try {
        for (const view of catalogue.views()) {
          for (const version of Object.values(view.versions)) {
            const name = nameOf(view.name, version.version);
            await this.attempt(name, async () => this.version(catalogue, view, version));
          }
        }
      } finally {
        await catalogue.close();
      }
    });
  }

  private async version(
    catalogue: Catalogue,
    view: FeatureView,
    layout: ModelVersion,
  ): Promise<void> {
    const { version } = layout;
    const folder = catalogue.filesOf(view.name, version);
    const name = nameOf(view.name, version);
    const closed = catalogue.closed()?.[name];
    const found = await this.pages(name, folder, tablesOf(layout), closed);
    if (found === undefined) return;
    const { signal, onProgress } = this.options;
    const erased = catalogue.erasures().of(view.entity, view.name, () => false);
    const files = new VersionFiles(folder, layout, { mode: 'read-only' });
    try {
      const done = await verifyFiles(
        files,
        (where, what) => this.report(`${name}: ${where}`, what),
        {
          seqReserved: catalogue.seqReserved(),
          isMoving: this.lock.isWritten,
          // What waits for its removal may be there still.
          isErased:
            erased.none || files.erasedUpTo() < catalogue.lastErasure()
              ? undefined
              : (id) => erased.has(id),
          onProgress: (checked) => onProgress?.({ view: view.name, version, checked }),
          ...(signal && { signal }),
        },
      );
      const { checked } = this.result;
      for (const [what, count] of Object.entries(done)) checked[what as keyof Checked] += count;
      checked.versions++;
    } finally {
      await files.close();
    }
  }

  /**
   * Checks the pages of an environment's file. Undefined when there is something wrong with them:
   * then lmdb must not open it, for it would follow them wherever they lead.
   * `closed`: the transaction that it was closed at, where it was.
   */
  private async pages(
    where: string,
    folder: string,
    tables: readonly string[],
    closed?: number,
  ): Promise<'sound' | undefined> {
    const file = join(folder, DATA_FILE);
    if (!existsSync(file)) {
      this.report(where, `there is no ${DATA_FILE} in its folder ${folder}`);
      return undefined;
    }
    if (this.lock.isWritten) return 'sound';
    if (this.lock.isHeld && closed === undefined && !isSettled(file)) {
      const isOpened = await this.attempt(where, async () => new Environment(folder).close());
      if (!isOpened) return undefined;
    }
    const before = this.result.problems.length;
    if (closed !== undefined && !isSettled(file)) {
      this.report(where, 'it was closed, and would be opened as it was before its last commit');
    }
    const { transaction, tables: found } = await checkPages(
      file,
      (what) => this.report(`${where}: the pages of ${file}`, what),
      this.options.signal,
    );
    if (closed !== undefined && transaction !== closed) {
      this.report(where, `it was closed after its commit ${closed}, and ends with ${transaction}`);
    }
    const expected = tables.toSorted().join(', ');
    if (this.result.problems.length === before && found.toSorted().join(', ') !== expected) {
      this.report(where, `it has the databases ${found.join(', ')}, expected ${expected}`);
    }
    return this.result.problems.length === before ? 'sound' : undefined;
  }

  private async manifest(): Promise<void> {
    await this.attempt('the backup', async () => {
      for (const file of readManifest(this.directory).files) {
        await this.attempt(`the backup: ${file.path}`, async () =>
          requireSame(
            this.directory,
            file,
            await describeFile(this.directory, file.path, this.options.signal),
          ),
        );
      }
    });
  }

  private report(where: string, what: string): void {
    const { problems } = this.result;
    if (problems.length < PROBLEMS_MAX) problems.push({ where, what });
  }

  private async attempt(where: string, check: () => Promise<void>): Promise<boolean> {
    try {
      await check();
      return true;
    } catch (error) {
      this.options.signal?.throwIfAborted();
      const isKnown = error instanceof TidemarkError || (error as { code?: unknown }).code;
      if (!isKnown) throw error;
      this.report(where, (error as Error).message);
      return false;
    }
  }
}
