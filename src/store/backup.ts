import { existsSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { Pace } from '../ground/pace.ts';
import { isSystemError, systemWords } from '../ground/system-error.ts';
import { formatInstant } from '../ground/time.ts';
import { Catalogue, CATALOGUE_FOLDER } from './catalogue.ts';
import { copyVersion } from './copy.ts';
import { type Cut, releaseCut, takeCut } from './cut.ts';
import { DATA_FILE, NotFlushed } from './environment.ts';
import type { ErasedSet } from './erased-set.ts';
import { isWithin, makeFolder, syncPath } from './folders.ts';
import { FORMAT_FILE, formatOf, writeFormat } from './format.ts';
import { refuseBelowHorizon } from './horizon.ts';
import { LOCK_FILE } from './lock.ts';
import {
  type BackupFile,
  type BackupVersion,
  describeFile,
  isBackup,
  type Manifest,
  writeManifest,
} from './manifest.ts';
import { lastTransaction } from './meta-page.ts';
import { verifyStore } from './verify.ts';
import { VersionFiles } from './version-files.ts';
import { nameOf, type Versions } from './versions.ts';
import type { Writer } from './writer.ts';

/** How far a backup is. */
export interface BackupProgress {
  view: string;
  version: string;
  /** Vectors of the version that were copied. */
  vectors: number;
}

interface Source {
  directory: string;
  catalogue: Catalogue;
  writer: Writer;
  erased: ErasedSet;
  versions: Versions;
}

const EVENTS_PAGE = 256;

/**
 * Copies the store as it is at one moment into `target`, an empty or a new directory, while it goes
 * on being read and written; verifies the copy, and says last that it is whole. The long works on
 * the files must not go on meanwhile: a view that is dropped is in the copy, and its files go when
 * that is done.
 * Throws BACKUP_REFUSED for a target that cannot take it, STORE_CORRUPT for damage in the store, and
 * the signal's reason; then the target is as it was.
 */
export async function backUp(
  source: Source,
  target: string,
  signal: AbortSignal,
  onProgress: (progress: BackupProgress) => void = () => {},
): Promise<Manifest> {
  const wasThere = existsSync(target);
  requireTarget(source.directory, target);
  let cut: Cut | undefined;
  try {
    makeFolder(target);
    cut = await takeCut(source.catalogue, source.writer, source.erased, source.versions);
    refuseBelowHorizon(cut.state.views, cut.snapshot, 'BACKUP_REFUSED');
    noteBackup(source.catalogue, cut.snapshot);
    const versions = await copyAll(source, cut, target, signal, onProgress);
    await requireSound(target, signal);
    const files = await describeFiles(target, versions, signal);
    const manifest: Manifest = {
      format_version: formatOf(cut.state.views),
      snapshot: cut.snapshot,
      created_timestamp: formatInstant(source.writer.now()),
      lineage: cut.state.lineage,
      files,
      versions,
    };
    writeManifest(target, manifest);
    return manifest;
  } catch (error) {
    clear(target, wasThere);
    throw asRefusal(target, error);
  } finally {
    if (cut !== undefined) releaseCut(cut);
  }
}

/** By it this directory can say later whether it knows what was erased since the backup. */
function noteBackup(catalogue: Catalogue, snapshot: number): void {
  try {
    catalogue.putBackedUp(snapshot);
  } catch {
    // A full disk is to be backed up all the same: its revisions say how far it came, too.
  }
}

/** Throws BACKUP_REFUSED. */
function requireTarget(directory: string, target: string): void {
  if (isWithin(target, directory)) {
    throw refused(target, 'it is in the data directory, which is what is backed up');
  }
  if (!existsSync(target)) return;
  let others: string[];
  try {
    others = readdirSync(target).filter((name) => name !== 'lost+found');
  } catch (error) {
    throw asRefusal(target, error);
  }
  if (others.includes(CATALOGUE_FOLDER) && !isBackup(target)) {
    throw refused(target, 'it holds a store, or a backup that was broken off: remove that first');
  }
  if (others.length > 0) throw refused(target, 'it is not empty: name an empty or a new one');
}

function refused(target: string, why: string, cause?: unknown): TidemarkError {
  return new TidemarkError('BACKUP_REFUSED', `${target} cannot take a backup: ${why}`, { cause });
}

/** What the disk says about the target, as an error for the caller. */
function asRefusal(target: string, error: unknown): unknown {
  if (error instanceof TidemarkError || !(error instanceof Error)) return error;
  const isOfDisk = error instanceof NotFlushed || 'code' in error;
  const why = isSystemError(error) ? systemWords(error) : error.message;
  return isOfDisk ? refused(target, why, error) : error;
}

/** Takes back what was begun. */
function clear(target: string, wasThere: boolean): void {
  if (!existsSync(target)) return;
  for (const name of readdirSync(target)) {
    if (name !== 'lost+found') rmSync(join(target, name), { recursive: true, force: true });
  }
  if (!wasThere) rmSync(target, { recursive: true, force: true });
}

async function copyAll(
  { catalogue: from, writer }: Source,
  { snapshot, state, versions }: Cut,
  target: string,
  signal: AbortSignal,
  onProgress: (progress: BackupProgress) => void,
): Promise<BackupVersion[]> {
  const to = new Catalogue(target);
  const ends: Record<string, number> = {};
  const done: BackupVersion[] = [];
  try {
    to.fill(state);
    await copyEvents(from, to, state.lastEvent, signal);
    // What is erased from here on is in the copy, as it is in every backup before it.
    const erased = to.erasures();
    for (const { store, files, goneUpTo, ...range } of versions) {
      const { view, version } = store;
      const { entity, versions: bound } = to.mustGetView(view);
      const ofView = erased.of(entity, view, () => false);
      const fresh = new VersionFiles(to.folder(view, version), bound[version]!);
      try {
        const { entities, revisions } = await copyVersion(files, fresh, {
          ...range,
          upTo: snapshot,
          isErased: (id) => !ofView.none && ofView.has(id),
          signal,
          onProgress: (vectors) => onProgress({ view, version, vectors }),
        });
        const vectors = fresh.vectors.count();
        done.push({ feature_view: view, version, entities, revisions, vectors });
        ends[nameOf(view, version)] = lastTransaction(fresh.environment.file);
      } finally {
        await fresh.close();
      }
      const since = Math.min(snapshot, goneUpTo);
      to.putGeneration(view, version, { number: 0, since, created: writer.now() });
    }
    to.putClosed(ends);
  } finally {
    await to.close();
  }
  writeFormat(target, formatOf(state.views));
  return done;
}

async function copyEvents(
  from: Catalogue,
  to: Catalogue,
  upTo: number,
  signal: AbortSignal,
): Promise<void> {
  const pace = new Pace();
  for (let after = 0; ;) {
    signal.throwIfAborted();
    const events = from.events(after, upTo, EVENTS_PAGE);
    if (events.length === 0) return;
    to.addEvents(events);
    after = events.at(-1)!.seq;
    await pace.rest();
  }
}

/** Brings the files to the disk, and gives what they are. */
async function describeFiles(
  target: string,
  versions: readonly BackupVersion[],
  signal: AbortSignal,
): Promise<BackupFile[]> {
  const folders = versions.map(({ feature_view, version }) => `views/${feature_view}/${version}`);
  const paths = [CATALOGUE_FOLDER, ...folders].map((folder) => `${folder}/${DATA_FILE}`);
  const files: BackupFile[] = [];
  rmSync(join(target, LOCK_FILE), { force: true });
  for (const path of [FORMAT_FILE, ...paths]) {
    // Of those who had it open.
    rmSync(join(target, `${path}-lock`), { force: true });
    syncPath(join(target, path));
    syncPath(dirname(join(target, path)));
    files.push(await describeFile(target, path, signal));
  }
  return files;
}

async function requireSound(target: string, signal: AbortSignal): Promise<void> {
  const { problems } = await verifyStore(target, { signal });
  const [first] = problems;
  if (first === undefined) return;
  throw new TidemarkError(
    'STORE_CORRUPT',
    `the copy is not in order (${first.where}: ${first.what}); run \`tidemark verify\``,
  );
}
