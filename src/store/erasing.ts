import { Pace } from '../ground/pace.ts';
import { ChunkDraft, TOMBSTONE } from './chunk.ts';
import type { SourcePosition } from './keys.ts';
import { partsOf } from './naming.ts';
import { NumberSet } from './number-set.ts';
import type { VersionFiles } from './version-files.ts';
import type { VersionStore } from './version-store.ts';
import type { Writer } from './writer.ts';

/** What was removed of erased entities; each of them once for every model version. */
export interface Removed {
  entities: number;
  revisions: number;
  inputs: number;
  dead_letters: number;
}

/** Entities, or inputs, looked at or removed at once. */
const PAGE = 256;
/** Revisions removed at once, unless one entity has more: a commit holds up the thread. */
const REVISIONS_PAGE = 2_000;
const LOG_PAGE = 512;
/** Dead letters are as long as a record may be. */
const LETTERS_PAGE = 16;

/**
 * Removes all that a version's databases hold of its erased entities (A8): timelines, log entries,
 * fields, the inputs of their vectors with the texts that no other entity has, and dead letters that
 * name them. `ids`: the entities, where they are known; otherwise everything is asked about.
 * Idempotent: what a crash left is done again at the next start. Durable on return.
 */
export async function removeErased(
  writer: Writer,
  version: VersionStore,
  upTo: number,
  ids: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<Removed> {
  const removed: Removed = { entities: 0, revisions: 0, inputs: 0, dead_letters: 0 };
  // What was on its way when the erasure came is stored by then; nothing comes after it.
  await writer.alone(async () => {});
  const letters = await lettersOf(version, ids, signal);
  const found = ids ?? (await erasedWithTimeline(version, signal));
  const { pages, vectors } = await timelinesOf(version, found, signal);
  const inputs = await inputsOf(version, vectors, signal);
  const commit = async (work: (files: VersionFiles) => void): Promise<void> => {
    signal.throwIfAborted();
    await writer.alone(async () => {
      await version.environment.commit(() => work(version.files));
    });
  };
  // The timelines go last: a crash before leaves them to find the rest by.
  for (const page of inPages(letters)) {
    await commit(({ deadLetters }) => page.forEach((position) => deadLetters.remove(position)));
  }
  for (const page of inPages(inputs)) {
    await commit((files) => page.forEach((hash) => files.inputs.remove(hash)));
  }
  // Now that the inputs are gone, no other entity comes to point to one of these vectors.
  const texts = new OrphanedTexts(version, vectors);
  await texts.readAll(signal);
  for (const page of inPages([...texts.ids])) {
    await commit((files) => {
      // On a replica an entity may come to point to one all the same.
      while (texts.read()) continue;
      for (const id of page) if (texts.ids.has(id)) files.texts?.remove(id);
    });
  }
  // Some may have been said of an entity that has no timeline any more.
  const said =
    version.fields.count() === 0 ? [] : (ids ?? (await erasedWithFields(version, signal)));
  for (const page of inPages(said)) {
    await commit(({ fields }) => page.forEach((id) => fields.removeEntity(id)));
  }
  for (const page of pages) await commit((files) => removeTimelines(files, page, removed));
  await commit((files) => files.putErasedUpTo(upTo));
  await writer.alone(async () => version.environment.flushed());
  removed.inputs = inputs.length;
  removed.dead_letters = letters.length;
  return removed;
}

function* inPages<T>(items: readonly T[]): Iterable<T[]> {
  for (let at = 0; at < items.length; at += PAGE) yield items.slice(at, at + PAGE);
}

/** The vectors in the timelines of these entities, and the entities in pages to be removed at once. */
async function timelinesOf(
  version: VersionStore,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<{ pages: string[][]; vectors: NumberSet }> {
  const pace = new Pace();
  const draft = new ChunkDraft(PAGE);
  const vectors = new NumberSet();
  const pages: string[][] = [];
  let page: string[] = [];
  let revisions = 0;
  for (const id of ids) {
    signal.throwIfAborted();
    version.timelines.readAll(id, draft);
    if (draft.count === 0) continue;
    for (let at = 0; at < draft.count; at++) {
      if (draft.vectorId(at) !== TOMBSTONE) vectors.add(draft.vectorId(at));
    }
    if (page.length === 0) pages.push(page);
    page.push(id);
    revisions += draft.count;
    if (revisions >= REVISIONS_PAGE || page.length === PAGE) {
      page = [];
      revisions = 0;
    }
    await pace.rest();
  }
  return { pages, vectors };
}

/** Within a commit. */
function removeTimelines(files: VersionFiles, ids: readonly string[], removed: Removed): void {
  const counters = files.counters();
  const draft = new ChunkDraft(PAGE);
  for (const id of ids) {
    files.timelines.readAll(id, draft);
    // One that was named twice.
    if (draft.count === 0) continue;
    for (let at = 0; at < draft.count; at++) files.log.remove(draft.seq(at));
    files.timelines.remove(id);
    counters.entities--;
    counters.revisions -= draft.count;
    removed.entities++;
    removed.revisions += draft.count;
  }
  files.putCounters(counters);
}

async function erasedWithTimeline(version: VersionStore, signal: AbortSignal): Promise<string[]> {
  const pace = new Pace();
  const found: string[] = [];
  let after: string | undefined;
  for (;;) {
    signal.throwIfAborted();
    const ids = version.timelines.ids(after, PAGE);
    if (ids.length === 0) return found;
    found.push(...ids.filter((id) => version.erasures.has(id)));
    after = ids.at(-1);
    await pace.rest();
  }
}

async function erasedWithFields(version: VersionStore, signal: AbortSignal): Promise<string[]> {
  const pace = new Pace();
  const found = new Set<string>();
  let rows = 0;
  for (const { entityId } of version.fields.keys(PAGE)) {
    if (version.erasures.has(entityId)) found.add(entityId);
    if (++rows % PAGE !== 0) continue;
    signal.throwIfAborted();
    await pace.rest();
  }
  return [...found];
}

/**
 * The inputs that these vectors were made of. Another entity with an equal input keeps its vector,
 * and the input is embedded anew when it comes again.
 */
async function inputsOf(
  version: VersionStore,
  vectors: NumberSet,
  signal: AbortSignal,
): Promise<Uint8Array[]> {
  const pace = new Pace();
  const found: Uint8Array[] = [];
  let after: Uint8Array | undefined;
  for (;;) {
    signal.throwIfAborted();
    const page = version.inputs.page(after, PAGE);
    if (page.length === 0) return found;
    for (const { hash, vectorId } of page) {
      // One that is damaged is nobody's any more, and could be theirs.
      if (vectorId === undefined || vectors.has(vectorId)) found.push(hash);
    }
    after = page.at(-1)!.hash;
    await pace.rest();
  }
}

/** Of some vectors those that have a text, and that none of the entities that stay points to. */
class OrphanedTexts {
  readonly ids = new Set<number>();
  private version: VersionStore;
  private reached = 0;

  constructor(version: VersionStore, vectors: NumberSet) {
    this.version = version;
    if (version.texts === undefined) return;
    for (const id of vectors) if (version.texts.has(id)) this.ids.add(id);
  }

  async readAll(signal: AbortSignal): Promise<void> {
    const pace = new Pace();
    while (this.ids.size > 0 && this.read()) {
      signal.throwIfAborted();
      await pace.rest();
    }
  }

  /** Reads on in the log, which says who points to what; whether there is more of it. */
  read(): boolean {
    const { log, erasures } = this.version;
    const changes = log.read(this.reached, Number.MAX_SAFE_INTEGER, LOG_PAGE);
    for (const { entityId, vectorId } of changes) {
      if (this.ids.has(vectorId) && !erasures.has(entityId)) this.ids.delete(vectorId);
    }
    this.reached = changes.at(-1)?.seq ?? this.reached;
    return changes.length === LOG_PAGE;
  }
}

/**
 * The dead letters that name one of the entities. Nobody could read what they say, so a letter that
 * only seems to name one goes too.
 */
async function lettersOf(
  version: VersionStore,
  ids: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<SourcePosition[]> {
  const pace = new Pace();
  const known = ids && new Set(ids);
  const lengths = known ? new Set(ids.map(({ length }) => length)) : version.erasures.lengths();
  const isErased = (part: string): boolean => known?.has(part) ?? version.erasures.has(part);
  const found: SourcePosition[] = [];
  let after: SourcePosition | undefined;
  for (;;) {
    const page = version.deadLetters.list(LETTERS_PAGE, after);
    if (page.length === 0) return found;
    for (const letter of page) {
      let steps = 0;
      for (const part of partsOf(letter, lengths)) {
        if (isErased(part)) {
          found.push(letter.position);
          break;
        }
        // A look at the clock for each would cost more than what is looked at.
        if (++steps % 64 === 0) await pace.rest();
      }
      signal.throwIfAborted();
      await pace.rest();
    }
    after = page.at(-1)!.position;
  }
}
