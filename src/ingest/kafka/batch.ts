import type { EachBatchPayload, KafkaMessage } from 'kafkajs';

import type { CommitResult } from '../../store/batch.ts';
import type { SchemaRegistry } from '../formats/schema-registry.ts';
import type { MapRecord } from '../mapping.ts';
import type { Prepare } from '../prepare.ts';
import { buildChunk, type Chunk, outcomesOf, sourceRecord } from './chunk.ts';
import type { Log } from './client.ts';
import type { CommitLine } from './commit-line.ts';
import type { SourceCounters } from './counters.ts';
import type { Destination } from './destination.ts';
import type { Position } from './position.ts';

/** Records in one commit at most, so that a commit, and what a crash repeats, is bounded. */
const CHUNK_RECORDS = 500;

export interface BatchParts {
  config: { name: string };
  destination: Destination;
  map: MapRecord;
  prepare: Prepare;
  schemas?: Pick<SchemaRegistry, 'load'> | undefined;
  counters: SourceCounters;
  log: Log;
  /** The first offset that is not to be read any more; undefined: there is none. */
  until?: ((at: { topic: string; partition: number }) => bigint) | undefined;
}

/**
 * Sends a fetched batch to the store, chunk after chunk, each with the offset after it. Resolves
 * when all of it is on its way down the position's line, so that the next fetch is under way while
 * this one is written. Leaves between chunks when `leave` says so.
 * Rejects when a chunk cannot be prepared.
 */
export async function sendBatch(
  parts: BatchParts,
  payload: EachBatchPayload,
  position: Position,
  line: CommitLine,
  leave: () => boolean,
): Promise<void> {
  const { destination } = parts;
  const { topic, partition } = payload.batch;
  const until = parts.until?.(payload.batch);
  const messages = payload.batch.messages.filter(
    ({ offset }) => until === undefined || BigInt(offset) < until,
  );
  for (let at = 0; at < messages.length && !leave(); at += CHUNK_RECORDS) {
    const part = messages.slice(at, at + CHUNK_RECORDS);
    const records = part.map((message) => sourceRecord(topic, partition, message));
    // Until something is committed, what waits is as old as the first that was fetched.
    if (position.reached === undefined) position.reach(records[0]!.timestamp);
    const chunk = await buildChunk(parts, records, destination.now());
    if (leave()) {
      chunk.release();
      break;
    }
    const isLast = at + part.length === messages.length;
    const next = least(offsetAfter(payload, part, isLast), until);
    const result = destination.commit(chunk, position, position.sent, next);
    result.then(chunk.release, chunk.release);
    position.send(next);
    // kafkajs keeps this in memory only; where reading goes on after a failure is sought.
    payload.resolveOffset(part.at(-1)!.offset);
    await line.add(result, (answer) => {
      count(parts.counters, chunk, answer);
      parts.counters.visible.noteAll(chunk.timestamps, destination.now());
      sayDeadLetters(parts, answer);
      if (position.line !== line) return;
      position.stored = next;
      position.reach(chunk.timestamps.at(-1)!);
    });
  }
}

function least(offset: bigint, until: bigint | undefined): bigint {
  return until !== undefined && until < offset ? until : offset;
}

/** After the last record of a batch come, at times, markers of transactions, which nobody is shown. */
function offsetAfter(
  { batch }: EachBatchPayload,
  part: readonly KafkaMessage[],
  isLast: boolean,
): bigint {
  return BigInt(isLast ? batch.lastOffset() : part.at(-1)!.offset) + 1n;
}

function count(
  counters: SourceCounters,
  chunk: Chunk,
  { outcomes, confirmations, deadLetters }: CommitResult,
): void {
  const { events } = counters;
  counters.confirmations += confirmations;
  for (const outcome of outcomesOf(chunk.rows, outcomes)) events[outcome]++;
  events.dead_letter += deadLetters.length;
  events.erased += chunk.deadLetters.length - deadLetters.length;
  events.skipped += chunk.skipped;
}

/** One line a chunk, so that a stream of nothing else does not fill the log: the first of them. */
function sayDeadLetters({ log }: BatchParts, { deadLetters }: CommitResult): void {
  const [first] = deadLetters;
  if (first === undefined) return;
  const { position, reason, message } = first;
  const fields = { ...position, reason, dead_letters: deadLetters.length };
  log.warn(fields, `a record became a dead letter: ${message}`);
}
