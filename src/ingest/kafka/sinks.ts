import { isSinkKey, sinkKey } from '../../store/drained.ts';
import type { Store } from '../../store/store.ts';
import type { SinkConfig } from '../sink-config.ts';
import type { KafkaConnection, SourceConfig } from '../source-config.ts';
import type { Log } from './client.ts';
import { LetterOutbox } from './letter-outbox.ts';
import { RevisionOutbox } from './revision-outbox.ts';
import { Sink } from './sink.ts';

interface SinksConfig {
  kafka?: KafkaConnection | undefined;
  sinks: readonly SinkConfig[];
  sources: readonly SourceConfig[];
}

/** All that a server publishes: the sinks of its configuration, and its sources' dead letters. */
export class Sinks {
  readonly all: readonly Sink[];
  private store: Store;
  private config: SinksConfig;
  private log: Log;

  constructor(store: Store, config: SinksConfig, log: Log) {
    this.store = store;
    this.config = config;
    this.log = log;
    const parts = { connection: config.kafka!, log };
    const revisions = config.sinks.map(
      (sink) => new Sink({ ...parts, name: sink.name, outbox: new RevisionOutbox(store, sink) }),
    );
    const letters = config.sources.flatMap(({ name, feature_view, version, dead_letter_topic }) =>
      dead_letter_topic === undefined
        ? []
        : new Sink({
            ...parts,
            name: `dead letters of ${name}`,
            outbox: new LetterOutbox(store, { name, feature_view, version, dead_letter_topic }),
          }),
    );
    this.all = [...revisions, ...letters];
  }

  /** Only a leader's are started: what a replica has, its leader publishes. */
  start(): void {
    for (const sink of this.all) sink.start();
    this.forgetOthers().catch((error: unknown) => {
      this.log.warn(
        { err: error },
        'sinks that are not configured any more could not be forgotten',
      );
    });
  }

  async stop(): Promise<void> {
    await Promise.all(this.all.map((sink) => sink.stop()));
  }

  /** A sink that is not in the configuration any more must not hold back compaction for ever. */
  private async forgetOthers(): Promise<void> {
    const { store, log } = this;
    for (const { view, version } of store.catalogue.select()) {
      const mine = this.config.sinks.filter(
        (sink) => sink.feature_view === view && sink.version === version,
      );
      const names = new Set(mine.map(({ name, topic }) => nameOf(sinkKey(name, topic))));
      const keys = store.version(view, version).offsets.all();
      const gone = keys.filter(({ key }) => isSinkKey(key) && !names.has(nameOf(key)));
      if (gone.length === 0) continue;
      await store.alone(async () => {
        const { environment, offsets } = store.version(view, version);
        await environment.commit(() => gone.forEach(({ key }) => offsets.remove(key)));
        await environment.flushed();
      });
      const topics = gone.map(({ key }) => key.topic);
      log.warn({ topics }, `sinks of ${view}@${version} are not configured any more: forgotten`);
    }
  }
}

function nameOf({ source, topic }: { source: string; topic: string }): string {
  return `${source}\0${topic}`;
}
