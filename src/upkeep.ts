import { Counter, Gauge, type Registry } from 'prom-client';

import { ClockWatch } from './ground/clock-watch.ts';
import { formatInstant, type Micros, MICROS_PER_SECOND } from './ground/time.ts';
import type { Maintained } from './store/maintain.ts';
import type { Store } from './store/store.ts';

const FIRST_SECONDS = 60;

interface Settings {
  /** Between the end of one round and the beginning of the next; 0: none. */
  interval_seconds: number;
  dead_share: number;
  erased_within_seconds: number;
}

interface Log {
  info(what: object, message: string): void;
  error(what: object, message: string): void;
}

/** Looks after the files of a running store, round after round: retention, removals, compaction. */
export class Upkeep {
  private store: Store;
  private settings: Settings;
  private log: Log;
  private timer: NodeJS.Timeout | undefined;
  private isStopped = false;
  private found: readonly Maintained[] = [];
  private lastSuccess: Micros | undefined;
  private compactions = { upkeep: { done: 0, failed: 0 }, asked: { done: 0, failed: 0 } };
  private watch: ClockWatch;

  private passed: () => number;
  private tidy: (isClockAhead: boolean) => Promise<void>;

  /**
   * `passed`: µs since any moment, however the clock is set. `tidy`: what else is due with each
   * round; nothing that stays gone is to be done while the clock is ahead.
   */
  constructor(
    store: Store,
    settings: Settings,
    log: Log,
    passed: () => number,
    tidy: (isClockAhead: boolean) => Promise<void> = async () => {},
  ) {
    this.store = store;
    this.settings = settings;
    this.log = log;
    this.passed = passed;
    this.tidy = tidy;
    this.watch = new ClockWatch(store.clock(), passed());
  }

  start(): void {
    const { interval_seconds } = this.settings;
    // Soon, for who is started often; not at once, for a start has enough to do.
    if (interval_seconds > 0) this.schedule(Math.min(interval_seconds, FIRST_SECONDS));
  }

  /** Begins no further round; the one that goes on ends with the store. */
  stop(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
  }

  /** A compaction that somebody asked for has ended. */
  noteAsked(outcome: 'done' | 'failed'): void {
    this.compactions.asked[outcome]++;
  }

  addMetrics(registry: Registry): void {
    const registers = [registry];
    const { store } = this;
    const perVersion = (name: string, help: string, read: () => [Version, number][]): void => {
      void new Gauge({
        name,
        help,
        labelNames: ['feature_view', 'version'],
        registers,
        collect() {
          this.reset();
          for (const [labels, value] of read()) this.set(labels, value);
        },
      });
    };
    perVersion('tidemark_store_file_bytes', 'Bytes of the files of a model version.', () =>
      store.catalogue.select().map(({ view, version }) => {
        const bytes = store.version(view, version).environment.bytes();
        return [{ feature_view: view, version }, bytes];
      }),
    );
    perVersion(
      'tidemark_store_dead_share',
      'Share of a model version that compaction would leave behind, as last looked at.',
      () =>
        this.found.map(({ feature_view, version, dead_share }) => [
          { feature_view, version },
          dead_share,
        ]),
    );
    const gauge = (name: string, help: string, read: () => number): void => {
      void new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    };
    gauge(
      'tidemark_erasures_waiting',
      'Erasures that bytes may be left of in a file.',
      () => store.waitingErasures,
    );
    gauge(
      'tidemark_maintenance_last_success_timestamp_seconds',
      'When the last round of maintenance ended well.',
      () => (this.lastSuccess === undefined ? Number.NaN : this.lastSuccess / MICROS_PER_SECOND),
    );
    const { compactions } = this;
    void new Counter({
      name: 'tidemark_compactions_total',
      help: 'Compactions, by how they ended and whether they were due or asked for.',
      labelNames: ['outcome', 'cause'],
      registers,
      collect() {
        this.reset();
        for (const [cause, outcomes] of Object.entries(compactions)) {
          for (const [outcome, count] of Object.entries(outcomes)) {
            this.inc({ outcome, cause }, count);
          }
        }
      },
    });
  }

  private schedule(seconds: number): void {
    this.timer = setTimeout(() => void this.round(), seconds * 1_000).unref();
  }

  private async round(): Promise<void> {
    const { dead_share, erased_within_seconds } = this.settings;
    // One wrong clock, and what retention should keep for years were gone for good.
    const isClockAhead = this.watch.isAhead(this.store.clock(), this.passed());
    if (isClockAhead) {
      this.log.error(
        { clock: formatInstant(this.store.clock()) },
        'the clock has gone ahead of the time that passed: retention and retirement wait for a day, or until it is set back',
      );
    }
    try {
      this.found = await this.store.maintain({
        holdHorizons: isClockAhead,
        deadShare: dead_share,
        erasedWithin: erased_within_seconds * MICROS_PER_SECOND,
      });
      this.tell();
      await this.tidy(isClockAhead);
    } catch (error) {
      if (!this.isStopped) this.log.error({ err: error }, 'maintenance failed; it is tried again');
    }
    if (!this.isStopped) this.schedule(this.settings.interval_seconds);
  }

  private tell(): void {
    let hasFailed = false;
    for (const { compaction, failure, ...version } of this.found) {
      if (compaction !== undefined) {
        this.compactions.upkeep.done++;
        this.log.info(compaction, 'compacted');
      } else if (failure !== undefined) {
        hasFailed = true;
        this.compactions.upkeep.failed++;
        this.log.error(
          { ...version, err: failure },
          'the upkeep of a model version failed, and its files stay; it is tried again',
        );
      }
    }
    if (!hasFailed) this.lastSuccess = this.store.clock();
  }
}

interface Version {
  feature_view: string;
  version: string;
}
