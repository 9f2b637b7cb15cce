import type { Log } from './client.ts';
import type { SourceCounters } from './counters.ts';
import type { Destination } from './destination.ts';
import { type HeldOffsets, type Position, standing } from './position.ts';
import { SourceHalted } from './session-end.ts';

export interface LossParts {
  config: { on_data_loss: 'halt' | 'continue' };
  destination: Destination;
  counters: SourceCounters;
  log: Log;
}

/**
 * Deals with a partition whose next offset the broker does not hold any more: halts, or goes on
 * from the first offset that there is, with the gap stored and counted. Nothing is done for a
 * partition that was never read, since a clean start loses nothing. True when the position moved.
 * Rejects with SourceHalted, Fenced, and as a commit does.
 */
export async function mindDataLoss(
  { config, destination, counters, log }: LossParts,
  position: Position,
  held: HeldOffsets,
): Promise<boolean> {
  const { stored } = position;
  if (stored === undefined) return false;
  const is = standing(stored, held);
  if (is === 'within') return false;
  const message = describeLoss(position, stored, held);
  if (config.on_data_loss === 'halt') {
    throw new SourceHalted(
      `${message}; set on_data_loss: continue to go on from offset ${held.low}`,
    );
  }
  // Of a topic that was made anew, offsets come again.
  if (is === 'shrunk') await destination.publishLettersAgain(position);
  await destination.advance(position, stored, held.low);
  position.resume(held.low);
  if (is === 'lost') counters.recordsLost += Number(held.low - stored);
  log.error({ topic: position.topic, partition: position.partition }, message);
  return true;
}

function describeLoss(
  { topic, partition }: Position,
  stored: bigint,
  { low, high }: HeldOffsets,
): string {
  return stored < low
    ? `Kafka deleted the records ${stored} to ${low - 1n} of ${topic}/${partition} before they were read`
    : `${topic}/${partition} ends at offset ${high}, before ${stored}, which is to be read next: ` +
        'the topic was made anew, or lost its end';
}
