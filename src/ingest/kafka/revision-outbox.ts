import type { IHeaders, Message } from 'kafkajs';

import { formatInstant, MICROS_PER_SECOND, type Micros } from '../../ground/time.ts';
import type { ModelVersion } from '../../store/catalogue.ts';
import type { Change } from '../../store/change-log.ts';
import { TOMBSTONE } from '../../store/chunk.ts';
import { sinkKey } from '../../store/drained.ts';
import type { Store } from '../../store/store.ts';
import type { SinkConfig } from '../sink-config.ts';
import { BATCH_BYTES, type Outbox, type Parcel, storePosition } from './outbox.ts';

/**
 * The revisions of a model version in the order of their commits, from its change log, as far as
 * they are durable. What was erased, or let go by retention, is not among them any more.
 */
export class RevisionOutbox implements Outbox {
  readonly passesByTooLarge = false;
  private store: Store;
  private config: SinkConfig;

  constructor(store: Store, config: SinkConfig) {
    this.store = store;
    this.config = config;
  }

  async next(limit: number): Promise<Parcel | undefined> {
    const position = this.position() ?? (await this.begin());
    const upTo = this.store.snapshot;
    if (Number(position) >= upTo) return undefined;
    const changes = this.files().log.read(Number(position), upTo, limit);
    if (changes.length === 0) return undefined;
    const { messages, reached } = this.messagesOf(changes);
    return {
      topic: this.config.topic,
      messages,
      acknowledge: async () => {
        await storePosition(this.store, this.config, this.key, position, BigInt(reached));
      },
    };
  }

  waiting(): { records: number; seconds: number } {
    const { log } = this.files();
    const { snapshot } = this.store;
    const position = this.position();
    if (position === undefined && this.config.from === 'end') return { records: 0, seconds: 0 };
    const after = Number(position ?? 0n);
    const [first] = after < snapshot ? log.read(after, snapshot, 1) : [];
    if (first === undefined) return { records: 0, seconds: 0 };
    const seconds = Math.max(0, (this.store.clock() - first.created) / MICROS_PER_SECOND);
    return { records: log.countBetween(after, snapshot), seconds };
  }

  private get key() {
    return sinkKey(this.config.name, this.config.topic);
  }

  private files() {
    return this.store.version(this.config.feature_view, this.config.version);
  }

  private position(): bigint | undefined {
    const { environment, offsets } = this.files();
    environment.refresh();
    return offsets.next(this.key);
  }

  /** Stored at once: after a crash this is still where the sink began. */
  private async begin(): Promise<bigint> {
    const start = BigInt(this.config.from === 'end' ? this.store.snapshot : 0);
    await storePosition(this.store, this.config, this.key, undefined, start);
    return start;
  }

  /** In the turn in which the changes were read: what they refer to may be gone in the next. */
  private messagesOf(changes: readonly Change[]): { messages: Message[]; reached: number } {
    const { feature_view, version } = this.config;
    const { erasures, vectors } = this.files();
    const { catalogue } = this.store;
    const model = catalogue.mustGetVersion(catalogue.mustGetView(feature_view), version);
    const isPure = erasures.settled || erasures.none;
    const bytes = Buffer.allocUnsafe(vectors.vectorBytes * changes.length);
    const messages: Message[] = [];
    let reached = 0;
    let filled = 0;
    let size = 0;
    for (const change of changes) {
      if (size >= BATCH_BYTES) break;
      reached = change.seq;
      if (!isPure && erasures.has(change.entityId)) continue;
      let value: Buffer | null = null;
      if (change.vectorId !== TOMBSTONE) {
        vectors.copyInto(change.vectorId, bytes, filled);
        value = bytes.subarray(filled, (filled += vectors.vectorBytes));
      }
      size += change.entityId.length + (value?.byteLength ?? 0);
      messages.push({
        key: change.entityId,
        value,
        headers: headersOf(change, feature_view, model),
      });
    }
    return { messages, reached };
  }
}

/** What a source of the format `raw` reads, and where the revision comes from. */
function headersOf(change: Change, view: string, model: ModelVersion): IHeaders {
  const { position } = change;
  return {
    'tidemark-feature-view': view,
    'tidemark-version': model.version,
    'tidemark-dtype': model.dtype,
    'tidemark-dim': String(model.dim),
    'tidemark-event-timestamp': formatInstant(change.event as Micros),
    'tidemark-known-timestamp': formatInstant(change.known as Micros),
    'tidemark-created-timestamp': formatInstant(change.created as Micros),
    'tidemark-seq': String(change.seq),
    ...(position !== undefined && {
      'tidemark-source-topic': position.topic,
      'tidemark-source-partition': String(position.partition),
      'tidemark-source-offset': String(position.offset),
    }),
  };
}
