import { setTimeout as delay } from 'node:timers/promises';

import { TidemarkError } from '../../ground/errors.ts';
import type { Store } from '../../store/store.ts';
import { BrokerView } from '../kafka/broker-view.ts';
import { clientLog, createClient, type Log } from '../kafka/client.ts';
import { messageOf } from '../kafka/session-end.ts';
import type { KafkaSource, SourceOptions, StoredPosition } from '../kafka/source.ts';
import type { BoundSource, KafkaConnection, SourceConfig } from '../source-config.ts';
import { NotNow } from './history.ts';
import { type BackfillRecord, type SourceOrigin, sourceOf } from './record.ts';

/** Between looks at a source that looks for its partitions anew, ms. */
const LOOK_MS = 100;

export interface SourceNeeds extends Pick<SourceOptions, 'pace'> {
  store: Store;
  sources: readonly SourceConfig[];
  connection: KafkaConnection | undefined;
  /** What reads into a version as records come. */
  readersOf: (
    view: string,
    version: string,
  ) => readonly Pick<KafkaSource, 'config' | 'positioned' | 'positions'>[];
  futureSkewMax: number;
  log: Log;
}

/** What is to be read of a partition. */
export type SourcePart = NonNullable<SourceOrigin['parts']>[number];

/**
 * The settings by which a source is read again. When a record arrives now says nothing of when it
 * was known: its own timestamp does.
 */
export function rereadConfig(
  needs: Pick<SourceNeeds, 'sources'>,
  { name }: SourceOrigin,
  record: Pick<BackfillRecord, 'id' | 'version'>,
): BoundSource {
  const config = needs.sources.find((each) => each.name === name);
  if (config === undefined) {
    throw new TidemarkError('BAD_REQUEST', `the settings have no source ${name} any more`);
  }
  const mappings = Object.fromEntries(
    Object.entries(config.mappings).map(([topic, mapping]) => [
      topic,
      mapping.known_timestamp === 'arrival'
        ? { ...mapping, known_timestamp: 'record' as const }
        : mapping,
    ]),
  );
  const { version } = record;
  return { ...config, mappings, version, name: sourceOf(record), from: 'beginning' };
}

/**
 * What there is to read of a source: from where its topics begin to where the live reader of the
 * version began, or to their end where there is none. Throws NotNow while the brokers do not answer.
 */
export async function findParts(
  needs: SourceNeeds,
  { view, version }: Pick<BackfillRecord, 'view' | 'version'>,
  { name }: SourceOrigin,
  signal: AbortSignal,
): Promise<SourcePart[]> {
  const config = rereadConfig(needs, { kind: 'source', name }, { id: '', version });
  const log = clientLog(needs.log, signal);
  const brokers = new BrokerView(createClient(needs.connection!, 'tidemark-backfill', log));
  try {
    const live = needs.readersOf(view, version).find((reader) => reader.config.name === name);
    const begun = live && (await begunAt(live, signal));
    const parts: SourcePart[] = [];
    for (const topic of config.topics) {
      for (const [partition, { low, high }] of await brokers.heldOffsets(topic)) {
        const at = begun?.find((each) => each.topic === topic && each.partition === partition);
        // A reader that began with the topic has read what is there up to where it is.
        const end = begun === undefined ? high : (at?.first ?? at?.next ?? low);
        parts.push({ topic, partition, from: Number(low), end: Number(end > low ? end : low) });
      }
    }
    return parts;
  } catch (error) {
    if (error instanceof TidemarkError || signal.aborted) throw error;
    throw new NotNow(`the brokers cannot be asked: ${messageOf(error)}`, { cause: error });
  } finally {
    await brokers.close().catch(() => {});
  }
}

/** Where a live reader began, as soon as that is stored. */
async function begunAt(
  live: Pick<KafkaSource, 'positioned' | 'positions'>,
  signal: AbortSignal,
): Promise<StoredPosition[]> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([live.positioned(), aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  for (;;) {
    const positions = live.positions();
    if (positions !== undefined) return positions;
    await delay(LOOK_MS, undefined, { signal });
  }
}
