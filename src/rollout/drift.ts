import { TidemarkError } from '../ground/errors.ts';
import { Pace } from '../ground/pace.ts';
import type { Micros } from '../ground/time.ts';
import type { Baseline } from '../store/baseline.ts';
import type { ModelVersion } from '../store/catalogue.ts';
import type { Change } from '../store/change-log.ts';
import type { Store } from '../store/store.ts';
import { cosine } from './cosine.ts';
import { latestOf, type Opened, openedIn } from './coverage.ts';
import { HealthSum, type VectorHealth } from './vector-health.ts';

/** What is off with a version's newest vectors. */
export const SIGNS = [
  'not_finite',
  'zero_vectors',
  'norm_spread',
  'duplicates',
  'centroid_shift',
] as const;
export type Sign = (typeof SIGNS)[number];

/** From where on a version is off; as in the settings of promotions. */
export interface DriftBounds {
  norm_spread_max: number;
  duplicates_more_max: number;
  centroid_shift_max: number;
}

/** What the newest vectors of a version looked like when it was last measured. */
export interface Measurement extends Omit<VectorHealth, 'centroid'> {
  measured: Micros;
  /** 1 − the cosine of its centroid with the baseline's; undefined while there is no baseline. */
  centroidShift: number | undefined;
  /** When the baseline was measured. */
  baseline: number | undefined;
  /** Empty: it is well. */
  off: Sign[];
  /** The newest event time among the entities that were looked at. */
  newestEvent: number;
}

/** When what a version holds became true, and when it was stored, µs: the newest of each. */
export interface Newest {
  event: number;
  created: number;
}

interface Settings {
  store: Store;
  bounds: DriftBounds;
  log: { error(what: object, message: string): void };
}

/** Vectors of a measurement; of fewer, a centroid says more of who happens to be among them. */
const ENOUGH = 1_000;
/** A view of few entities and many revisions is not read to its end. */
const REVISIONS_MAX = 16_384;
const PAGE = 32;

/**
 * Measures the newest vectors of every model version, round after round, and holds them against its
 * baseline: the measurement of the first round that finds enough of them, and then of the first
 * round in which the version is its view's current one. What a candidate is filled with comes in the
 * order of ids; what was promoted passed the gates, and is what later vectors are to be like. A
 * rollback finds the baseline of before.
 */
export class Drift {
  private settings: Settings;
  private measurements = new Map<string, Measurement>();
  private over = new AbortController();

  constructor(settings: Settings) {
    this.settings = settings;
  }

  /** Measures nothing more: the store is about to close. */
  stop(): void {
    this.over.abort();
  }

  /** The last measurement of a version of now; undefined while there is none, or nothing to measure. */
  of(view: string, version: ModelVersion): Measurement | undefined {
    return this.measurements.get(keyOf(view, version));
  }

  /** As it is now, among the newest revisions; undefined where there are none that can be read. */
  newestOf(view: string, version: ModelVersion): Newest | undefined {
    const changes = this.newestChanges(view, version.version);
    if (changes.length === 0) return undefined;
    const measured = this.of(view, version)?.newestEvent ?? Number.NEGATIVE_INFINITY;
    return {
      event: Math.max(measured, ...changes.map(({ event }) => event)),
      created: changes[0]!.created,
    };
  }

  /** Never rejects. */
  async round(): Promise<void> {
    const { store, log } = this.settings;
    const found = new Map<string, Measurement>();
    for (const { view, version: name } of store.catalogue.select()) {
      if (this.over.signal.aborted) return;
      try {
        const version = store.catalogue.mustGetVersion(store.catalogue.mustGetView(view), name);
        const measured = await this.measure(view, version);
        if (measured !== undefined) found.set(keyOf(view, version), measured);
      } catch (error) {
        if (this.over.signal.aborted) return;
        // It was dropped or retired meanwhile.
        if (error instanceof TidemarkError && error.code.endsWith('_NOT_FOUND')) continue;
        const which = { feature_view: view, version: name };
        log.error({ ...which, err: error }, 'the vectors of a model version were not measured');
      }
    }
    this.measurements = found;
  }

  private newestChanges(view: string, version: string): Change[] {
    const { store } = this.settings;
    try {
      return store.version(view, version).log.readBack(store.snapshot, PAGE);
    } catch (error) {
      // It is being dropped, or damaged, as others will say who need it.
      if (error instanceof TidemarkError) return [];
      throw error;
    }
  }

  private async measure(view: string, version: ModelVersion): Promise<Measurement | undefined> {
    const { store } = this.settings;
    const measured = store.clock();
    const opened = openedIn(store, view, version);
    const { health, newestEvent } = await this.newestVectors(opened, version, measured);
    if (health.vectors === 0) return undefined;
    // Throws where it is not there any more.
    opened();
    const baseline = this.baselineOf(view, version, health, measured);
    const { centroid, ...rest } = health;
    const shift = baseline && Math.max(0, 1 - cosine(centroid, centroidOf(baseline)));
    return {
      ...rest,
      measured,
      centroidShift: shift,
      baseline: baseline?.made,
      off: this.signsOf(health, shift, baseline),
      newestEvent,
    };
  }

  /** Goes back through the log from the newest revision on, each entity once, as it is now. */
  private async newestVectors(
    opened: Opened,
    shape: ModelVersion,
    now: number,
  ): Promise<{ health: VectorHealth; newestEvent: number }> {
    const { snapshot } = this.settings.store;
    const sum = new HealthSum(shape);
    const seen = new Set<string>();
    const pace = new Pace();
    let newestEvent = Number.NEGATIVE_INFINITY;
    let upTo = snapshot;
    for (let read = 0; read < REVISIONS_MAX && sum.vectors < ENOUGH; read += PAGE) {
      const version = opened();
      const changes = version.log.readBack(upTo, PAGE);
      if (changes.length === 0) break;
      const ids = new Set(changes.map(({ entityId }) => entityId)).difference(seen);
      sum.add(version.vectors, latestOf(version, [...ids], { now, snapshot }));
      for (const { entityId, event } of changes) {
        seen.add(entityId);
        newestEvent = Math.max(newestEvent, event);
      }
      upTo = changes.at(-1)!.seq - 1;
      await pace.rest();
      this.over.signal.throwIfAborted();
    }
    return { health: sum.health(), newestEvent };
  }

  private baselineOf(
    view: string,
    version: ModelVersion,
    { vectors, centroid, duplicates }: VectorHealth,
    now: number,
  ): Baseline | undefined {
    const { catalogue } = this.settings.store;
    const was_current = catalogue.mustGetView(view).aliases.current === version.version;
    const stored = catalogue.baseline(view, version.version);
    const before = stored?.version_created === version.created_timestamp ? stored : undefined;
    if (vectors < ENOUGH || (before !== undefined && (before.was_current || !was_current))) {
      return before;
    }
    const baseline: Baseline = {
      version_created: version.created_timestamp,
      was_current,
      centroid: new Uint8Array(Float32Array.from(centroid).buffer),
      duplicates,
      made: now,
    };
    catalogue.putBaseline(view, version.version, baseline);
    return baseline;
  }

  private signsOf(
    { notFinite, zeros, normSpread, duplicates }: VectorHealth,
    shift: number | undefined,
    baseline: Baseline | undefined,
  ): Sign[] {
    const { bounds } = this.settings;
    const isOff: Record<Sign, boolean> = {
      not_finite: notFinite > 0,
      zero_vectors: zeros > 0,
      norm_spread: normSpread > bounds.norm_spread_max,
      duplicates:
        baseline !== undefined && duplicates - baseline.duplicates > bounds.duplicates_more_max,
      centroid_shift: shift !== undefined && shift > bounds.centroid_shift_max,
    };
    return SIGNS.filter((sign) => isOff[sign]);
  }
}

/** Another version of that name, made later, has measurements of its own. */
function keyOf(view: string, { version, created_seq = 0 }: ModelVersion): string {
  return `${view}@${version} ${created_seq}`;
}

function centroidOf({ centroid }: Baseline): Float32Array {
  // It may stand anywhere in what it was read from.
  return new Float32Array(new Uint8Array(centroid).buffer);
}
