import { crc32 } from 'node:zlib';

import { TidemarkError } from '../ground/errors.ts';
import type { Revision } from './chunk.ts';
import { countOf, type Environment, type Table } from './environment.ts';
import { numberKeys, type SourcePosition } from './keys.ts';

/** One committed revision, in the order of commits. */
export interface Change extends Revision {
  entityId: string;
  /** Where the record was read; undefined for what came by REST. */
  position: SourcePosition | undefined;
}

/**
 * What was committed under one model version, by seq, append-only: the change feed, and the audit
 * of which record became which revision.
 *
 * bytes  field
 * 0  f64 event time, µs      24 f64 vector id, −1 for a tombstone
 * 8  f64 known time, µs      32 f64 the source's offset, −1 for REST
 * 16 f64 created time, µs    40 u32 partition
 * 44 u16 length of the entity id     46 u16 length of source │ 0x00 │ topic
 * 48 the entity id, then source │ 0x00 │ topic, UTF-8
 *    u32 CRC-32 of all before
 */
const FIXED_BYTES = 48;
const CHECKSUM_BYTES = 4;
const NO_OFFSET = -1;
const SCRATCH_BYTES = 4_096;
const APPENDED = { append: true } as const;

export class ChangeLog {
  private place: string;
  private table: Table<number>;
  private scratch = Buffer.alloc(SCRATCH_BYTES);
  private cells = new Float64Array(this.scratch.buffer, this.scratch.byteOffset, 5);
  private view = new DataView(this.scratch.buffer, this.scratch.byteOffset, SCRATCH_BYTES);
  /** By length: that much of the scratch without a checksum, and with it. Lengths repeat. */
  private views: { entry: Uint8Array; whole: Uint8Array }[] = [];

  constructor(environment: Environment) {
    this.place = environment.place;
    this.table = environment.table('log', numberKeys);
  }

  /** Within a commit. `origin`: `source NUL topic` of rows from a source, else empty. */
  append(
    entityId: string,
    row: Revision,
    origin: string,
    partition: number,
    offset: number | undefined,
  ): void {
    const { scratch, cells, view } = this;
    cells[0] = row.event;
    cells[1] = row.known;
    cells[2] = row.created;
    cells[3] = row.vectorId;
    cells[4] = offset ?? NO_OFFSET;
    const idBytes = scratch.write(entityId, FIXED_BYTES, 'utf8');
    const originBytes = scratch.write(origin, FIXED_BYTES + idBytes, 'utf8');
    view.setUint32(40, partition, true);
    view.setUint16(44, idBytes, true);
    view.setUint16(46, originBytes, true);
    const length = FIXED_BYTES + idBytes + originBytes;
    const { entry, whole } = (this.views[length] ??= {
      entry: scratch.subarray(0, length),
      whole: scratch.subarray(0, length + CHECKSUM_BYTES),
    });
    view.setUint32(length, crc32(entry), true);
    void this.table.put(row.seq, whole, APPENDED);
  }

  /** Within a commit: the same for a change that was read. */
  appendChange(change: Change): void {
    const { entityId, position } = change;
    const origin = position === undefined ? '' : `${position.source}\0${position.topic}`;
    this.append(entityId, change, origin, position?.partition ?? 0, position?.offset);
  }

  has(seq: number): boolean {
    return this.table.getBinaryFast(seq) !== undefined;
  }

  /** Within a commit. */
  remove(seq: number): void {
    void this.table.remove(seq);
  }

  /** The greatest seq of a change created at or before `moment`, µs; 0 when there is none. */
  lastCreatedBy(moment: number): number {
    // Created times never go backwards with the seqs, so halving finds it.
    let low = 0;
    let high = this.lastSeq();
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const next = this.first(middle + 1);
      // No entry up to `high` is later than the moment: what is asked for is at or below middle.
      if (next === undefined || next.created > moment) high = middle;
      else low = next.seq;
    }
    return low;
  }

  lastSeq(): number {
    const range = this.table.getRange({ start: undefined, reverse: true, limit: 1 });
    for (const { key } of range) return key;
    return 0;
  }

  private first(from: number): Change | undefined {
    return this.read(from - 1, Number.MAX_SAFE_INTEGER, 1)[0];
  }

  /** Up to `limit` changes with seq in (`after`, `upTo`], in order. */
  read(after: number, upTo: number, limit: number): Change[] {
    const range = this.table.getRange({ start: after + 1, end: upTo, inclusiveEnd: true, limit });
    return Array.from(range, ({ key, value }) => decodeChange(key, value, this.place));
  }

  /** Up to `limit` changes with seq at or below `upTo`, the newest first. */
  readBack(upTo: number, limit: number): Change[] {
    const range = this.table.getRange({ start: upTo, reverse: true, limit });
    return Array.from(range, ({ key, value }) => decodeChange(key, value, this.place));
  }

  /** How many changes have a seq in (`after`, `upTo`]. */
  countBetween(after: number, upTo: number): number {
    return this.table.getKeysCount({ start: after + 1, end: upTo, inclusiveEnd: true });
  }

  count(): number {
    return countOf(this.table);
  }
}

function decodeChange(seq: number, value: Uint8Array, place: string): Change {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const end = bytes.byteLength - CHECKSUM_BYTES;
  if (end < FIXED_BYTES || crc32(bytes.subarray(0, end)) !== bytes.readUInt32LE(end)) {
    throw new TidemarkError(
      'STORE_CORRUPT',
      `${place}: the change of seq ${seq} does not have the checksum it was written with; run \`tidemark verify\``,
    );
  }
  const idEnd = FIXED_BYTES + bytes.readUInt16LE(44);
  const offset = bytes.readDoubleLE(32);
  const [source, topic] = bytes.toString('utf8', idEnd, end).split('\0') as [string, string];
  return {
    entityId: bytes.toString('utf8', FIXED_BYTES, idEnd),
    event: bytes.readDoubleLE(0),
    known: bytes.readDoubleLE(8),
    created: bytes.readDoubleLE(16),
    seq,
    vectorId: bytes.readDoubleLE(24),
    position:
      offset === NO_OFFSET
        ? undefined
        : { source, topic, partition: bytes.readUInt32LE(40), offset },
  };
}
