import { readFileSync } from 'node:fs';

import { parseInstant } from '../../ground/time.ts';

/** One change of one entity, as a change stream brings it. */
export interface ChangeEvent {
  /** Created, updated, deleted. */
  op: 'c' | 'u' | 'd';
  /** Since when it is so. */
  ts: string;
  /** When it was heard of, where that was later. */
  known_ts?: string;
  id: string;
  /** The whole entity as it then was; null when it was deleted. */
  after: Record<string, unknown> | null;
}

/** Whether a member who was shown a job applied. */
export interface Application {
  member_id: string;
  job_id: string;
  event_timestamp: string;
  label: 0 | 1;
}

export const SAMPLES = ['jobs', 'members', 'resumes'] as const;
export type Sample = (typeof SAMPLES)[number];

/** The changes, in the order in which they were heard of. */
export function readChanges(sample: Sample): ChangeEvent[] {
  return readLines(sample) as ChangeEvent[];
}

/** The labelled moments that a ranker would be trained on, in time order. */
export function readApplications(): Application[] {
  return readLines('applications') as Application[];
}

// Three folders up from here in a clone (src/) as in the built package (dist/).
function readLines(name: string): unknown[] {
  const text = readFileSync(new URL(`../../../samples/${name}.ndjson`, import.meta.url), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);
}

/** What the change made true at that event time; the last one heard of, where several did. */
export function changeAt(
  changes: readonly ChangeEvent[],
  id: string,
  eventTimestamp: string,
): ChangeEvent | undefined {
  const moment = parseInstant(eventTimestamp);
  return changes.findLast((change) => change.id === id && parseInstant(change.ts) === moment);
}
