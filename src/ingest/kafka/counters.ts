import type { Outcome } from '../../store/batch.ts';
import { Delays } from '../delays.ts';

type EventResult = Outcome | 'dead_letter' | 'skipped';

/** What a source has done since it was made. They only grow. */
export interface SourceCounters {
  /** Records by what became of them (A4). */
  events: Record<EventResult, number>;
  /** Revisions whose vector is that of the one before: records that changed nothing that is read. */
  confirmations: number;
  /** Seconds from a record's timestamp until what it led to could be read. */
  visible: Delays;
  /** Commits that changed nothing, because the stored offset had moved. */
  fenced: number;
  /** Batches that were tried again after the store or the embedder failed. */
  retries: number;
  /** Kafka clients that crashed or fell silent and were replaced. */
  crashes: number;
  /** Fetches that started elsewhere than the source asked. */
  offsetResets: number;
  /** Records that Kafka had deleted before they were read. */
  recordsLost: number;
}

export function newCounters(): SourceCounters {
  return {
    events: { latest: 0, history: 0, duplicate: 0, erased: 0, dead_letter: 0, skipped: 0 },
    confirmations: 0,
    visible: new Delays(),
    fenced: 0,
    retries: 0,
    crashes: 0,
    offsetResets: 0,
    recordsLost: 0,
  };
}
