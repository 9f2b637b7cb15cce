import { dirname } from 'node:path';

import { Pace } from '../ground/pace.ts';
import { ChunkDraft, TOMBSTONE } from './chunk.ts';
import { drainedUpTo } from './drained.ts';
import { type FieldRow, keptAt } from './fields.ts';
import { requireReserve } from './folders.ts';
import type { Horizon } from './horizon.ts';
import type { FieldKey, PartitionKey, SourcePosition } from './keys.ts';
import { NumberSet } from './number-set.ts';
import type { Counters, VersionFiles } from './version-files.ts';

/** What of a model version is copied. */
export interface CopyRange {
  /** No revision above this seq; all up to it are there already. */
  upTo: number;
  /** What retention lets go stays behind. */
  horizon: Horizon;
  /** Entities that stay behind. */
  isErased: (id: string) => boolean;
  /** The offsets that belong to `upTo`. */
  offsets: readonly { key: PartitionKey; next: bigint }[];
  /** Those that belong to `upTo`. */
  counters: Pick<Counters, 'nextVectorId' | 'lastCreated'>;
  /** Dead letters and rows of fields that came after `upTo`. */
  isLate: (came: SourcePosition | FieldKey) => boolean;
  signal: AbortSignal;
  onProgress?: (vectors: number) => void;
}

/** Slices of one commit: what they write stands in memory until then. */
const COMMIT_SLICES = 32;
/** What one slice holds up the thread for. */
const SLICE_BYTES = 2 ** 19;
/** What copying a text costs beside its bytes, in bytes. */
const TEXT_MORE = 1_024;
const ENTITIES_PAGE = 64;
const ROWS_PAGE = 512;
/** Dead letters are as long as a record may be. */
const LETTERS_PAGE = 16;

/**
 * Copies what is in force in `from` into the empty `to`, vectors under their old ids and everything
 * in key order, while `from` goes on being written and read. Durable on return.
 * What is dead stays behind: revisions below the horizon, erased entities, and whatever vectors,
 * inputs and log entries nothing refers to then.
 * Throws STORE_CORRUPT for what is damaged in `from`, and the signal's reason.
 */
export async function copyVersion(
  from: VersionFiles,
  to: VersionFiles,
  range: CopyRange,
): Promise<Counters> {
  const { nextVectorId, lastCreated } = range.counters;
  const counters: Counters = { nextVectorId, lastCreated, revisions: 0, entities: 0 };
  const slices = copyAll(from, to, range, counters);
  const folder = dirname(to.environment.file);
  const pace = new Pace();
  const writeSlices = async (): Promise<boolean> => {
    for (let slice = 0; slice < COMMIT_SLICES; slice++) {
      range.signal.throwIfAborted();
      requireReserve(folder);
      if (slices.next().done === true) return true;
      await pace.rest();
    }
    return false;
  };
  // One commit for many slices, each with a turn of its own: a commit waits for the disk.
  let isDone = false;
  do isDone = await to.environment.commit(writeSlices);
  while (!isDone);
  await to.environment.flushed();
  return counters;
}

/** Does the whole of it, within commits; yields where others may have their turn. */
function* copyAll(
  from: VersionFiles,
  to: VersionFiles,
  range: CopyRange,
  counters: Counters,
): Slices {
  const live: Live = { seqs: new NumberSet(), vectors: new NumberSet() };
  yield* copyTimelines(from, to, range, counters, live);
  yield* copyLog(from, to, range, live);
  yield* copyVectors(from, to, range, live);
  yield* copyInputs(from, to, live);
  yield* copyTexts(from, to, live);
  yield* copyFields(from, to, range);
  yield* copyDeadLetters(from, to, range);
  for (const { key, next } of range.offsets) to.offsets.put(key, next);
  to.putCounters(counters);
  to.putErasedUpTo(from.erasedUpTo());
}

type Slices = Generator<void, void>;

/** What a copy keeps: the seqs and the vector ids of its revisions. */
interface Live {
  seqs: NumberSet;
  vectors: NumberSet;
}

function* copyTimelines(
  from: VersionFiles,
  to: VersionFiles,
  { upTo, horizon, isErased }: CopyRange,
  counters: Counters,
  live: Live,
): Slices {
  const draft = new ChunkDraft(256);
  const drained = drainedUpTo(from.offsets);
  let after: string | undefined;
  let rows = 0;
  for (;;) {
    const ids = from.timelines.ids(after, ENTITIES_PAGE);
    if (ids.length === 0) return;
    for (const id of ids) {
      if (isErased(id)) continue;
      // In one go, so that no revision can move from one chunk to another meanwhile.
      from.timelines.readAll(id, draft);
      draft.keep(firstKept(draft, horizon, drained), (at) => draft.seq(at) <= upTo);
      if (draft.count > 0) counters.entities++;
      counters.revisions += draft.count;
      for (let at = 0; at < draft.count; at++) {
        live.seqs.add(draft.seq(at));
        if (draft.vectorId(at) !== TOMBSTONE) live.vectors.add(draft.vectorId(at));
      }
      for (let written = 0; written < draft.count;) {
        const reached = to.timelines.append(id, draft, written, ROWS_PAGE);
        rows += reached - written;
        written = reached;
        if (rows < ROWS_PAGE) continue;
        rows = 0;
        yield;
      }
    }
    after = ids.at(-1);
    yield;
  }
}

/**
 * Where in a whole timeline that what is to stay begins: with the revision in force at the horizon,
 * and those of its event time that it outranks. No question reaches these any more, but a record
 * that comes again must be known for a duplicate of one (A4), or it would undo the correction.
 * What the sinks have not published yet, above the seq `drained`, stays until they have.
 */
export function firstKept(draft: ChunkDraft, { moment }: Horizon, drained: number): number {
  let first = 0;
  if (moment === Number.NEGATIVE_INFINITY) return first;
  for (let at = draft.count - 1; at > 0 && first === 0; at--) {
    if (draft.event(at) <= moment && draft.known(at) <= moment && draft.created(at) <= moment) {
      first = at;
    }
  }
  while (first > 0 && draft.event(first - 1) === draft.event(first)) first--;
  for (let at = 0; at < first; at++) if (draft.seq(at) > drained) return at;
  return first;
}

function* copyLog(
  from: VersionFiles,
  to: VersionFiles,
  { upTo }: CopyRange,
  { seqs }: Live,
): Slices {
  let after = 0;
  for (;;) {
    const changes = from.log.read(after, upTo, ROWS_PAGE);
    if (changes.length === 0) return;
    for (const change of changes) if (seqs.has(change.seq)) to.log.appendChange(change);
    after = changes.at(-1)!.seq;
    yield;
  }
}

function* copyVectors(
  from: VersionFiles,
  to: VersionFiles,
  { onProgress }: CopyRange,
  { vectors }: Live,
): Slices {
  const vector = new Uint8Array(from.vectors.vectorBytes);
  const page = Math.max(1, Math.min(ROWS_PAGE, Math.floor(SLICE_BYTES / vector.byteLength)));
  let copied = 0;
  for (const id of vectors) {
    from.vectors.copyVerified(id, vector, 0);
    to.vectors.append(id, vector);
    if (++copied % page !== 0) continue;
    onProgress?.(copied);
    yield;
  }
  onProgress?.(copied);
}

function* copyInputs(from: VersionFiles, to: VersionFiles, { vectors }: Live): Slices {
  let after: Uint8Array | undefined;
  for (;;) {
    const page = from.inputs.page(after, ROWS_PAGE);
    if (page.length === 0) return;
    for (const { hash, vectorId } of page) {
      if (vectorId !== undefined && vectors.has(vectorId)) to.inputs.put(hash, vectorId);
    }
    after = page.at(-1)!.hash;
    yield;
  }
}

function* copyTexts(from: VersionFiles, to: VersionFiles, { vectors }: Live): Slices {
  if (from.texts === undefined || to.texts === undefined) return;
  let bytes = 0;
  for (const id of vectors) {
    const stored = from.texts.stored(id);
    if (stored === undefined) continue;
    to.texts.put(id, stored, { append: true });
    bytes += stored.byteLength + TEXT_MORE;
    if (bytes < SLICE_BYTES) continue;
    bytes = 0;
    yield;
  }
}

function* copyFields(
  from: VersionFiles,
  to: VersionFiles,
  { horizon, isErased, isLate }: CopyRange,
): Slices {
  // Of one part of one entity.
  let part: FieldRow[] = [];
  const flush = (): void => {
    const kept = Array.from(keptAt(part.toReversed(), horizon)).toReversed();
    for (const row of kept) to.fields.put(row);
    part = [];
  };
  let rows = 0;
  for (const row of from.fields.entries(ROWS_PAGE)) {
    const [last] = part;
    if (last !== undefined && (last.entityId !== row.entityId || last.part !== row.part)) flush();
    if (!isErased(row.entityId) && !isLate(row)) part.push(row);
    if (++rows % ROWS_PAGE === 0) yield;
  }
  flush();
}

function* copyDeadLetters(from: VersionFiles, to: VersionFiles, { isLate }: CopyRange): Slices {
  let after: SourcePosition | undefined;
  for (;;) {
    const page = from.deadLetters.list(LETTERS_PAGE, after);
    if (page.length === 0) return;
    for (const letter of page) if (!isLate(letter.position)) to.deadLetters.put(letter);
    after = page.at(-1)!.position;
    yield;
  }
}
