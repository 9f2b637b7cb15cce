import type { Catalogue, CatalogueState } from './catalogue.ts';
import type { CopyRange } from './copy.ts';
import type { ErasedSet } from './erased-set.ts';
import type { PartitionKey, SourcePosition } from './keys.ts';
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
    return {
      snapshot,
      state: catalogue.state(),
      versions: versions.all().map((store) => {
        const { files, horizon } = store;
        return {
          store,
          files,
          horizon,
          offsets: offsetsUpTo(files, snapshot),
          counters: files.counters(),
          isLate: lateAmong((files.deadLetters.journal = [])),
          goneUpTo: erased.goneUpTo(store),
        };
      }),
    };
  });
}

export function releaseCut({ versions }: Cut): void {
  for (const { files } of versions) files.deadLetters.journal = undefined;
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

/** Whether a position is among these, which more are being added to. */
function lateAmong(positions: readonly SourcePosition[]): (position: SourcePosition) => boolean {
  const late = new Set<string>();
  return (position) => {
    for (const each of positions.slice(late.size)) late.add(`${nameOf(each)}\0${each.offset}`);
    return late.has(`${nameOf(position)}\0${position.offset}`);
  };
}

function nameOf({ source, topic, partition }: PartitionKey): string {
  return `${source}\0${topic}\0${partition}`;
}
