import { setImmediate as turn } from 'node:timers/promises';

import { TidemarkError } from '../ground/errors.ts';
import type { FeatureView, ModelVersion } from '../store/catalogue.ts';
import { EntityIds } from '../store/entity-ids.ts';
import type { ReadStore } from '../store/store.ts';
import { Widening } from '../store/widening.ts';
import type { Prefetch } from '../timetravel/cold/prefetch.ts';
import { resolveMany } from '../timetravel/lookup.ts';
import type { Question } from '../timetravel/question.ts';
import { PRESENT } from '../timetravel/status.ts';
import { cosine } from './cosine.ts';
import { openedIn } from './coverage.ts';
import { type Embedded, neighbourOverlap } from './neighbours.ts';
import { ShadowTally } from './shadow-tally.ts';

interface Settings {
  store: ReadStore;
  /** Share of lookups that the candidate is asked too, above 0 and up to 1. */
  sample: number;
  /** Lookups that may wait for that. */
  queueMax: number;
  /** From 0 up to 1. */
  random: () => number;
  /** Which of several processes this is. */
  process?: string;
  /** Reads what it is going to, where data are colder than memory. */
  prefetch?: Pick<Prefetch, 'isCold' | 'bring'>;
}

/** The versions of a view that are compared; of other ones, whatever they are called, nothing is added. */
interface Pair {
  current: ModelVersion;
  candidate: ModelVersion;
  tally: ShadowTally;
}

/** What is kept of a lookup until it is asked again: nothing of its answer. */
interface Sampled extends Pair {
  view: string;
  ids: EntityIds;
  question: Question;
}

/** Ids of a lookup that are asked again: a ranking asks for no more. */
const IDS_MAX = 501;
/** Of them so many, from all over the list, have their vectors compared: more say little more. */
const COSINES_MAX = 64;
const NEIGHBOURS = 10;

/**
 * Asks the candidate of a view what its current version was asked, for a sample of lookups of the
 * latest that name no version: how many entities it covers, and how far its vectors, or what is near
 * to what, are from those that answer. So the effect of a promotion is seen before it. In a later
 * turn of the event loop, and at the snapshot that was answered from; a sample that comes faster
 * than it is worked off is dropped.
 */
export class Shadow {
  readonly sample: number;
  readonly process: string | undefined;
  private settings: Settings;
  private pairs = new Map<string, Pair>();
  private queue: Sampled[] = [];
  private isRunning = false;
  private over = new AbortController();

  constructor(settings: Settings) {
    this.settings = settings;
    this.sample = settings.sample;
    this.process = settings.process;
  }

  /** Whether to `remember` a lookup. */
  pick(): boolean {
    const { sample, random } = this.settings;
    return random() < sample;
  }

  /** Of a view that has a candidate. */
  remember(view: FeatureView, ids: EntityIds, question: Question): void {
    const pair = this.over.signal.aborted ? undefined : this.pairOf(view);
    if (pair === undefined) return;
    const { queue, settings } = this;
    if (queue.length >= settings.queueMax) {
      pair.tally.dropped++;
      return;
    }
    queue.push({ ...pair, view: view.name, ids: firstOf(ids), question });
    if (this.isRunning) return;
    this.isRunning = true;
    void this.run();
  }

  /** What was found of the view's candidate of now; undefined while it has none. */
  tallyOf(view: FeatureView): ShadowTally | undefined {
    return this.pairOf(view)?.tally;
  }

  /** What was found of all candidates of now; of none while the files are opened anew. */
  tallies(): { feature_view: string; version: string; tally: ShadowTally }[] {
    return this.views().flatMap((view) => {
      const pair = this.pairOf(view);
      if (pair === undefined) return [];
      const { candidate, tally } = pair;
      return [{ feature_view: view.name, version: candidate.version, tally }];
    });
  }

  /** Compares nothing more: the store is about to close. */
  stop(): void {
    this.over.abort();
    this.queue = [];
  }

  private views(): FeatureView[] {
    try {
      return this.settings.store.catalogue.views();
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'STORE_UNAVAILABLE') return [];
      throw error;
    }
  }

  /** Begins anew where one of the two is another version than before. */
  private pairOf({ name, aliases, versions }: FeatureView): Pair | undefined {
    const { store, random } = this.settings;
    if (aliases.candidate === undefined) return undefined;
    const [current, candidate] = [versions[aliases.current]!, versions[aliases.candidate]!];
    const before = this.pairs.get(name);
    if (before !== undefined && isSame(before.current, current)) {
      if (isSame(before.candidate, candidate)) return before;
    }
    const pair = { current, candidate, tally: new ShadowTally(store.clock(), random) };
    this.pairs.set(name, pair);
    return pair;
  }

  /** Requests come first. */
  private async run(): Promise<void> {
    for (;;) {
      await turn();
      const sampled = this.queue.shift();
      if (sampled === undefined) break;
      try {
        await this.compare(sampled);
      } catch {
        // Stopped, or its files were let go of, or a version is gone.
        sampled.tally.dropped++;
      }
    }
    this.isRunning = false;
  }

  private async compare({
    view,
    current,
    candidate,
    ids,
    question,
    tally,
  }: Sampled): Promise<void> {
    const { store, prefetch } = this.settings;
    const { signal } = this.over;
    const versions = [current, candidate].map((version) => ({
      version,
      opened: openedIn(store, view, version),
    }));
    if (prefetch?.isCold === true) {
      const texts = ids.texts().filter((text) => text !== '');
      for (const { opened } of versions) await prefetch.bring(opened(), texts, question, signal);
      signal.throwIfAborted();
    }
    const answers = versions.map(({ opened }) => resolveMany(opened(), ids, question, false));
    const [answered, shadowed] = answers.map(({ statuses }) => statuses) as [
      Uint8Array,
      Uint8Array,
    ];
    const rows = Int32Array.from(answered.keys()).filter((row) => answered[row] === PRESENT);
    const both = rows.filter((row) => shadowed[row] === PRESENT);
    const [one, other] = versions.map((each, at): Embedded => ({
      ...each,
      resolution: answers[at]!.take(both),
    })) as [Embedded, Embedded];
    await turn();
    signal.throwIfAborted();
    if (current.dim === candidate.dim) addCosines(one, other, tally);
    await turn();
    signal.throwIfAborted();
    const overlap = await neighbourOverlap(one, other, NEIGHBOURS, 1, signal);
    if (!Number.isNaN(overlap)) tally.addOverlap(overlap, NEIGHBOURS / (both.length - 1));
    tally.lookups++;
    tally.ids += ids.count;
    tally.present += rows.length;
    tally.covered += both.length;
  }
}

function addCosines(one: Embedded, other: Embedded, tally: ShadowTally): void {
  const sides = [one, other].map(({ version: { dim, dtype }, opened, resolution }) => {
    const widening = new Widening(dim, dtype);
    return { widening, numbers: new Float32Array(dim), vectors: opened().vectors, resolution };
  });
  const [left, right] = sides.map(({ numbers }) => numbers) as [Float32Array, Float32Array];
  const rows = one.resolution.statuses.length;
  for (let row = 0; row < rows; row += Math.ceil(rows / COSINES_MAX)) {
    for (const { widening, numbers, vectors, resolution } of sides) {
      vectors.copyInto(resolution.vectorIds[row]!, widening.vector, 0);
      widening.write(numbers, 0);
    }
    tally.addCosine(cosine(left, right));
  }
}

/** A request's ids are its own: few of them are kept as they are. */
function firstOf(ids: EntityIds): EntityIds {
  if (ids.count <= IDS_MAX) return ids;
  return EntityIds.of(Array.from({ length: IDS_MAX }, (_, row) => ids.text(row)));
}

function isSame(a: ModelVersion, b: ModelVersion): boolean {
  return a.version === b.version && a.created_seq === b.created_seq;
}
