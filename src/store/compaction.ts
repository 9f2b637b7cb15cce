import { rmSync } from 'node:fs';

import { TidemarkError } from '../ground/errors.ts';
import { Pace } from '../ground/pace.ts';
import type { Catalogue } from './catalogue.ts';
import { ChunkDraft, TOMBSTONE } from './chunk.ts';
import { copyVersion, firstKept } from './copy.ts';
import { NumberSet } from './number-set.ts';
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
 * Throws STORE_CORRUPT for damage in the old files or the new, and the signal's reason.
 */
export async function compactVersion(
  catalogue: Catalogue,
  writer: Writer,
  version: VersionStore,
  signal: AbortSignal,
  onProgress?: (vectors: number) => void,
): Promise<Compaction> {
  const started = performance.now();
  const { view, files: old } = version;
  const { dim, dtype } = catalogue.mustGetVersion(catalogue.mustGetView(view), version.version);
  const before = catalogue.generation(view, version.version);
  const number = before.number + 1;
  const folder = catalogue.folder(view, version.version, number);
  rmSync(folder, { recursive: true, force: true });
  const fresh = new VersionFiles(folder, dim, dtype);
  const bytesBefore = old.environment.bytes();
  const vectorsBefore = old.vectors.count();
  const since = writer.snapshot;
  const horizon = version.horizon;
  old.inputs.journal = [];
  old.deadLetters.journal = [];
  let isSwitched = false;
  try {
    const counters = await copyVersion(old, fresh, {
      upTo: since,
      horizon,
      isErased: (id) => !version.erasures.none && version.erasures.has(id),
      offsets: [],
      nextVectorId: old.counters().nextVectorId,
      signal,
      ...(onProgress && { onProgress }),
    });
    const dropped = old.counters().revisions - counters.revisions;
    let reached = since;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const upTo = writer.snapshot;
      const rows = await catchUp(old, fresh, counters, reached, upTo, signal);
      reached = upTo;
      if (rows < LAST_ROUND) break;
    }
    await requireSound(fresh, `${view}@${version.version}`, signal);
    await writer.alone(async () => {
      signal.throwIfAborted();
      await catchUp(old, fresh, counters, reached, writer.snapshot, signal);
      await fresh.environment.commit(() => {
        takeJournals(old, fresh);
        for (const { key, next } of old.offsets.all()) fresh.offsets.put(key, next);
        fresh.putCounters({ ...counters, nextVectorId: old.counters().nextVectorId });
      });
      await fresh.environment.flushed();
      // The view may have been dropped meanwhile, and made anew.
      signal.throwIfAborted();
      catalogue.putGeneration(view, version.version, { number, since, created: writer.now() });
      version.switchTo(fresh);
      isSwitched = true;
    });
    await old.close();
    catalogue.removeOldGenerations(view, version.version);
    return {
      feature_view: view,
      version: version.version,
      bytes_before: bytesBefore,
      bytes_after: fresh.environment.bytes(),
      revisions_dropped: Math.max(0, dropped),
      vectors_dropped: Math.max(0, vectorsBefore - fresh.vectors.count()),
      seconds: (performance.now() - started) / 1_000,
    };
  } finally {
    old.inputs.journal = undefined;
    old.deadLetters.journal = undefined;
    if (!isSwitched) {
      await fresh.close();
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

/** Brings what was committed after `after` over. Gives how many revisions that were. */
async function catchUp(
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
    from.vectors.copyInto(id, vector, 0);
    return vector;
  };
  let rows = 0;
  for (let at = after; ;) {
    signal.throwIfAborted();
    const changes = from.log.read(at, upTo, ROUND_ROWS);
    const last = changes.at(-1);
    if (last === undefined) return rows;
    await to.environment.commit(() => {
      replay(to, counters, changes, vectorOf);
      to.putCounters(counters);
    });
    rows += changes.length;
    at = last.seq;
    await pace.rest();
  }
}

/** Within a commit to `to`: what was put beside the log while the copy was made. */
function takeJournals(from: VersionFiles, to: VersionFiles): void {
  for (const hash of from.inputs.journal ?? []) {
    const vectorId = from.inputs.vectorId(hash);
    if (vectorId !== undefined && to.vectors.has(vectorId)) to.inputs.put(hash, vectorId);
  }
  for (const position of from.deadLetters.journal ?? []) {
    const letter = from.deadLetters.get(position);
    if (letter !== undefined) to.deadLetters.put(letter);
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

/** The share of a version's vectors that compaction would leave behind, from 0 to 1. */
export async function deadShare(version: VersionStore, signal: AbortSignal): Promise<number> {
  const pace = new Pace();
  const draft = new ChunkDraft(256);
  const live = new NumberSet();
  let after: string | undefined;
  for (;;) {
    signal.throwIfAborted();
    const ids = version.timelines.ids(after, 64);
    if (ids.length === 0) break;
    for (const id of ids) {
      version.timelines.readAll(id, draft);
      for (let at = firstKept(draft, version.horizon); at < draft.count; at++) {
        if (draft.vectorId(at) !== TOMBSTONE) live.add(draft.vectorId(at));
      }
    }
    after = ids.at(-1);
    await pace.rest();
  }
  const all = version.vectors.count();
  return all === 0 ? 0 : Math.max(0, 1 - live.size / all);
}
