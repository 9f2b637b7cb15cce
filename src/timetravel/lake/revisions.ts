import { join } from 'node:path';

import type { RecordBatch } from 'apache-arrow';

import { assert } from '../../ground/assert.ts';
import type { Change } from '../../store/change-log.ts';
import { TOMBSTONE } from '../../store/chunk.ts';
import { idColumn, integerColumn, isCodeColumn, timestampColumn } from '../join/columns.ts';
import { batchOf, encodeParquet, putFile, syncFolders } from './files.ts';
import { bucketOf, dayOf, partitionFolder, fileName } from './layout.ts';

/** More than come between two looks at whether the window is full. */
const PAGE_ROWS = 2 ** 16;
/** Files are flushed to the disk side by side. */
const FILES_AT_ONCE = 16;

/** Revisions that are waiting to be written, in columns. */
export class RevisionWindow {
  private buckets: number;
  private rowsMax: number;
  private ids: string[] = [];
  private event: Float64Array;
  private known: Float64Array;
  private created: Float64Array;
  private seq: Float64Array;
  private vectorId: Float64Array;
  /** By day and bucket. */
  private partitions = new Map<number, number[]>();

  constructor(buckets: number, rowsMax: number) {
    this.buckets = buckets;
    this.rowsMax = rowsMax;
    const column = () => new Float64Array(rowsMax + PAGE_ROWS);
    this.event = column();
    this.known = column();
    this.created = column();
    this.seq = column();
    this.vectorId = column();
  }

  get rows(): number {
    return this.ids.length;
  }

  get isFull(): boolean {
    return this.rows >= this.rowsMax;
  }

  add({ entityId, event, known, created, seq, vectorId }: Change): void {
    const row = this.ids.push(entityId) - 1;
    assert(row < this.seq.length, 'a window is written when it is full');
    this.event[row] = event;
    this.known[row] = known;
    this.created[row] = created;
    this.seq[row] = seq;
    this.vectorId[row] = vectorId;
    const partition = dayOf(event) * this.buckets + bucketOf(entityId, this.buckets);
    const rows = this.partitions.get(partition);
    if (rows === undefined) this.partitions.set(partition, [row]);
    else rows.push(row);
  }

  /** Writes a file for each day and bucket that has rows. How many. */
  async flush(table: string, from: number, to: number): Promise<number> {
    const name = fileName(from, to);
    const paths: string[] = [];
    const write = async ([partition, rows]: [number, number[]]): Promise<void> => {
      const day = Math.floor(partition / this.buckets);
      const folder = partitionFolder(day, partition - day * this.buckets);
      const path = join(folder, name);
      paths.push(path);
      await putFile(table, path, [await encodeParquet(this.batchOf(rows.toSorted(this.inOrder)))]);
    };
    const left = [...this.partitions];
    while (left.length > 0) await Promise.all(left.splice(-FILES_AT_ONCE).map(write));
    await syncFolders(table, paths);
    this.ids = [];
    this.partitions.clear();
    return paths.length;
  }

  /** By entity, and then as A2 orders them. */
  private inOrder = (a: number, b: number): number => {
    const { ids, event, known, seq } = this;
    if (ids[a] !== ids[b]) return ids[a]! < ids[b]! ? -1 : 1;
    return event[a]! - event[b]! || known[a]! - known[b]! || seq[a]! - seq[b]!;
  };

  private batchOf(rows: readonly number[]): RecordBatch {
    const take = (from: Float64Array) => Float64Array.from(rows, (row) => from[row]!);
    const vectorIds = take(this.vectorId);
    const deleted = Uint8Array.from(vectorIds, (id) => (id === TOMBSTONE ? 1 : 0));
    return batchOf([
      idColumn(
        'entity_id',
        rows.map((row) => this.ids[row]!),
      ),
      timestampColumn('event_timestamp', take(this.event)),
      timestampColumn('known_timestamp', take(this.known)),
      timestampColumn('created_timestamp', take(this.created)),
      integerColumn('seq', take(this.seq)),
      isCodeColumn('deleted', deleted, 1),
      integerColumn(
        'vector_id',
        vectorIds.map((id) => (id === TOMBSTONE ? Number.NaN : id)),
      ),
    ]);
  }
}
