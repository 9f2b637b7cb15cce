import type { Client } from '../client.ts';
import { type ChangeEvent, readChanges } from './samples.ts';

/** A revision of a job's timeline, with what it says in words. */
export interface HistoryRow {
  event_timestamp: string;
  known_timestamp: string;
  vector_id: number | null;
  what: string;
}

/** The timeline of a job, the oldest revision first, told by what changed. */
export async function readHistory(client: Client, jobId: string): Promise<HistoryRow[]> {
  const { revisions } = await client.timeline({ feature_view: 'job', entity_id: jobId });
  const changes = readChanges('jobs').filter(({ id }) => id === jobId);
  const rows: HistoryRow[] = [];
  let before: ChangeEvent['after'] = null;
  for (const { event_timestamp, known_timestamp, vector_id } of revisions.toReversed()) {
    const change = changes.find(
      ({ ts, known_ts = ts }) => ts === event_timestamp && known_ts === known_timestamp,
    );
    const after = change?.after ?? null;
    rows.push({ event_timestamp, known_timestamp, vector_id, what: inWords(before, after) });
    before = after;
  }
  return rows;
}

/** Changes of more fields than this are told as one. */
const FIELDS_NAMED = 2;

function inWords(before: ChangeEvent['after'], after: ChangeEvent['after']): string {
  if (after === null) return 'deleted';
  const posting = `${String(after.title)}, ${String(after.location)}`;
  if (before === null) return `posted: ${posting}`;
  const names = Object.keys(after).filter((name) => after[name] !== before[name]);
  return `${names.length > FIELDS_NAMED ? 'rewritten' : `${names.join(', ')} changed`}: ${posting}`;
}
