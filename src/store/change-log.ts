import type { Revision } from './chunk.ts';
import type { Environment, Table } from './environment.ts';
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
 */
const FIXED_BYTES = 48;
const NO_OFFSET = -1;

export class ChangeLog {
  private table: Table<number>;
  private scratch = Buffer.alloc(4_096);

  constructor(environment: Environment) {
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
    const out = this.scratch;
    out.writeDoubleLE(row.event, 0);
    out.writeDoubleLE(row.known, 8);
    out.writeDoubleLE(row.created, 16);
    out.writeDoubleLE(row.vectorId, 24);
    out.writeDoubleLE(offset ?? NO_OFFSET, 32);
    out.writeUInt32LE(partition, 40);
    const idBytes = out.write(entityId, FIXED_BYTES, 'utf8');
    const originBytes = out.write(origin, FIXED_BYTES + idBytes, 'utf8');
    out.writeUInt16LE(idBytes, 44);
    out.writeUInt16LE(originBytes, 46);
    const value = out.subarray(0, FIXED_BYTES + idBytes + originBytes);
    void this.table.put(row.seq, value, { append: true });
  }

  /** Up to `limit` changes with seq in (`after`, `upTo`], in order. */
  read(after: number, upTo: number, limit: number): Change[] {
    const range = this.table.getRange({ start: after + 1, end: upTo, inclusiveEnd: true, limit });
    return Array.from(range, ({ key, value }) => decodeChange(key, value));
  }

  count(): number {
    return (this.table.getStats() as { entryCount: number }).entryCount;
  }
}

function decodeChange(seq: number, value: Uint8Array): Change {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const idEnd = FIXED_BYTES + bytes.readUInt16LE(44);
  const offset = bytes.readDoubleLE(32);
  const [source, topic] = bytes
    .toString('utf8', idEnd, idEnd + bytes.readUInt16LE(46))
    .split('\0') as [string, string];
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
