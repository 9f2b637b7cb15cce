import type { IHeaders, Message } from 'kafkajs';

import { formatInstant, isMicros } from '../../ground/time.ts';
import type { DeadLetter, HeaderValue } from '../../store/batch.ts';
import { lettersKey } from '../../store/drained.ts';
import type { PartitionKey } from '../../store/keys.ts';
import type { Store } from '../../store/store.ts';
import { deadLetterTopicOf } from '../source-config.ts';
import { BATCH_BYTES, type Outbox, type Parcel, storePosition } from './outbox.ts';

/** Dead letters are as long as a record may be. */
const LETTERS_PAGE = 16;

export interface LetterOutboxConfig {
  /** The source's. */
  name: string;
  feature_view: string;
  /** Absent of a source that feeds each version. */
  version?: string | undefined;
  /** True for a topic of the same name with `.dlq` after it. */
  dead_letter_topic: string | true;
}

/** A partition that is read into a model version. */
interface LettersOf {
  version: string;
  key: PartitionKey;
}

/** The stored dead letters of a source, in the order of their offsets in each partition. */
export class LetterOutbox implements Outbox {
  readonly passesByTooLarge = true;
  private store: Store;
  private config: LetterOutboxConfig;
  /** The partition that has had a batch last: the others come first. */
  private turn = 0;

  constructor(store: Store, config: LetterOutboxConfig) {
    this.store = store;
    this.config = config;
  }

  next(limit: number): Promise<Parcel | undefined> {
    return Promise.resolve().then(() => this.read(Math.min(limit, LETTERS_PAGE)));
  }

  waiting(): { records: number } {
    const counts = this.partitions().map((of) => {
      const { deadLetters } = this.files(of);
      return deadLetters.countOfPartition(of.key, Number(this.position(of) ?? 0n));
    });
    return { records: counts.reduce((sum, count) => sum + count, 0) };
  }

  private read(limit: number): Parcel | undefined {
    const partitions = this.partitions();
    for (let at = 1; at <= partitions.length; at++) {
      const turn = (this.turn + at) % partitions.length;
      const of = partitions[turn]!;
      const { deadLetters, erasures } = this.files(of);
      // What was erased is on its way out, and must not leave by this door.
      if (!erasures.settled && !erasures.none) continue;
      const position = this.position(of);
      const letters = deadLetters.ofPartition(of.key, Number(position ?? 0n), limit);
      if (letters.length === 0) continue;
      this.turn = turn;
      return this.parcelOf(of, position, letters);
    }
    return undefined;
  }

  private parcelOf(
    of: LettersOf,
    position: bigint | undefined,
    letters: readonly DeadLetter[],
  ): Parcel {
    const messages: Message[] = [];
    let next = 0;
    let size = 0;
    for (const letter of letters) {
      size += (letter.key?.byteLength ?? 0) + (letter.value?.byteLength ?? 0);
      if (messages.length > 0 && size > BATCH_BYTES) break;
      messages.push(messageOf(letter, this.config.version === undefined ? of.version : undefined));
      next = letter.position.offset + 1;
    }
    return {
      topic: deadLetterTopicOf(this.config.dead_letter_topic, of.key.topic)!,
      messages,
      acknowledge: async () => {
        const { feature_view } = this.config;
        // One that was retired meanwhile has nothing to keep.
        if (!this.versions().includes(of.version)) return;
        const name = { feature_view, version: of.version };
        await storePosition(this.store, name, lettersKey(of.key), position, BigInt(next));
      },
    };
  }

  private versions(): string[] {
    const { feature_view, version } = this.config;
    if (version !== undefined) return [version];
    return Object.keys(this.store.catalogue.mustGetView(feature_view).versions);
  }

  private files({ version }: Pick<LettersOf, 'version'>) {
    return this.store.version(this.config.feature_view, version);
  }

  /** Those that the source has read: every dead letter came with an offset. */
  private partitions(): LettersOf[] {
    return this.versions().flatMap((version) => {
      const { environment, offsets } = this.files({ version });
      environment.refresh();
      return offsets
        .all()
        .flatMap(({ key }) => (key.source === this.config.name ? [{ version, key }] : []));
    });
  }

  private position(of: LettersOf): bigint | undefined {
    return this.files(of).offsets.next(lettersKey(of.key));
  }
}

/** The record as it came, with the reason in headers beside its own. */
function messageOf(
  { position, key, value, headers, timestamp, reason, message }: DeadLetter,
  version: string | undefined,
): Message {
  const own = Object.entries(headers).map(([name, given]) => [name, headerOf(given)] as const);
  const all: IHeaders = Object.fromEntries(own);
  all['tidemark-dlq-source'] = position.source;
  all['tidemark-dlq-topic'] = position.topic;
  all['tidemark-dlq-partition'] = String(position.partition);
  all['tidemark-dlq-offset'] = String(position.offset);
  // The same record may be a dead letter of another version too.
  if (version !== undefined) all['tidemark-dlq-version'] = version;
  // A record need not have one, or one that is a time.
  if (timestamp >= 0 && isMicros(timestamp)) {
    all['tidemark-dlq-timestamp'] = formatInstant(timestamp);
  }
  all['tidemark-dlq-code'] = reason;
  all['tidemark-dlq-message'] = message;
  return { key: bufferOf(key), value: bufferOf(value), headers: all };
}

/** kafkajs writes no header without a value: such a one comes with no bytes. */
function headerOf(value: HeaderValue): Buffer | Buffer[] {
  const empty = Buffer.alloc(0);
  if (value === null || value instanceof Uint8Array) return bufferOf(value) ?? empty;
  return value.map((each) => bufferOf(each) ?? empty);
}

/** kafkajs makes texts of other bytes than a Buffer's. */
function bufferOf(bytes: Uint8Array | null): Buffer | null {
  return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
