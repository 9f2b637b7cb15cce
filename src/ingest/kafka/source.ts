import { setTimeout as delay } from 'node:timers/promises';

import { assert } from '../../ground/assert.ts';
import { TidemarkError } from '../../ground/errors.ts';
import type { ModelVersion } from '../../store/catalogue.ts';
import type { Store } from '../../store/store.ts';
import { namesSchemas } from '../formats/encodings.ts';
import { SchemaRegistry } from '../formats/schema-registry.ts';
import { compileMapping } from '../mapping.ts';
import { type Prepare, vectorPreparer } from '../prepare.ts';
import type { BoundSource, KafkaConnection } from '../source-config.ts';
import { checkSourceFields } from '../source-fields.ts';
import type { SourceRecord } from '../source-record.ts';
import type { BatchParts } from './batch.ts';
import { buildChunk, type Chunk } from './chunk.ts';
import { clientLog, createClient, type Log } from './client.ts';
import { newCounters, type SourceCounters } from './counters.ts';
import { Destination } from './destination.ts';
import type { Position } from './position.ts';
import { endOf, type SessionEnd, SourceHalted } from './session-end.ts';
import { type Pace, Session } from './session.ts';

/** What a reader goes by that its source has for one version of several. */
interface OfVersion {
  /** Where topics begin that it has never read. */
  from(target: ModelVersion): BoundSource['from'];
  /** False once its version is gone for good: then it ends, and that is nobody's fault. */
  isLive(): boolean;
}

export interface SourceOptions {
  config: BoundSource;
  /** Absent where the settings name the version: it is waited for then. */
  ofVersion?: OfVersion;
  connection: KafkaConnection;
  store: Store;
  /** How far a time may be ahead of what it may not be ahead of, µs (A13). */
  futureSkewMax: number;
  /** What makes texts ready for commits to a version. Sources of vectors bring their own. */
  preparer?: (version: ModelVersion) => Prepare;
  log: Log;
  pace?: Partial<Pace>;
  /** Where it is read to; see `BatchParts`. */
  until?: BatchParts['until'];
  /** Where the records go, where that is not simply the version. */
  destination?: (store: Store, config: BoundSource) => Destination;
}

/**
 * `degraded`: it reads what it can, or tries to; the message says what is wrong.
 * `halted`: a person must decide; nothing is read until the source is started anew.
 */
export type SourceState = 'starting' | 'running' | 'degraded' | 'halted' | 'stopped';

interface PartitionStatus {
  topic: string;
  partition: number;
  /** The next offset to read, as stored; null before the partition's first commit. */
  next_offset: number | null;
  high_watermark: number;
  /** Records to read up to the high watermark. */
  lag: number;
  /** How old the last committed record is while there is a lag, else 0. */
  lag_seconds: number;
}

/** How far a partition has been read, as stored. */
export interface StoredPosition {
  topic: string;
  partition: number;
  /**
   * Where it was begun. Undefined where that was not stored, as of a source that began with the
   * topic, or that went on from what another server had read.
   */
  first: bigint | undefined;
  /** The next offset to read; undefined before the first commit. */
  next: bigint | undefined;
}

export interface SourceStatus {
  name: string;
  state: SourceState;
  message?: string;
  partitions: PartitionStatus[];
}

const PACE: Pace = { tick: 5_000, silence: 60_000, retry: 500, retryLongest: 10_000 };

/**
 * Reads topics of Kafka into one model version, each record once (A12): the offset is stored in the
 * commit that its records are stored in, and what the store says is where reading goes on.
 *
 * A record that cannot become a revision becomes a dead letter. What fails for other reasons is
 * tried again from the same offset, for ever. A client that crashes or falls silent is replaced.
 */
export class KafkaSource {
  readonly counters: SourceCounters = newCounters();
  private options: SourceOptions;
  private schemas: SchemaRegistry | undefined;
  private session: Session | undefined;
  private stopping = new AbortController();
  private running: Promise<void> | undefined;
  private firstLocated = Promise.withResolvers<void>();
  /** Why the last session that did not end well did. */
  private end: Exclude<SessionEnd, { kind: 'stopped' }> | undefined;

  constructor(options: SourceOptions) {
    assert(
      options.config.content !== 'fields' || options.preparer !== undefined,
      'a source of texts is given what prepares them',
    );
    this.options = options;
    this.schemas = registryOf(options);
  }

  /** Starts reading, in the background. Whether it succeeds is for `status` to say. */
  start(): void {
    assert(this.running === undefined, 'a source is started once');
    this.running = this.run();
  }

  /** Finishes the commits under way and closes the client. */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.session?.stop();
    await this.running;
  }

  status(): SourceStatus {
    const { name } = this;
    const now = this.options.store.clock();
    const partitions = this.inOrder().map((position) => ({
      topic: position.topic,
      partition: position.partition,
      next_offset: position.stored === undefined ? null : Number(position.stored),
      high_watermark: Number(position.high),
      lag: position.lag,
      lag_seconds: position.lagSeconds(now),
    }));
    return { name, ...this.state(), partitions };
  }

  get config(): BoundSource {
    return this.options.config;
  }

  /** What logs, checks and metrics call it: the source, and the version where it has several. */
  get name(): string {
    const { name, version } = this.options.config;
    return this.options.ofVersion === undefined ? name : `${name}@${version}`;
  }

  /** Resolves when it is stored where every partition begins, as `positions` says from then on. */
  async positioned(): Promise<void> {
    await this.firstLocated.promise;
  }

  /** Undefined before that, and while it looks for its partitions anew. Throws as the store does. */
  positions(): StoredPosition[] | undefined {
    if (this.session?.partitions.isLocated !== true) return undefined;
    const destination = new Destination(this.options.store, this.config);
    return this.inOrder().map(({ topic, partition }) => ({
      topic,
      partition,
      first: destination.firstOffset(topic, partition),
      next: destination.nextOffset(topic, partition),
    }));
  }

  /**
   * Maps and prepares records of one partition that were read before, as if they came now.
   * Rejects as `buildChunk` does, and with VIEW_NOT_FOUND, VERSION_NOT_FOUND.
   */
  async prepareAgain(records: readonly SourceRecord[]): Promise<Chunk> {
    const { config, store, futureSkewMax, preparer = vectorPreparer } = this.options;
    const { target } = new Destination(store, config);
    const map = compileMapping(config, target, futureSkewMax, this.schemas);
    const parts = { config, map, prepare: preparer(target), schemas: this.schemas };
    return await buildChunk(parts, records, store.clock());
  }

  private inOrder(): Position[] {
    return [...(this.session?.partitions.values() ?? [])].toSorted(
      (a, b) => a.topic.localeCompare(b.topic) || a.partition - b.partition,
    );
  }

  private state(): { state: SourceState; message?: string } {
    if (this.end?.kind === 'halted') return { state: 'halted', message: this.end.message };
    if (this.stopping.signal.aborted || this.running === undefined) return { state: 'stopped' };
    const session = this.session?.isReading ? this.session : undefined;
    const message = session ? session.trouble : this.end?.message;
    if (message !== undefined) return { state: 'degraded', message };
    return { state: session ? 'running' : 'starting' };
  }

  /** Session after session, with longer breaks between those that never got as far as reading. */
  private async run(): Promise<void> {
    const { log, ofVersion } = this.options;
    const pace = { ...PACE, ...this.options.pace };
    let wait = pace.retry;
    while (!this.stopping.signal.aborted) {
      const before = this.session;
      const end = await this.runSession(pace);
      const hasJoined = this.session !== before && this.session?.hasJoined === true;
      if (end.kind === 'stopped' || ofVersion?.isLive() === false) return;
      this.end = end;
      if (end.kind === 'halted') {
        log.error({ source: this.name }, `the source is halted: ${end.message}`);
        return;
      }
      // What never came as far as reading, for want of a view or a broker, did not crash.
      if (hasJoined) this.counters.crashes++;
      log.warn({ source: this.name }, `the source starts again: ${end.message}`);
      wait = hasJoined ? pace.retry : Math.min(wait * 2, pace.retryLongest);
      await delay(wait, undefined, { signal: this.stopping.signal }).catch(() => {});
    }
  }

  private async runSession(pace: Pace): Promise<SessionEnd> {
    const { config, connection, store, futureSkewMax, log } = this.options;
    const { preparer = vectorPreparer, ofVersion, until } = this.options;
    try {
      // The view may be made, or made anew, while the source waits for it.
      const destination =
        this.options.destination?.(store, config) ?? new Destination(store, config);
      const { target } = destination;
      requireFields(config, target);
      const groupId = [config.group_prefix, config.name, config.feature_view, config.version].join(
        '-',
      );
      this.session = new Session({
        config,
        from: ofVersion?.from(target) ?? config.from,
        // Which version is the current one may be another when it starts again.
        keepsStart: ofVersion !== undefined,
        located: () => this.firstLocated.resolve(),
        client: createClient(connection, groupId, clientLog(log, this.stopping.signal)),
        groupId,
        destination,
        map: compileMapping(config, target, futureSkewMax, this.schemas),
        schemas: this.schemas,
        prepare: preparer(target),
        counters: this.counters,
        until,
        pace,
        log,
      });
      return await this.session.run();
    } catch (error) {
      return endOf(error);
    }
  }
}

/** What a person must mend is not tried again. */
function requireFields(config: BoundSource, target: ModelVersion): void {
  try {
    checkSourceFields(config, target);
  } catch (error) {
    throw error instanceof TidemarkError ? new SourceHalted(error.message) : error;
  }
}

/** Where one is named; topics of CloudEvents say themselves what they are encoded in. */
export function registryOf({
  config,
  connection,
}: Pick<SourceOptions, 'config' | 'connection'>): SchemaRegistry | undefined {
  if (connection.registry === undefined) return undefined;
  const topics = Object.entries(config.mappings).flatMap(([topic, { encoding, envelope }]) =>
    namesSchemas(encoding) || envelope === 'cloudevents' ? [topic] : [],
  );
  return new SchemaRegistry(connection.registry, topics, () => performance.now());
}
