import type { AnswerFormat } from '../formats/answer.ts';
import type { JoinPlan } from '../join/plan.ts';
import type { WindowDone, WrittenFile } from '../join/window-done.ts';
import { partPath, shardPath } from './paths.ts';

/** A file of an export. */
export interface ExportFile extends WrittenFile {
  /** From the export's folder, with `/`. */
  path: string;
  /** Of a part: the number of its first row in the spine, from 0. */
  first_row?: number;
  /** Of a table of vectors: the reference whose `__vector_row` counts its rows. */
  feature_view?: string;
  /** And the `__vector_row` of its first row. */
  first_vector_row?: number;
}

/** The files of one window: its part, and the shares of the tables of vectors that it has. */
export function filesOf(
  { index, firstRow, part, shards = [] }: WindowDone,
  { refs, format }: JoinPlan,
  vectorFormat: AnswerFormat,
): ExportFile[] {
  const rows = { path: partPath(index, format), first_row: firstRow, ...part! };
  const tables = shards.flatMap((shard, ref): ExportFile[] => {
    if (shard === undefined) return [];
    const { name } = refs[ref]!;
    return [{ path: shardPath(name, index, vectorFormat), feature_view: name, ...shard }];
  });
  return [rows, ...tables];
}

/** Those of all windows: the parts, then table after table, each in the order of its rows. */
export function allFiles(
  plan: JoinPlan,
  vectorFormat: AnswerFormat,
  windows: readonly WindowDone[],
): ExportFile[] {
  const files = windows.flatMap((window) => filesOf(window, plan, vectorFormat));
  const parts = files.filter(({ feature_view }) => feature_view === undefined);
  const tables = plan.refs.flatMap(({ name }) => {
    let row = 0;
    return files
      .filter(({ feature_view }) => feature_view === name)
      .map(({ path, feature_view, ...file }): ExportFile => {
        const first_vector_row = row;
        row += file.rows;
        return { path, feature_view: feature_view!, first_vector_row, ...file };
      });
  });
  return [...parts, ...tables];
}
