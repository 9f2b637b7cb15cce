import { rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { RecordBatch } from 'apache-arrow';

import { NumberSet } from '../../store/number-set.ts';
import { take } from '../join/take.ts';
import type { ErasedIds } from './erased-ids.ts';
import { batchOf, encodeParquet, putFile, readParquet, syncFolders } from './files.ts';
import { listFiles, REVISIONS, VECTORS } from './layout.ts';
import { encodeVectors } from './vectors.ts';

/** What a sweep left behind, and what it took away. */
export interface Swept {
  /** The ids of the vectors that revisions still refer to. */
  referenced: NumberSet;
  /** Revisions. */
  removed: number;
}

/**
 * Rewrites the files that hold revisions of erased entities, and then those with vectors that no
 * revision refers to any more. Each file has its old content or its new one, and a sweep that broke
 * off may be done again.
 */
export async function sweep(table: string, erased: ErasedIds): Promise<Swept> {
  const swept: Swept = { referenced: new NumberSet(), removed: 0 };
  const touched: string[] = [];
  for (const { path } of listFiles(table, REVISIONS)) {
    if (await sweepRevisions(table, path, erased, swept)) touched.push(path);
  }
  for (const { path } of listFiles(table, VECTORS)) {
    if (await sweepVectors(table, path, swept.referenced)) touched.push(path);
  }
  await syncFolders(table, touched);
  return swept;
}

/** Whether the file was changed. */
async function sweepRevisions(
  table: string,
  path: string,
  erased: ErasedIds,
  swept: Swept,
): Promise<boolean> {
  const narrow = await readParquet(table, path, ['entity_id', 'seq', 'vector_id']);
  const [entityIds, seqs, vectorIds] = ['entity_id', 'seq', 'vector_id'].map((name) =>
    narrow.getChild(name)!,
  );
  const kept: number[] = [];
  for (let row = 0; row < narrow.numRows; row++) {
    if (erased.has(entityIds!.get(row) as string, Number(seqs!.get(row)))) continue;
    kept.push(row);
    const vectorId = vectorIds!.get(row) as bigint | null;
    if (vectorId !== null) swept.referenced.add(Number(vectorId));
  }
  if (kept.length === narrow.numRows) return false;
  swept.removed += narrow.numRows - kept.length;
  if (kept.length === 0) await rm(join(table, path));
  else {
    const whole = await readParquet(table, path);
    await putFile(table, path, [await encodeParquet(rowsOf(whole, Int32Array.from(kept)))]);
  }
  return true;
}

/** Whether the file was changed. */
async function sweepVectors(table: string, path: string, referenced: NumberSet): Promise<boolean> {
  const column = (await readParquet(table, path, ['vector_id'])).getChild('vector_id')!;
  const ids = Array.from(column, Number);
  const kept = ids.flatMap((id, row) => (referenced.has(id) ? [row] : []));
  if (kept.length === ids.length) return false;
  if (kept.length === 0) {
    await rm(join(table, path));
    return true;
  }
  const whole = await readParquet(table, path);
  const numbers = whole.getChild('vector')!.data[0]!.children[0]!.values as Float32Array;
  const dim = numbers.length / ids.length;
  const keptIds = Float64Array.from(kept, (row) => ids[row]!);
  const chunks = encodeVectors(keptIds, dim, (at, out) => {
    const vector = numbers.subarray(kept[at]! * dim, (kept[at]! + 1) * dim);
    out.set(new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength));
  });
  await putFile(table, path, chunks);
  return true;
}

function rowsOf({ schema, data }: RecordBatch, rows: Int32Array): RecordBatch {
  return batchOf(
    schema.fields.map((field, at) => ({
      field,
      data: take(data.children[at]!, rows, field.name),
    })),
  );
}
