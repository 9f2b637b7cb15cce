import { Pace } from '../ground/pace.ts';
import type { DeadLetter } from './batch.ts';
import { ChunkDraft, TOMBSTONE } from './chunk.ts';
import { NumberSet } from './number-set.ts';
import type { VersionFiles } from './version-files.ts';
import type { VersionStore } from './version-store.ts';
import type { Writer } from './writer.ts';

/** What was removed of erased entities. */
export interface Removed {
  entities: number;
  revisions: number;
  inputs: number;
  dead_letters: number;
}

const PAGE = 256;

/**
 * Removes all that a version's databases hold of its erased entities (A8): timelines, log entries,
 * the inputs of their vectors, and dead letters that name them. `ids`: the entities, where they are
 * known; otherwise every entity is asked about. Idempotent: what a crash left is done again at the
 * next start. Durable on return.
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
  const found = ids ?? (await erasedWithTimeline(version, signal));
  const inputs = await inputsOf(version, await vectorsOf(version, found, signal), signal);
  const letters = await lettersOf(version, found, signal);
  // The timelines go last: a crash before leaves them to find the rest by.
  await writer.alone(async () => {
    await version.environment.commit(() => {
      for (const each of inputs) version.inputs.remove(each);
      for (const { position } of letters) version.deadLetters.remove(position);
    });
    await version.environment.flushed();
  });
  for (let at = 0; at < found.length; at += PAGE) {
    signal.throwIfAborted();
    const page = found.slice(at, at + PAGE);
    await writer.alone(async () => {
      await version.environment.commit(() => removeTimelines(version.files, page, removed));
    });
  }
  await writer.alone(async () => {
    await version.environment.commit(() => version.files.putErasedUpTo(upTo));
    await version.environment.flushed();
  });
  removed.inputs = inputs.length;
  removed.dead_letters = letters.length;
  return removed;
}

/** The vectors in the timelines of these entities. */
async function vectorsOf(
  version: VersionStore,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<NumberSet> {
  const pace = new Pace();
  const draft = new ChunkDraft(PAGE);
  const vectors = new NumberSet();
  for (const id of ids) {
    signal.throwIfAborted();
    version.timelines.readAll(id, draft);
    for (let at = 0; at < draft.count; at++) {
      if (draft.vectorId(at) !== TOMBSTONE) vectors.add(draft.vectorId(at));
    }
    await pace.rest();
  }
  return vectors;
}

/** Within a commit. */
function removeTimelines(files: VersionFiles, ids: readonly string[], removed: Removed): void {
  const counters = files.counters();
  const draft = new ChunkDraft(PAGE);
  for (const id of ids) {
    files.timelines.readAll(id, draft);
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
    if (page.length === 0) break;
    for (const { hash, vectorId } of page) {
      if (vectorId !== undefined && vectors.has(vectorId)) found.push(hash);
    }
    after = page.at(-1)!.hash;
    await pace.rest();
  }
  return found;
}

/**
 * The dead letters that name one of the entities in their key, value or headers. Nobody could read
 * what they say, so a letter that only seems to name one goes too.
 */
async function lettersOf(
  version: VersionStore,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<DeadLetter[]> {
  const pace = new Pace();
  const names = ids.map((id) => Buffer.from(id));
  const found: DeadLetter[] = [];
  let after;
  for (;;) {
    signal.throwIfAborted();
    const page = version.deadLetters.list(PAGE, after);
    if (page.length === 0) break;
    found.push(
      ...page.filter(
        (letter) =>
          names.some((name) => isNamed(letter, name)) ||
          (letter.key !== null && version.erasures.has(Buffer.from(letter.key).toString())),
      ),
    );
    after = page.at(-1)!.position;
    await pace.rest();
  }
  return found;
}

function isNamed({ key, value, headers }: DeadLetter, name: Buffer): boolean {
  return [key, value, ...Object.values(headers)].some(
    (bytes) => bytes !== null && holds(Buffer.from(bytes), name),
  );
}

/** Whether the name stands in the bytes as a word of its own: 7 is not in 17. */
function holds(bytes: Buffer, name: Buffer): boolean {
  for (let at = bytes.indexOf(name); at >= 0; at = bytes.indexOf(name, at + 1)) {
    if (!isWordByte(bytes[at - 1]) && !isWordByte(bytes[at + name.byteLength])) return true;
  }
  return false;
}

function isWordByte(byte: number | undefined): boolean {
  return byte !== undefined && /[A-Za-z0-9_]/.test(String.fromCharCode(byte));
}
