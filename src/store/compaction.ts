import { rmSync } from 'node:fs';

import { TidemarkError } from '../ground/errors.ts';
import { Pace } from '../ground/pace.ts';
import type { Catalogue, Generation } from './catalogue.ts';
import { copyVersion } from './copy.ts';
import { replay } from './replay.ts';
import { type Problem, verifyFiles } from './verify-files.ts';
import { type Counters, VersionFiles } from './version-files.ts';
import type { VersionStore } from './version-store.ts';
import type { Writer } from './writer.ts';

/** What a compaction did. Bytes are those of the file. */
export interface Compaction {
  feature_view: string;
  version: string;
  bytes_before: number;
  bytes_after: number;
  revisions_dropped: number;
  vectors_dropped: number;
  seconds: number;
}

/** Revisions to catch up with, at most, while the writer waits. */
const LAST_ROUND = 2_000;
const ROUNDS_MAX = 20;
const ROUND_ROWS = 512;

/**
 * Streams what is in force of a version into new files, vectors under their old ids; verifies these;
 * and goes on with them, while reads and writes go on. The old files are unlinked then. Until the
 * catalogue names the new ones, the old ones serve, however this ends.
 * `erasedUpTo`: the seq of an erasure up to which the version's databases hold nothing any more.
 * Throws STORE_CORRUPT for damage in the old files or the new, STORE_UNAVAILABLE for what the disk
 * refuses, and the signal's reason.
 */
export async function compactVersion(
  catalogue: Catalogue,
  writer: Writer,
  version: VersionStore,
  erasedUpTo: number,
  signal: AbortSignal,
  onProgress?: (vectors: number) => void,
): Promise<Compaction> {
  const started = performance.now();
  const { view, files: old } = version;
  const bytesBefore = old.environment.bytes();
  const number = catalogue.generation(view, version.version).number + 1;
  const folder = catalogue.folder(view, version.version, number);
  let fresh: VersionFiles | undefined;
  let dropped: Dropped;
  old.inputs.journal = [];
  old.deadLetters.journal = [];
  old.fields.journal = [];
  try {
    rmSync(folder, { recursive: true, force: true });
    const layout = catalogue.mustGetVersion(catalogue.mustGetView(view), version.version);
    fresh = new VersionFiles(folder, layout, { memory: old.memory });
    const since = Math.min(writer.snapshot, erasedUpTo);
    const parts = { catalogue, writer, version, fresh, signal };
    dropped = await copyAndSwitch(parts, { number, since }, onProgress);
  } catch (error) {
    throw givenUp(version, error);
  } finally {
    old.inputs.journal = undefined;
    old.deadLetters.journal = undefined;
    old.fields.journal = undefined;
    if (version.files !== fresh) {
      await fresh?.close();
      if (!isNamed(catalogue, version, number)) rmSync(folder, { recursive: true, force: true });
    }
  }
  await old.close();
  // What cannot be unlinked now is with the next maintenance; the version is compacted.
  await catalogue.unlinkOldFiles(view, version.version).catch(() => {});
  return {
    feature_view: view,
    version: version.version,
    bytes_before: bytesBefore,
    bytes_after: fresh.environment.bytes(),
    revisions_dropped: dropped.revisions,
    vectors_dropped: dropped.vectors,
    seconds: (performance.now() - started) / 1_000,
  };
}

/** Whether the catalogue names these files as the version's. */
function isNamed(catalogue: Catalogue, { view, version }: VersionStore, number: number): boolean {
  return catalogue.generation(view, version).number === number;
}

function givenUp(version: VersionStore, error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error;
  const why = error instanceof Error ? error.message : String(error);
  return new TidemarkError(
    'STORE_UNAVAILABLE',
    `the compaction of ${version.view}@${version.version} was given up, and its files are as they ` +
      `were: ${why}; look at the disk and try again`,
    { cause: error },
  );
}

/** How much was left behind. */
interface Dropped {
  revisions: number;
  vectors: number;
}

interface Parts {
  catalogue: Catalogue;
  writer: Writer;
  version: VersionStore;
  fresh: VersionFiles;
  signal: AbortSignal;
}

async function copyAndSwitch(
  { catalogue, writer, version, fresh, signal }: Parts,
  generation: Pick<Generation, 'number' | 'since'>,
  onProgress: ((vectors: number) => void) | undefined,
): Promise<Dropped> {
  const { view, version: name, files: old, horizon, erasures } = version;
  const upTo = writer.snapshot;
  const isErased = (id: string): boolean => !erasures.none && erasures.has(id);
  const counters = await copyVersion(old, fresh, {
    upTo,
    horizon,
    isErased,
    offsets: [],
    counters: old.counters(),
    isLate: () => false,
    signal,
    ...(onProgress && { onProgress }),
  });
  let reached = await catchUp(old, fresh, counters, upTo, writer, signal);
  await requireSound(fresh, `${view}@${name}`, signal);
  // Verifying took its time, and others wrote.
  reached = await catchUp(old, fresh, counters, reached, writer, signal);
  return writer.alone(async () => {
    signal.throwIfAborted();
    // On a replica what was stored may not count as durable yet.
    await copyChanges(old, fresh, counters, reached, Number.MAX_SAFE_INTEGER, signal);
    const before = old.counters();
    try {
      await fresh.environment.commit(() => {
        takeJournals(old, fresh, isErased);
        for (const { key, next } of old.offsets.all()) fresh.offsets.put(key, next);
        fresh.putCounters({ ...counters, nextVectorId: before.nextVectorId });
      });
      await fresh.environment.flushed();
    } catch (error) {
      // That these files are not on the disk is not about those that are written to.
      throw givenUp(version, error);
    }
    // The view may have been dropped meanwhile, and made anew.
    signal.throwIfAborted();
    const vectors = old.vectors.count() - fresh.vectors.count();
    try {
      catalogue.putGeneration(view, name, { ...generation, created: writer.now() });
    } catch (error) {
      // Which files a restart finds is open then: what went into either could be lost.
      if (isNamed(catalogue, version, generation.number)) writer.fail(error);
      throw error;
    }
    version.switchTo(fresh);
    return { revisions: before.revisions - counters.revisions, vectors };
  });
}

/** Brings over what was committed after `after`, until little is left of it. Gives up to where. */
async function catchUp(
  from: VersionFiles,
  to: VersionFiles,
  counters: Counters,
  after: number,
  writer: Writer,
  signal: AbortSignal,
): Promise<number> {
  let reached = after;
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const upTo = writer.snapshot;
    const rows = await copyChanges(from, to, counters, reached, upTo, signal);
    reached = upTo;
    if (rows < LAST_ROUND) break;
  }
  return reached;
}

/** Brings the changes with a seq in (`after`, `upTo`] over. Gives how many they were. */
async function copyChanges(
  from: VersionFiles,
  to: VersionFiles,
  counters: Counters,
  after: number,
  upTo: number,
  signal: AbortSignal,
): Promise<number> {
  const pace = new Pace();
  const vector = new Uint8Array(from.vectors.vectorBytes);
  const vectorOf = (id: number): Uint8Array => {
    from.vectors.copyVerified(id, vector, 0);
    return vector;
  };
  let rows = 0;
  for (let at = after; ;) {
    signal.throwIfAborted();
    const changes = from.log.read(at, upTo, ROUND_ROWS);
    const last = changes.at(-1);
    if (last === undefined) return rows;
    await to.environment.commit(() => {
      replay(to, counters, changes, vectorOf, (id) => from.texts?.stored(id));
      to.putCounters(counters);
    });
    rows += changes.length;
    at = last.seq;
    await pace.rest();
  }
}

/** Within a commit to `to`: what was put beside the log while the copy was made. */
function takeJournals(
  from: VersionFiles,
  to: VersionFiles,
  isErased: (id: string) => boolean,
): void {
  for (const hash of from.inputs.journal ?? []) {
    const vectorId = from.inputs.vectorId(hash);
    if (vectorId !== undefined && to.vectors.has(vectorId)) to.inputs.put(hash, vectorId);
  }
  for (const position of from.deadLetters.journal ?? []) {
    const letter = from.deadLetters.get(position);
    if (letter !== undefined) to.deadLetters.put(letter);
  }
  for (const key of from.fields.journal ?? []) {
    const row = isErased(key.entityId) ? undefined : from.fields.get(key);
    if (row !== undefined) to.fields.put(row);
  }
}

async function requireSound(
  files: VersionFiles,
  where: string,
  signal: AbortSignal,
): Promise<void> {
  const problems: Problem[] = [];
  await verifyFiles(files, (at, what) => problems.push({ where: at, what }), { signal });
  const [first] = problems;
  if (first === undefined) return;
  throw new TidemarkError(
    'STORE_CORRUPT',
    `the compacted files of ${where} are not in order (${first.where}: ${first.what}), so the old ` +
      'ones stay; run `tidemark verify`',
  );
}
