import { formatInstant, type Micros } from '../ground/time.ts';
import type { ExportStatus } from '../timetravel/exports/asked.ts';
import { revisionsOf } from '../timetravel/exports/manifest.ts';
import { summaryOf } from '../timetravel/join/summary.ts';
import type { ExportAnswer } from './schemas/exports.ts';

/** An export as it is told of. `expires`: when its files go, µs. */
export function exportAnswerOf(
  { record, rowsPerSecond }: ExportStatus,
  expires: Micros | undefined,
): ExportAnswer {
  const { id, state, created, started, ended, plan, vectorFormat, failure, done } = record;
  const total = record.rowsTotal;
  const isKnown = total !== undefined && rowsPerSecond !== undefined;
  return {
    id,
    state,
    created_timestamp: formatInstant(created),
    started_timestamp: textOf(started),
    ended_timestamp: textOf(ended),
    expires_timestamp: textOf(expires),
    ...summaryOf(plan, done.rows, done.counts, done.invalid),
    revisions: plan.revisions === undefined ? null : revisionsOf(plan.revisions),
    timestamp_column: plan.timeColumn,
    format: plan.format,
    vectors: plan.vectors,
    vector_format: plan.vectors === 'ref' ? vectorFormat : null,
    order: plan.order,
    rows_total: total ?? null,
    bytes: done.bytes,
    files: done.files,
    rows_per_second: rowsPerSecond ?? null,
    seconds_left: isKnown ? (total - done.rows) / rowsPerSecond : null,
    problem: failure === undefined ? null : { code: failure.code, detail: failure.message },
  };
}

function textOf(time: Micros | undefined): string | null {
  return time === undefined ? null : formatInstant(time);
}
