import { TidemarkError } from '../ground/errors.ts';
import { Pace } from '../ground/pace.ts';
import type { ReadStore } from '../store/store.ts';
import type { VersionStore } from '../store/version-store.ts';
import { nameOf } from '../store/versions.ts';
import { resolveMany } from '../timetravel/lookup.ts';
import { ANY_AGE, type Question } from '../timetravel/question.ts';
import type { Resolution } from '../timetravel/resolve.ts';
import { PRESENT } from '../timetravel/status.ts';

/** How far a version has what another one answers. */
export interface Coverage {
  /** Entities that have a latest vector in the one that answers. */
  live: number;
  /** Those of them that have one in the other, too. */
  covered: number;
  /** Of the covered ones some, by chance, in no order. */
  sample: string[];
}

const PAGE_IDS = 128;

/** A version as it is in this turn; throws VERSION_NOT_FOUND when it is gone. */
export type Opened = () => VersionStore;

/** The version, unless it was retired since, or made anew. */
export function openedIn(
  store: Pick<ReadStore, 'version'>,
  view: string,
  { version }: { version: string },
): Opened {
  const before = store.version(view, version);
  return () => {
    if (store.version(view, version) === before) return before;
    throw new TidemarkError(
      'VERSION_NOT_FOUND',
      `the model version ${nameOf(view, version)} was made anew while it was looked at`,
    );
  };
}

/**
 * Looks at every entity of `base`: whether it has a latest vector there, and in `other`, at the
 * snapshot. `random`: from 0 up to 1. Gives others their turn; rejects when `signal` is aborted.
 */
export async function coverageOf(
  base: Opened,
  other: Opened,
  at: { now: number; snapshot: number },
  sampleSize: number,
  random: () => number,
  signal: AbortSignal,
): Promise<Coverage> {
  const coverage: Coverage = { live: 0, covered: 0, sample: [] };
  const pace = new Pace();
  for (let after: string | undefined; ;) {
    signal.throwIfAborted();
    const ids = base().timelines.ids(after, PAGE_IDS);
    if (ids.length === 0) return coverage;
    const [here, there] = [latestOf(base(), ids, at), latestOf(other(), ids, at)];
    for (const [row, id] of ids.entries()) {
      if (here.statuses[row] !== PRESENT) continue;
      coverage.live++;
      if (there.statuses[row] !== PRESENT) continue;
      // Each of those so far is in the sample with the same chance.
      const place =
        coverage.covered < sampleSize
          ? coverage.covered
          : Math.floor(random() * (coverage.covered + 1));
      if (place < sampleSize) coverage.sample[place] = id;
      coverage.covered++;
    }
    after = ids.at(-1);
    await pace.rest();
  }
}

/** What the version answers of them, of any age, at the snapshot. */
export function latestOf(
  version: VersionStore,
  ids: readonly string[],
  { now, snapshot }: { now: number; snapshot: number },
): Resolution {
  const question: Question = {
    asOf: undefined,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now,
    snapshot,
  };
  return resolveMany(version, ids, question, false);
}
