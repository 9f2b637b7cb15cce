import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import {
  Catalogue,
  CATALOGUE_FOLDER,
  type CatalogueEvent,
  type Erasure,
  type ErasureEvent,
  type Lineage,
  type Moment,
} from './catalogue.ts';
import { DATA_FILE, Environment } from './environment.ts';
import { sharedUpTo } from './lineage.ts';
import { lockToRead } from './lock.ts';
import { describeFile, isBackup, readManifest, requireSame } from './manifest.ts';
import { isSettled } from './meta-page.ts';
import { checkPages } from './pages.ts';
import { VersionFiles } from './version-files.ts';

/** What was erased, and lifted, after a backup was taken. */
export interface NewerErasures {
  events: (Moment & ErasureEvent)[];
  receipts: Erasure[];
  /** Seqs up to this one may have been given. */
  seqReserved: number;
}

/** The backup that the erasures are newer than. */
export interface Older {
  snapshot: number;
  lineage: Lineage;
  erasureKey: Uint8Array;
}

const EVENTS_PAGE = 256;

/**
 * Reads the erasures after the backup from the catalogue of a data directory or a later backup.
 * `isLocked`: nobody else writes there.
 * Throws STORE_CORRUPT for a catalogue that is damaged, and BACKUP_REFUSED for one of another store
 * or an earlier state, which cannot say.
 */
export async function readNewerErasures(
  directory: string,
  older: Older,
  isLocked: boolean,
): Promise<NewerErasures> {
  const file = join(directory, CATALOGUE_FOLDER, DATA_FILE);
  if (!existsSync(file)) {
    throw cannotSay(directory, `it has no catalogue (${CATALOGUE_FOLDER}/${DATA_FILE})`);
  }
  await requireWholeCatalogue(directory, file, isLocked);
  const catalogue = new Catalogue(directory, 'read-only');
  try {
    await requireLater(directory, catalogue, older);
    const events: CatalogueEvent[] = [];
    for (let after = older.snapshot; ;) {
      const page = catalogue.events(after, Number.MAX_SAFE_INTEGER, EVENTS_PAGE);
      events.push(...page);
      if (page.length < EVENTS_PAGE) break;
      after = page.at(-1)!.seq;
    }
    return {
      events: events.filter((event) => 'scope' in event),
      receipts: catalogue.receipts().filter(({ seq }) => seq > older.snapshot),
      seqReserved: catalogue.seqReserved(),
    };
  } finally {
    await catalogue.close();
  }
}

/** Damaged pages are found without lmdb, which could take the process along. */
async function requireWholeCatalogue(
  directory: string,
  file: string,
  isLocked: boolean,
): Promise<void> {
  if (isBackup(directory)) {
    const path = `${CATALOGUE_FOLDER}/${DATA_FILE}`;
    const expected = readManifest(directory).files.find((each) => each.path === path);
    if (expected !== undefined) {
      requireSame(directory, expected, await describeFile(directory, path));
    }
    return;
  }
  const lock = isLocked ? undefined : lockToRead(directory);
  try {
    // While somebody writes, pages move; and whoever writes has it open safe and sound.
    if (lock?.isWritten === true) return;
    // A crash of the machine may have left of the last commits what the next start takes back.
    const isAlone = isLocked || lock?.isHeld === true;
    if (isAlone && !isSettled(file)) await new Environment(dirname(file)).close();
    const problems: string[] = [];
    const { tables } = await checkPages(file, (what) => problems.push(what));
    if (!Catalogue.tables.every((name) => tables.includes(name))) {
      problems.push('it lacks databases; start the server on it once if it is of an older format');
    }
    if (problems.length === 0) return;
    throw new TidemarkError(
      'STORE_CORRUPT',
      `the catalogue of ${directory} is damaged (${problems[0]}), so it cannot say what was erased`,
    );
  } finally {
    lock?.release();
  }
}

async function requireLater(directory: string, catalogue: Catalogue, older: Older): Promise<void> {
  if (!Buffer.from(catalogue.erasureKey()).equals(older.erasureKey)) {
    throw cannotSay(directory, 'it is another store: its erasures have another key');
  }
  const { snapshot, lineage } = older;
  const shared = sharedUpTo(lineage, catalogue.lineage());
  if (shared < snapshot) {
    throw cannotSay(
      directory,
      `it shares its past with the backup up to snapshot ${shared} alone, and the backup is of ${snapshot}`,
    );
  }
  const reached = knownReached(directory, catalogue);
  if (reached >= snapshot) return;
  const isFixed = isBackup(directory) || catalogue.following() !== undefined;
  const last = isFixed ? reached : Math.max(reached, await lastRevision(catalogue));
  if (last >= snapshot) return;
  throw cannotSay(
    directory,
    `it is of snapshot ${last}, before the backup, which is of ${snapshot}; ` +
      'where nothing was erased since, say so with --no-newer-erasures',
  );
}

/** How far the directory has come for sure, as its catalogue has it. Seqs that are reserved prove nothing. */
function knownReached(directory: string, catalogue: Catalogue): number {
  if (isBackup(directory)) return readManifest(directory).snapshot;
  const following = catalogue.following();
  // Its events run ahead of its revisions, and the erasures of before them are all there.
  if (following !== undefined) return following.applied;
  const begun = catalogue.lineage().parents.at(-1);
  return Math.max(catalogue.backedUp(), catalogue.lastEvent(), begun?.from ?? begun?.up_to ?? 0);
}

/** The seq of the last revision in the files that can be read; 0 when there is none. */
async function lastRevision(catalogue: Catalogue): Promise<number> {
  let last = 0;
  for (const { name, versions } of catalogue.views()) {
    for (const version of Object.values(versions)) {
      try {
        const folder = catalogue.filesOf(name, version.version);
        const files = new VersionFiles(folder, version, { mode: 'read-only' });
        last = Math.max(last, files.log.lastSeq());
        await files.close();
      } catch {
        // What is damaged or gone says nothing; the catalogue is whole, and knows what was erased.
      }
    }
  }
  return last;
}

function cannotSay(directory: string, why: string): TidemarkError {
  return new TidemarkError(
    'BACKUP_REFUSED',
    `${directory} cannot say what was erased since the backup: ${why}`,
  );
}
