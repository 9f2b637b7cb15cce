import { join } from 'node:path';

import { readParquet } from '../../src/timetravel/lake/files.ts';
import { listFiles } from '../../src/timetravel/lake/layout.ts';

/** A revision as a lake has it, with its vector. */
export interface LakeRow {
  entity_id: string;
  event: number;
  known: number;
  created: number;
  seq: number;
  deleted: boolean;
  vector: number[] | null;
}

/** The table of a version in an export's directory. */
export function tableOf(out: string, view = 'job', version = 'v1'): string {
  return join(out, 'lake', view, version);
}

/** All that a lake table holds, by seq, its vectors by id, and its files. */
export async function readLake(
  table: string,
): Promise<{ rows: LakeRow[]; vectors: Map<number, number[]>; files: string[] }> {
  const files: string[] = [];
  const vectors = new Map<number, number[]>();
  for (const { path } of listFiles(table, 'vectors')) {
    files.push(path);
    let before = -1;
    for (const row of await readParquet(table, path)) {
      const id = Number(row['vector_id']);
      if (id <= before || vectors.has(id)) throw new Error(`the vector ${id} is out of order`);
      before = id;
      vectors.set(id, [...(row['vector'] as Iterable<number>)]);
    }
  }
  const rows: LakeRow[] = [];
  for (const { path } of listFiles(table, 'revisions')) {
    files.push(path);
    const batch = await readParquet(table, path);
    const column = (name: string) => batch.getChild(name)!;
    const micros = (name: string) => column(name).data[0]!.values as BigInt64Array;
    for (let row = 0; row < batch.numRows; row++) {
      const id = column('vector_id').get(row) as bigint | null;
      rows.push({
        entity_id: column('entity_id').get(row) as string,
        event: Number(micros('event_timestamp')[row]),
        known: Number(micros('known_timestamp')[row]),
        created: Number(micros('created_timestamp')[row]),
        seq: Number(column('seq').get(row)),
        deleted: column('deleted').get(row) as boolean,
        vector: id === null ? null : vectors.get(Number(id))!,
      });
    }
  }
  return { rows: rows.toSorted((a, b) => a.seq - b.seq), vectors, files: files.toSorted() };
}
