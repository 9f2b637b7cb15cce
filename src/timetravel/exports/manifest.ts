import { formatInstant, type Micros, MICROS_MAX } from '../../ground/time.ts';
import type { AnswerFormat } from '../formats/answer.ts';
import type { AskedRevisions, Order, Vectors } from '../join/plan.ts';
import { type JoinSummary, summaryOf } from '../join/summary.ts';
import type { AnswerColumn, WindowDone } from '../join/window-done.ts';
import type { SpineFormat } from '../spine/window.ts';
import { allFiles, type ExportFile } from './files.ts';
import type { ExportRecord } from './record.ts';

const FORMAT_VERSION = 1;

/** What an export is, with each of its files: the last thing that is written of it. */
export interface Manifest extends JoinSummary {
  format_version: number;
  id: string;
  created_timestamp: string;
  ended_timestamp: string;
  /** Null where there is none: then the rows are revisions. */
  spine: { format: SpineFormat; bytes: number } | null;
  /** Event times, the second one exclusive; null for no bound. */
  revisions: { from: string | null; to: string | null } | null;
  timestamp_column: string;
  /** By the names of the references: the spine's columns with the entity ids. */
  id_columns: Record<string, string>;
  format: AnswerFormat;
  vectors: Vectors;
  vector_format: AnswerFormat | null;
  order: Order;
  /** Of the parts, in their order. */
  columns: readonly AnswerColumn[];
  bytes: number;
  files: ExportFile[];
}

export function manifestOf(
  { id, created, plan, spine, vectorFormat, done }: ExportRecord,
  windows: readonly WindowDone[],
  ended: Micros,
): Manifest {
  return {
    format_version: FORMAT_VERSION,
    id,
    created_timestamp: formatInstant(created),
    ended_timestamp: formatInstant(ended),
    ...summaryOf(plan, done.rows, done.counts, done.invalid),
    spine: spine === undefined ? null : { format: spine.format, bytes: spine.bytes },
    revisions: plan.revisions === undefined ? null : revisionsOf(plan.revisions),
    timestamp_column: plan.timeColumn,
    id_columns: Object.fromEntries(plan.refs.map(({ name, idColumn }) => [name, idColumn])),
    format: plan.format,
    vectors: plan.vectors,
    vector_format: plan.vectors === 'ref' ? vectorFormat : null,
    order: plan.order,
    columns: windows[0]?.columns ?? [],
    bytes: done.bytes,
    files: allFiles(plan, vectorFormat, windows),
  };
}

/** The bounds of a plan's revisions as they are told of. */
export function revisionsOf({ from, to }: AskedRevisions): {
  from: string | null;
  to: string | null;
} {
  return { from: textOf(from, -MICROS_MAX), to: textOf(to, MICROS_MAX) };
}

function textOf(time: number, none: number): string | null {
  return time === none ? null : formatInstant(time as Micros);
}
