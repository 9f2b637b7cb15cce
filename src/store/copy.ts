import { dirname } from 'node:path';

import { Pace } from '../ground/pace.ts';
import { ChunkDraft, TOMBSTONE } from './chunk.ts';
import { requireReserve } from './folders.ts';
import type { Horizon } from './horizon.ts';
import type { PartitionKey, SourcePosition } from './keys.ts';
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
  /** Dead letters that came after `upTo`. */
  isLate: (position: SourcePosition) => boolean;
  signal: AbortSignal;
  onProgress?: (vectors: number) => void;
}

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
  const { signal } = range;
  const pace = new Pace();
  const write = async (work: () => void): Promise<void> => {
    signal.throwIfAborted();
    requireReserve(dirname(to.environment.file));
    await to.environment.commit(work);
    await pace.rest();
  };
  const { nextVectorId, lastCreated } = range.counters;
  const counters: Counters = { nextVectorId, lastCreated, revisions: 0, entities: 0 };
  const live = await copyTimelines(from, to, range, counters, write);
  await copyLog(from, to, range, live.seqs, write);
  await copyVectors(from, to, live.vectors, range, write);
  await copyInputs(from, to, live.vectors, write);
  await copyDeadLetters(from, to, range, write);
  await write(() => {
    for (const { key, next } of range.offsets) to.offsets.put(key, next);
    to.putCounters(counters);
    to.putErasedUpTo(from.erasedUpTo());
  });
  await to.environment.flushed();
  return counters;
}

type Write = (work: () => void) => Promise<void>;

/** What a copy keeps: the seqs and the vector ids of its revisions. */
interface Live {
  seqs: NumberSet;
  vectors: NumberSet;
}

async function copyTimelines(
  from: VersionFiles,
  to: VersionFiles,
  { upTo, horizon, isErased }: CopyRange,
  counters: Counters,
  write: Write,
): Promise<Live> {
  const live = { seqs: new NumberSet(), vectors: new NumberSet() };
  const draft = new ChunkDraft(256);
  const load = (id: string): void => {
    // In one go, so that no revision can move from one chunk to another meanwhile.
    from.timelines.readAll(id, draft);
    draft.keep(firstKept(draft, horizon), (at) => draft.seq(at) <= upTo);
    if (draft.count > 0) counters.entities++;
    counters.revisions += draft.count;
    for (let at = 0; at < draft.count; at++) {
      live.seqs.add(draft.seq(at));
      if (draft.vectorId(at) !== TOMBSTONE) live.vectors.add(draft.vectorId(at));
    }
  };
  let after: string | undefined;
  for (;;) {
    const page = from.timelines.ids(after, ENTITIES_PAGE);
    if (page.length === 0) return live;
    const ids = page.filter((id) => !isErased(id));
    // How much of the timeline that is loaded is written: a long one takes several commits.
    let written = 0;
    for (let next = 0; next < ids.length;) {
      await write(() => {
        for (let rows = 0; next < ids.length && rows < ROWS_PAGE;) {
          if (written === 0) load(ids[next]!);
          if (written < draft.count) {
            const reached = to.timelines.append(ids[next]!, draft, written, ROWS_PAGE);
            rows += reached - written;
            written = reached;
          }
          if (written < draft.count) continue;
          written = 0;
          next++;
        }
      });
    }
    after = page.at(-1);
  }
}

/**
 * Where in a whole timeline that what is to stay begins: with the revision in force at the horizon,
 * and those of its event time that it outranks. No question reaches these any more, but a record
 * that comes again must be known for a duplicate of one (A4), or it would undo the correction.
 */
export function firstKept(draft: ChunkDraft, { moment }: Horizon): number {
  let first = 0;
  if (moment === Number.NEGATIVE_INFINITY) return first;
  for (let at = draft.count - 1; at > 0 && first === 0; at--) {
    if (draft.event(at) <= moment && draft.known(at) <= moment && draft.created(at) <= moment) {
      first = at;
    }
  }
  while (first > 0 && draft.event(first - 1) === draft.event(first)) first--;
  return first;
}

async function copyLog(
  from: VersionFiles,
  to: VersionFiles,
  { upTo }: CopyRange,
  seqs: NumberSet,
  write: Write,
): Promise<void> {
  let after = 0;
  for (;;) {
    const changes = from.log.read(after, upTo, ROWS_PAGE);
    if (changes.length === 0) return;
    await write(() => {
      for (const change of changes) if (seqs.has(change.seq)) to.log.appendChange(change);
    });
    after = changes.at(-1)!.seq;
  }
}

async function copyVectors(
  from: VersionFiles,
  to: VersionFiles,
  ids: NumberSet,
  { onProgress }: CopyRange,
  write: Write,
): Promise<void> {
  const vector = new Uint8Array(from.vectors.vectorBytes);
  const rows = Math.max(1, Math.min(ROWS_PAGE, Math.floor(2 ** 20 / vector.byteLength)));
  let copied = 0;
  let page: number[] = [];
  const flush = async (): Promise<void> => {
    await write(() => {
      for (const id of page) {
        from.vectors.copyInto(id, vector, 0);
        to.vectors.append(id, vector);
      }
    });
    copied += page.length;
    onProgress?.(copied);
    page = [];
  };
  for (const id of ids) {
    page.push(id);
    if (page.length === rows) await flush();
  }
  await flush();
}

async function copyInputs(
  from: VersionFiles,
  to: VersionFiles,
  vectors: NumberSet,
  write: Write,
): Promise<void> {
  let after: Uint8Array | undefined;
  for (;;) {
    const page = from.inputs.page(after, ROWS_PAGE);
    if (page.length === 0) return;
    await write(() => {
      for (const { hash, vectorId } of page) {
        if (vectorId !== undefined && vectors.has(vectorId)) to.inputs.put(hash, vectorId);
      }
    });
    after = page.at(-1)!.hash;
  }
}

async function copyDeadLetters(
  from: VersionFiles,
  to: VersionFiles,
  { isLate }: CopyRange,
  write: Write,
): Promise<void> {
  let after;
  for (;;) {
    const page = from.deadLetters.list(LETTERS_PAGE, after);
    if (page.length === 0) return;
    await write(() => {
      for (const letter of page) if (!isLate(letter.position)) to.deadLetters.put(letter);
    });
    after = page.at(-1)!.position;
  }
}
