import { CheckedBits } from './checked-bits.ts';
import { type ErasedCopy, type ErasedEntities, erasedFrom } from './erasures.ts';
import type { Horizon } from './horizon.ts';
import type { Tree } from './meta-page.ts';
import { PageTimelines } from './page-timelines.ts';
import type { PageFile } from './page-tree.ts';
import { PageVectors } from './page-vectors.ts';
import type { VersionStore } from './version-store.ts';

/** What another thread of the process needs to read a model version as it is now. Can be cloned. */
export interface PinnedVersion {
  file: PageFile;
  timelines: Tree;
  vectors: Tree;
  vectorBytes: number;
  checked: SharedArrayBuffer[];
  horizon: Horizon;
  erased: ErasedCopy;
}

/** A version that stays as it is, for other threads, until it is released: see `Environment.pin`. */
export interface Pin {
  version: PinnedVersion;
  release: () => void;
}

export function pinVersion(store: VersionStore): Pin {
  const { environment, vectors, horizon, erasures } = store;
  const { file, trees, release } = environment.pin();
  vectors.checked.reserve(store.counters().nextVectorId);
  const version: PinnedVersion = {
    file,
    timelines: trees.get('timeline')!,
    vectors: trees.get('vector')!,
    vectorBytes: vectors.vectorBytes,
    checked: [...vectors.checked.slabs],
    horizon,
    erased: erasures.copy(),
  };
  return { version, release };
}

/** A pinned version, open for reading. */
export interface PageVersion {
  timelines: PageTimelines;
  vectors: PageVectors;
  horizon: Horizon;
  erasures: ErasedEntities;
}

export function openPinned(pinned: PinnedVersion): PageVersion {
  const { file, vectorBytes, horizon } = pinned;
  return {
    timelines: new PageTimelines(file, pinned.timelines),
    vectors: new PageVectors(
      file,
      pinned.vectors,
      vectorBytes,
      new CheckedBits([...pinned.checked]),
    ),
    horizon,
    erasures: erasedFrom(pinned.erased),
  };
}
