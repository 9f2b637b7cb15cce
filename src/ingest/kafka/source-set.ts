import type { FeatureView, ModelVersion } from '../../store/catalogue.ts';
import type { Prepare } from '../prepare.ts';
import { type BoundSource, isBound, type SourceConfig } from '../source-config.ts';
import { misfitOf } from '../source-fields.ts';
import { isSameVersion } from './destination.ts';
import { KafkaSource, type SourceOptions, type SourceStatus } from './source.ts';

interface SourcesOptions extends Pick<SourceOptions, 'store' | 'futureSkewMax' | 'log' | 'pace'> {
  configs: readonly SourceConfig[];
  /** Needed where there are any. */
  connection: SourceOptions['connection'] | undefined;
  /** What makes texts ready for commits to a version of that view. */
  preparer: (view: string, version: ModelVersion) => Prepare;
}

/** A source that names no version, with what reads for it into each one. */
interface Feed {
  config: SourceConfig;
  /** By version. */
  readers: Map<string, { reader: KafkaSource; target: ModelVersion }>;
  /** The view when it was looked at last. */
  seen: FeatureView | undefined;
  /** What was said of versions that it does not read into. */
  misfits: Set<string>;
}

/** What a source says of itself; `isBeside` where it reads into a version that is not `current`. */
interface CheckedStatus extends SourceStatus {
  isBeside: boolean;
}

/** What sources have still to read for a model version, as the brokers said a few seconds ago. */
export interface Backlog {
  records: number;
  /** False while one of them does not read: there may be any number of records more. */
  isKnown: boolean;
  /** What reads into it. */
  sources: string[];
  /** Those of them that have records to read, or do not read. */
  behind: string[];
}

/**
 * All sources of a server. One that names no version has a reader for each version of its view whose
 * prompt takes its fields, with a consumer group, offsets and a pace of its own, so that a slow model
 * holds up nobody else. Readers come and go with the versions.
 */
export class Sources {
  private options: SourcesOptions;
  private bound: KafkaSource[];
  private feeds: Feed[];
  /** Readers of versions that are gone. */
  private leaving = new Set<Promise<void>>();
  private state: 'new' | 'started' | 'stopped' = 'new';

  constructor(options: SourcesOptions) {
    this.options = options;
    const { configs } = options;
    this.bound = configs.filter(isBound).map((config) => this.open(config));
    this.feeds = configs
      .filter((config) => !isBound(config))
      .map((config) => ({ config, readers: new Map(), seen: undefined, misfits: new Set() }));
  }

  /** All that read, each into one version. */
  get readers(): KafkaSource[] {
    const fed = this.feeds.flatMap((feed) =>
      Array.from(feed.readers.values()).flatMap(({ reader, target }) =>
        this.isLive(feed.config, target) ? [reader] : [],
      ),
    );
    return [...this.bound, ...fed];
  }

  /** Only a leader's are started. */
  start(): void {
    this.state = 'started';
    for (const source of this.bound) source.start();
    void this.follow();
  }

  async stop(): Promise<void> {
    this.state = 'stopped';
    const fed = this.feeds.flatMap(({ readers }) => Array.from(readers.values()));
    const readers = [...this.bound, ...fed.map(({ reader }) => reader)];
    await Promise.all([...readers.map((reader) => reader.stop()), ...this.leaving]);
  }

  statuses(): CheckedStatus[] {
    const statuses = this.readers.map((reader) => {
      const { feature_view, version } = reader.config;
      const current = this.options.store.catalogue.view(feature_view)?.aliases.current;
      const isBeside = !this.bound.includes(reader) && version !== current;
      return { ...reader.status(), isBeside };
    });
    const idle = this.feeds.filter((feed) => feed.readers.size === 0);
    return [...statuses, ...idle.map(({ config }) => this.idleStatus(config))];
  }

  /** What reads into that version. */
  readersOf(view: string, version: string): KafkaSource[] {
    return this.readers.filter(
      ({ config }) => config.feature_view === view && config.version === version,
    );
  }

  backlogOf(view: string, version: string): Backlog {
    const all = this.readersOf(view, version).map((reader) => {
      const { name, state, partitions } = reader.status();
      const records = partitions.reduce((sum, { lag }) => sum + lag, 0);
      return { name, records, isKnown: state === 'running' };
    });
    return {
      records: all.reduce((sum, { records }) => sum + records, 0),
      isKnown: this.state === 'started' && all.every(({ isKnown }) => isKnown),
      sources: all.map(({ name }) => name),
      behind: all.flatMap(({ name, records, isKnown }) => (isKnown && records === 0 ? [] : [name])),
    };
  }

  private open(config: BoundSource, ofVersion?: SourceOptions['ofVersion']): KafkaSource {
    const { connection, store, futureSkewMax, log, pace, preparer } = this.options;
    return new KafkaSource({
      config,
      connection: connection!,
      store,
      futureSkewMax,
      log,
      ...(pace && { pace }),
      ...(ofVersion && { ofVersion }),
      ...(config.content === 'fields' && {
        preparer: (version) => preparer(config.feature_view, version),
      }),
    });
  }

  /** Not awaited by anybody: it waits for a move that may never come. */
  private async follow(): Promise<void> {
    while (this.state === 'started') {
      // Asked for before the look, so that what changes after it is not missed.
      const moved = this.options.store.nextMove();
      for (const feed of this.feeds) this.look(feed);
      await moved;
    }
  }

  private look(feed: Feed): void {
    const { config, readers } = feed;
    const view = this.options.store.catalogue.view(config.feature_view);
    // With every change of a view there is another object.
    if (view === feed.seen) return;
    feed.seen = view;
    for (const [version, { reader, target }] of readers) {
      if (this.isLive(config, target)) continue;
      readers.delete(version);
      const gone = reader.stop().finally(() => this.leaving.delete(gone));
      this.leaving.add(gone);
    }
    for (const target of Object.values(view?.versions ?? {})) {
      const { version } = target;
      if (readers.has(version) || !this.takes(feed, target)) continue;
      const reader = this.open(
        { ...config, version },
        {
          from: (now) => this.fromOf(config, now),
          isLive: () => this.isLive(config, target),
        },
      );
      readers.set(version, { reader, target });
      reader.start();
    }
  }

  /** Whether what the source's records say is what the version's prompt reads. */
  private takes({ config, misfits }: Feed, target: ModelVersion): boolean {
    if (target.model?.prompt === undefined) return false;
    const misfit = misfitOf(config, target);
    if (misfit === undefined) return true;
    if (!misfits.has(misfit)) this.options.log.warn({ source: config.name }, misfit);
    misfits.add(misfit);
    return false;
  }

  private isLive({ feature_view }: SourceConfig, target: ModelVersion): boolean {
    const now = this.options.store.catalogue.view(feature_view)?.versions[target.version];
    return now !== undefined && isSameVersion(now, target);
  }

  /**
   * Where a version begins that was never read: what was there before it joined is for a backfill.
   * What a leader had read of it before this store was promoted is not known here, so all is read.
   */
  private fromOf({ feature_view, from }: SourceConfig, target: ModelVersion): SourceConfig['from'] {
    const { catalogue } = this.options.store;
    if (catalogue.mustGetView(feature_view).aliases.current === target.version) return from;
    if (catalogue.leftLeader() === undefined) return 'end';
    const { up_to } = catalogue.lineage().parents.at(-1)!;
    return (target.created_seq ?? 0) <= up_to ? 'beginning' : 'end';
  }

  private idleStatus(config: SourceConfig): CheckedStatus {
    const { name, feature_view } = config;
    const base = { name, isBeside: false, partitions: [] };
    if (this.state !== 'started') return { ...base, state: 'stopped' };
    const view = this.options.store.catalogue.view(feature_view);
    const why =
      view === undefined
        ? `there is no feature view ${feature_view}; create it with PUT /v1/feature-views/{view}`
        : `no model version of ${feature_view} has a prompt that takes the fields of its records`;
    const misfits = Object.values(view?.versions ?? {}).flatMap(
      (target) => misfitOf(config, target) ?? [],
    );
    return { ...base, state: 'degraded', message: [why, ...misfits].join('; ') };
  }
}
