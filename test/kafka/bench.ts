import { onTestFinished } from 'vitest';

import { systemClock } from '../../src/ground/time.ts';
import { KafkaSource, type SourceOptions } from '../../src/ingest/kafka/source.ts';
import { type BoundSource, sourceConfigSchema } from '../../src/ingest/source-config.ts';
import type { Change } from '../../src/store/change-log.ts';
import { type Dtype, numbersOf } from '../../src/store/dtype.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { connection, SILENT } from './cluster.ts';

/** Short waits, so that what is tried again, or looked at, does not make a test long. */
const PACE = { tick: 200, silence: 20_000, retry: 50, retryLongest: 500 };

/** How long a test waits for what must come; nothing passes or fails by being quick. */
export const SOON = { timeout: 60_000, interval: 25 };

export interface BenchOptions extends Partial<SourceOptions> {
  address?: string;
}

/** A store in a directory of its own, and sources that read into its view `job`, version `v1`. */
export class Bench {
  readonly directory = tempDirectory();
  store: Store;
  private sources: KafkaSource[] = [];

  constructor(dim = 2, dtype: Dtype = 'float32') {
    this.store = openStore(this.directory, systemClock);
    this.store.createView(viewOf('job', dim, dtype));
    onTestFinished(() => this.close());
  }

  /** Starts a source of JSON vectors, or what `config` makes of it. */
  start(
    config: { topics: string[]; [setting: string]: unknown },
    options: BenchOptions = {},
  ): KafkaSource {
    const { address, ...rest } = options;
    const source = new KafkaSource({
      config: sourceOf(config),
      connection: connection(address),
      store: this.store,
      futureSkewMax: 300_000_000,
      log: SILENT,
      pace: PACE,
      ...rest,
    });
    this.sources.push(source);
    source.start();
    return source;
  }

  /** What has been committed, in order; once per revision. */
  changes(): Change[] {
    const { environment, log } = this.store.version('job', 'v1');
    environment.refresh();
    return log.read(0, this.store.snapshot, 1_000_000);
  }

  /** What has been committed, each change as `id=numbers` or `id deleted`. */
  said(): string[] {
    const { vectors } = this.store.version('job', 'v1');
    const { dtype } = this.store.catalogue.mustGetView('job').versions['v1']!;
    return this.changes().map(({ entityId, vectorId }) => {
      if (vectorId < 0) return `${entityId} deleted`;
      const bytes = new Uint8Array(vectors.vectorBytes);
      vectors.copyInto(vectorId, bytes, 0);
      return `${entityId}=${numbersOf(bytes, dtype).join()}`;
    });
  }

  /** The offsets of what has been committed, in the order of the commits. */
  offsets(partition = 0): number[] {
    return this.changes()
      .filter(({ position }) => position?.partition === partition)
      .map(({ position }) => position!.offset);
  }

  deadLetters(): { offset: number; reason: string; message: string }[] {
    const { environment, deadLetters } = this.store.version('job', 'v1');
    environment.refresh();
    return deadLetters
      .list(1_000)
      .map(({ position, reason, message }) => ({ offset: position.offset, reason, message }));
  }

  /** Stops the sources and opens the store anew, as a restart of the process does. */
  async reopen(): Promise<void> {
    await this.close();
    this.store = openStore(this.directory, systemClock);
  }

  private async close(): Promise<void> {
    await Promise.all(this.sources.splice(0).map((source) => source.stop()));
    await this.store.close();
  }
}

function sourceOf(config: { topics: string[]; version?: string }): BoundSource {
  const { version = 'v1', ...rest } = config;
  const parsed = sourceConfigSchema.parse({
    name: 's',
    feature_view: 'job',
    version,
    content: 'vector',
    known_timestamp: 'record',
    // Test files run side by side, and a group is one source's alone.
    group_prefix: config.topics[0],
    ...rest,
  });
  return { ...parsed, version };
}

/** A JSON message: entity `id` has this vector at the moment `at`. */
export function vectorMessage(id: string, vector: readonly number[], at = MOMENT) {
  return { key: id, value: JSON.stringify({ event_timestamp: at, vector }) };
}

export const MOMENT = '2026-03-01T12:00:00Z';

/** Messages of `count` entities, the first called `from`. */
export function numbered(count: number, from = 0) {
  return Array.from({ length: count }, (_, at) => vectorMessage(`e${from + at}`, [from + at, 0]));
}

/** The whole numbers from `from` up to, not including, `to`. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, at) => from + at);
}
