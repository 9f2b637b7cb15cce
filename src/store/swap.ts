import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { CATALOGUE_FOLDER } from './catalogue.ts';
import { makeFolder, syncPath } from './folders.ts';
import { FORMAT_FILE, RESTORING_FOLDER } from './format.ts';
import { lockDirectory } from './lock.ts';

/*
 * A restored store takes the place of what a data directory held in steps, each of which can be
 * broken off: it is put together in one folder in there; that folder gets its last name, which
 * decides it; and what is in it moves up, after what was in its place has moved into another.
 */

const DECIDED = /^restored-(.+)$/;
/** What is replaced. Without the first of them a directory is not opened. */
export const STORE_ENTRIES = [FORMAT_FILE, CATALOGUE_FOLDER, 'views'];

/** The folder to put a restored store together in, empty. */
export function beginRestore(directory: string): string {
  const folder = join(directory, RESTORING_FOLDER);
  rmSync(folder, { recursive: true, force: true });
  makeFolder(folder);
  return folder;
}

/** Forgets a restore that was not decided. */
export function abandonRestore(directory: string): void {
  rmSync(join(directory, RESTORING_FOLDER), { recursive: true, force: true });
}

/**
 * Puts what was put together in the place of what is there; `time` is in the name of the folder that
 * keeps it. Gives that folder, if anything was there.
 */
export function decideRestore(directory: string, time: string): string | undefined {
  // What has no counterpart would stay where it is, with a store that it does not belong to.
  makeFolder(join(directory, RESTORING_FOLDER, 'views'));
  const decided = nameOf(directory, time);
  const hadAny = STORE_ENTRIES.some((name) => existsSync(join(directory, name)));
  renameSync(join(directory, RESTORING_FOLDER), join(directory, decided));
  syncPath(directory);
  moveUp(directory, decided);
  return hadAny ? join(directory, asideOf(decided)) : undefined;
}

/** Finishes a restore that was decided, where a crash came between. Throws STORE_LOCKED. */
export function finishRestore(directory: string): void {
  const decided = decidedIn(directory);
  if (decided === undefined) return;
  const lock = lockDirectory(directory);
  try {
    moveUp(directory, decided);
  } finally {
    lock.release();
  }
}

function decidedIn(directory: string): string | undefined {
  if (!existsSync(directory)) return undefined;
  return readdirSync(directory).find((name) => DECIDED.test(name));
}

/** A name whose folder for what was there before is not taken, whatever the clock says. */
function nameOf(directory: string, time: string): string {
  for (let count = 1; ; count++) {
    const name = count === 1 ? `restored-${time}` : `restored-${time}-${count}`;
    if (!existsSync(join(directory, asideOf(name)))) return name;
  }
}

function asideOf(decided: string): string {
  return decided.replace(DECIDED, 'before-restore-$1');
}

/** Idempotent: what has moved up already is not in the folder any more. */
function moveUp(directory: string, decided: string): void {
  const from = join(directory, decided);
  const aside = join(directory, asideOf(decided));
  const coming = STORE_ENTRIES.filter((name) => existsSync(join(from, name)));
  for (const name of coming) {
    const old = join(directory, name);
    if (!existsSync(old)) continue;
    mkdirSync(aside, { recursive: true });
    renameSync(old, join(aside, name));
  }
  syncPath(directory);
  for (const name of coming.toReversed()) renameSync(join(from, name), join(directory, name));
  syncPath(directory);
  rmSync(from, { recursive: true, force: true });
}
