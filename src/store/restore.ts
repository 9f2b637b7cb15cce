import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { isSystemError, systemWords } from '../ground/system-error.ts';
import { formatInstant, type Micros } from '../ground/time.ts';
import { Catalogue, CATALOGUE_FOLDER, type Erasure } from './catalogue.ts';
import { DATA_FILE } from './environment.ts';
import { isWithin, makeFolder, syncPath } from './folders.ts';
import { isNobodys } from './format.ts';
import { seqGulf } from './lineage.ts';
import { LOCK_FILE, lockDirectory } from './lock.ts';
import {
  type BackupFile,
  describeFile,
  invalid,
  isBackup,
  type Manifest,
  READ_BYTES,
  readManifest,
  requireSame,
} from './manifest.ts';
import { type NewerErasures, type Older, readNewerErasures } from './newer-erasures.ts';
import { openStore } from './store.ts';
import {
  abandonRestore,
  beginRestore,
  decideRestore,
  finishRestore,
  STORE_ENTRIES,
} from './swap.ts';

export interface RestoreSettings {
  /** Take the place of the store that the directory holds; its erasures hold on. */
  replace: boolean;
  /** A data directory or a later backup of the same store, which knows what was erased since. */
  erasedFrom: string | undefined;
  /** The caller says that nothing was erased since, or that it may come back. */
  noNewerErasures: boolean;
}

export interface Restored {
  snapshot: number;
  created_timestamp: string;
  bytes: number;
  /** Erasures and lifts since the backup that hold in what was restored. */
  erasures: number;
  /** Where the store that was there before is now. */
  aside: string | undefined;
}

/**
 * Puts a backup into a data directory, checked down to the last byte, with the erasures that came
 * after it (A8). The directory holds the whole of it or, whatever happens, what it held before. From
 * the backup's snapshot on it is a store of its own.
 * Throws BACKUP_INVALID, BACKUP_REFUSED, STORE_LOCKED, STORE_CORRUPT.
 */
export async function restoreBackup(
  backup: string,
  directory: string,
  settings: RestoreSettings,
  clock: () => Micros,
  random: () => number,
  onProgress: (bytes: number, of: number) => void = () => {},
): Promise<Restored> {
  const manifest = readManifest(backup);
  requireApart(backup, directory);
  const wasThere = existsSync(directory);
  const wasLocked = existsSync(join(directory, LOCK_FILE));
  const lock = takeDirectory(directory);
  try {
    const newer = await erasuresSince(backup, manifest, directory, settings);
    const folder = beginRestore(directory);
    const bytes = await copyFiles(backup, folder, manifest.files, onProgress);
    const events = await applyErasures(folder, newer, clock);
    await goOn(folder, manifest.snapshot, newer, random);
    const time = formatInstant(clock()).replaceAll(':', '-');
    const aside = decideRestore(directory, time);
    const { snapshot, created_timestamp } = manifest;
    return { snapshot, created_timestamp, bytes, erasures: events, aside };
  } catch (error) {
    abandonRestore(directory);
    // While the lock is held: whoever comes now is refused.
    if (!wasLocked) rmSync(join(directory, LOCK_FILE), { force: true });
    if (!wasThere && readdirSync(directory).length === 0) rmdirSync(directory);
    throw error;
  } finally {
    lock.release();
  }
}

/** Makes the directory where there is none, and keeps others out. Throws STORE_UNAVAILABLE, STORE_LOCKED. */
function takeDirectory(directory: string): ReturnType<typeof lockDirectory> {
  try {
    makeFolder(directory);
    finishRestore(directory);
    return lockDirectory(directory);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new TidemarkError(
      'STORE_UNAVAILABLE',
      `the data directory ${directory} cannot be written to: ${systemWords(error)}; name one that can be`,
      { cause: error },
    );
  }
}

/** What is replaced is moved aside: a backup must not be, and a part of one cannot be. */
function requireApart(backup: string, directory: string): void {
  if (isWithin(backup, directory) || isWithin(directory, backup)) {
    throw refused(
      `the backup ${backup} and the data directory ${directory} are one, or one is in the other: ` +
        'name another data directory',
    );
  }
  if (!isBackup(directory)) return;
  throw refused(`${directory} is a backup itself, and stays as it is: name another data directory`);
}

/** What is known of the erasures after the backup. Throws where nobody knows, or may know. */
async function erasuresSince(
  backup: string,
  manifest: Manifest,
  directory: string,
  { replace, erasedFrom, noNewerErasures }: RestoreSettings,
): Promise<NewerErasures[]> {
  const isUsed = holdsStore(directory);
  if (isUsed && !replace) {
    throw refused(
      `${directory} holds a store already; with --replace the backup takes its place: what was ` +
        'erased there stays erased, and the store is kept in a folder beside',
    );
  }
  if (noNewerErasures) return [];
  if (!isUsed && erasedFrom === undefined) {
    throw refused(
      'entities that were erased after the backup would come back with it: name with --erased-from ' +
        'the data directory that it was taken from, or a later backup; or say that there are none ' +
        'with --no-newer-erasures',
    );
  }
  const older = await readOlder(backup, manifest);
  const found: NewerErasures[] = [];
  if (erasedFrom !== undefined) found.push(await readNewerErasures(erasedFrom, older, false));
  if (!isUsed) return found;
  try {
    found.push(await readNewerErasures(directory, older, true));
  } catch (error) {
    const isDamaged = error instanceof TidemarkError && error.code === 'STORE_CORRUPT';
    if (!isDamaged || found.length === 0) throw error;
  }
  return found;
}

/** Whether a store is in the directory, perhaps a damaged one. Throws for other things in there. */
function holdsStore(directory: string): boolean {
  if (STORE_ENTRIES.some((name) => existsSync(join(directory, name)))) return true;
  const others = readdirSync(directory).filter((name) => !isNobodys(name) && name !== 'models');
  if (others.length === 0) return false;
  throw refused(
    `${directory} is not empty and no data directory (there is ${others[0]}): name an empty or a new one`,
  );
}

async function readOlder(backup: string, { files, snapshot, lineage }: Manifest): Promise<Older> {
  const path = `${CATALOGUE_FOLDER}/${DATA_FILE}`;
  const expected = files.find((each) => each.path === path);
  if (expected === undefined) throw invalid(backup, `it has no ${path}`);
  requireSame(backup, expected, await describeFile(backup, path));
  const catalogue = new Catalogue(backup, 'read-only');
  const erasureKey = catalogue.erasureKey();
  await catalogue.close();
  return { snapshot, lineage, erasureKey };
}

async function copyFiles(
  backup: string,
  folder: string,
  files: readonly BackupFile[],
  onProgress: (bytes: number, of: number) => void,
): Promise<number> {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  for (const file of files) {
    await copyFile(backup, folder, file, (bytes) => onProgress((done += bytes), total));
  }
  return total;
}

/** Copies and checks in one reading; on the disk on return. Throws BACKUP_INVALID. */
async function copyFile(
  backup: string,
  folder: string,
  expected: BackupFile,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const { path } = expected;
  if (!existsSync(join(backup, path))) throw invalid(backup, `${path} is missing`);
  const to = join(folder, path);
  makeFolder(dirname(to));
  const sum = createHash('sha256');
  let bytes = 0;
  const out = await open(to, 'wx');
  try {
    for await (const chunk of createReadStream(join(backup, path), { highWaterMark: READ_BYTES })) {
      const read = chunk as Buffer;
      sum.update(read);
      await out.appendFile(read);
      bytes += read.byteLength;
      onBytes(read.byteLength);
    }
    await out.sync();
  } finally {
    await out.close();
  }
  syncPath(dirname(to));
  requireSame(backup, expected, { path, bytes, sha256: sum.digest('hex') });
}

/**
 * Has later erasures hold in a restored store. Its entities say ERASED from then on, and go when it
 * is opened; but those that may come again are to be gone before. Gives how many events there were.
 */
async function applyErasures(
  folder: string,
  newer: readonly NewerErasures[],
  clock: () => Micros,
): Promise<number> {
  // What two sources know of has one seq.
  const events = new Map(newer.flatMap((each) => each.events).map((event) => [event.seq, event]));
  const receipts = newer.flatMap((each) => each.receipts);
  const [erased, lifted] = [
    [...events.values()].filter(({ type }) => type === 'erased'),
    [...events.values()].filter(({ type }) => type !== 'erased'),
  ];
  await change(folder, (catalogue) => {
    for (const { seqReserved } of newer) catalogue.reserveSeqsSync(seqReserved);
    for (const event of erased) catalogue.putErasure(event);
    for (const receipt of receipts) catalogue.putReceipt(asNew(receipt));
  });
  if (lifted.length === 0) return events.size;
  await removeErased(folder, clock);
  await change(folder, (catalogue) => {
    for (const event of lifted) catalogue.putErasure(event);
  });
  return events.size;
}

/** The receipt of an erasure whose entities are there again, until the restored store is opened. */
function asNew({ id, scope, entities, seq, erased_at }: Erasure): Erasure {
  return { id, scope, entities, seq, erased_at };
}

async function removeErased(folder: string, clock: () => Micros): Promise<void> {
  const store = openStore(folder, clock);
  try {
    // A store that is opened begins with it.
    await store.maintenance.run(undefined, async () => {});
    for (const { name, versions } of store.catalogue.views()) {
      for (const version of Object.keys(versions)) {
        if (store.version(name, version).erasures.settled) continue;
        throw new TidemarkError(
          'STORE_UNAVAILABLE',
          `what was erased could not be removed from ${name}@${version}; look at the disk and try again`,
        );
      }
    }
  } finally {
    await store.close();
  }
  rmSync(join(folder, LOCK_FILE), { force: true });
}

/** From here on the store is not the one that it was taken from, and gives no seq that that gave. */
async function goOn(
  folder: string,
  snapshot: number,
  newer: readonly NewerErasures[],
  random: () => number,
): Promise<void> {
  await change(folder, (catalogue) => {
    const reserved = newer.map(({ seqReserved }) => seqReserved);
    catalogue.branch(snapshot, Math.max(catalogue.seqReserved(), ...reserved) + seqGulf(random));
  });
}

async function change(folder: string, work: (catalogue: Catalogue) => void): Promise<void> {
  const catalogue = new Catalogue(folder);
  try {
    work(catalogue);
  } finally {
    await catalogue.close();
  }
}

function refused(why: string): TidemarkError {
  return new TidemarkError('BACKUP_REFUSED', why);
}
