import type { Catalogue, CatalogueState } from './catalogue.ts';
import type { CopyRange } from './copy.ts';
import type { ErasedSet } from './erased-set.ts';
import type { FieldKey, PartitionKey, SourcePosition } from './keys.ts';
import type { VersionFiles } from './version-files.ts';
import type { VersionStore } from './version-store.ts';
import type { Versions } from './versions.ts';
import type { Writer } from './writer.ts';

/** A store at one moment: what is small of it, and which part of the rest belongs to it. */
export interface Cut {
  snapshot: number;
  state: CatalogueState;
  versions: VersionCut[];
}

interface VersionCut extends Pick<CopyRange, 'horizon' | 'offsets' | 'counters' | 'isLate'> {
  store: VersionStore;
  files: VersionFiles;
  /** Nothing that was erased up to this seq is left in its databases. */
  goneUpTo: number;
}

const LOG_PAGE = 512;

/**
 * Takes the store as it is between two commits, with everything before it durable and nothing under
 * way. Until `releaseCut`, no other long work may go on.
 */
export async function takeCut(
  catalogue: Catalogue,
  writer: Writer,
  erased: ErasedSet,
  versions: Versions,
): Promise<Cut> {
  return writer.alone(async () => {
    // With a seq of its own, the moment is after all that the catalogue has and before what comes.
    // A replica gives no seqs, and its catalogue runs ahead of its revisions.
    const snapshot = writer.isFollowing ? writer.snapshot : writer.takeMoment().seq;
    const state = catalogue.state();
    const found = versions.all().map((store) => {
      const { files, horizon } = store;
      const offsets = offsetsUpTo(files, snapshot);
      const goneUpTo = erased.goneUpTo(store);
      return { store, files, horizon, offsets, counters: files.counters(), goneUpTo };
    });
    // Nothing throws from here on: a journal that nobody ends would grow for ever.
    const cuts = found.map(({ files, ...cut }) => {
      const isLate = lateAmong((files.deadLetters.journal = []), (files.fields.journal = []));
      return { ...cut, files, isLate };
    });
    return { snapshot, state, versions: cuts };
  });
}

export function releaseCut({ versions }: Cut): void {
  for (const { files } of versions) {
    files.deadLetters.journal = undefined;
    files.fields.journal = undefined;
  }
}

/**
 * The offsets that belong to the snapshot: on a replica a crash may have left revisions above it,
 * and their records are to be read again.
 */
function offsetsUpTo(files: VersionFiles, snapshot: number): CopyRange['offsets'] {
  const offsets = new Map(files.offsets.all().map((one) => [nameOf(one.key), one]));
  let after = snapshot;
  for (;;) {
    const changes = files.log.read(after, Number.MAX_SAFE_INTEGER, LOG_PAGE);
    for (const { position } of changes) {
      const stored = position && offsets.get(nameOf(position));
      if (stored === undefined || BigInt(position!.offset) >= stored.next) continue;
      stored.next = BigInt(position!.offset);
    }
    if (changes.length < LOG_PAGE) return [...offsets.values()];
    after = changes.at(-1)!.seq;
  }
}

/** Whether a dead letter or a row of fields is among these, which more are being added to. */
function lateAmong(
  positions: readonly SourcePosition[],
  fields: NonNullable<VersionFiles['fields']['journal']>,
): CopyRange['isLate'] {
  const late = new Set<string>();
  let [letters, rows] = [0, 0];
  return (came) => {
    for (; letters < positions.length; letters++) late.add(keyOf(positions[letters]!));
    for (; rows < fields.length; rows++) {
      // One that was there is of the cut, and perhaps says by now what came later.
      if (fields[rows]!.isNew) late.add(keyOf(fields[rows]!));
    }
    return late.has(keyOf(came));
  };
}

function keyOf(came: SourcePosition | FieldKey): string {
  return 'source' in came
    ? `${nameOf(came)}\0${came.offset}`
    : `${came.entityId}\0${came.part}\0${came.event}\0${came.known}`;
}

function nameOf({ source, topic, partition }: PartitionKey): string {
  return `${source}\0${topic}\0${partition}`;
}
