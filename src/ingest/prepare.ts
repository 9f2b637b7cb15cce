import { assert } from '../ground/assert.ts';
import { DELETED, PayloadMemory, RevisionBatch } from '../store/batch.ts';
import { vectorBytes, writeBytes, writeNumbers } from '../store/dtype.ts';
import type { FieldRow } from '../store/fields.ts';
import type { MappingTarget } from './formats/vector.ts';
import { type GivenVector, type MappedRecord, type Rejection, rejection } from './source-record.ts';

/** Records made ready for a commit, in their order, and those that could not be. */
export interface Prepared {
  rows: RevisionBatch;
  /** By index into the records, ascending. */
  rejected: (Rejection & { index: number })[];
  /** Records that are of no interest beside others. */
  skipped?: number;
  /** To be committed with the rows. */
  fields?: FieldRow[];
  /** To be called when the commit is over, however it went, or is not to come about. */
  release?: () => void;
}

/**
 * Makes records ready for a commit: every one of them becomes a row, with its offset, or is
 * rejected. Rejects only for what is not about a record and may be over when it is tried again.
 */
export type Prepare = (records: readonly MappedRecord[]) => Prepared | Promise<Prepared>;

/** Prepares pre-computed vectors and deletes. Vectors that do not fit the version are rejected (A14). */
export function vectorPreparer(target: MappingTarget): Prepare {
  const bytes = vectorBytes(target.dim, target.dtype);
  const memory = new PayloadMemory();
  return (records) => {
    const rows = new RevisionBatch(bytes, records.length, memory.take());
    const release = (): void => memory.takeBack(rows);
    const rejected: Prepared['rejected'] = [];
    for (const [index, record] of records.entries()) {
      try {
        const payload = addPayload(rows, record, target);
        rows.addRow(record.entityId, record.event, record.known, payload, record.offset);
      } catch (error) {
        rejected.push({ ...rejection(error), index });
      }
    }
    return { rows, rejected, release };
  };
}

function addPayload(rows: RevisionBatch, record: MappedRecord, target: MappingTarget): number {
  if (record.kind === 'delete') return DELETED;
  assert(record.kind === 'vector', 'a source of vectors has no texts');
  writeVector(record.vector, target, rows.nextPayload());
  return rows.addFilled();
}

function writeVector(vector: GivenVector, { dim, dtype }: MappingTarget, out: Uint8Array): void {
  const { scale } = vector;
  if ('bytes' in vector) writeBytes(vector.bytes, dim, dtype, out, scale);
  else writeNumbers(vector.numbers, dim, dtype, out, scale);
}
