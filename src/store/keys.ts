import { assert } from '../ground/assert.ts';
import type { EntityIds } from './entity-ids.ts';
import type { OrderKey } from './order.ts';

/**
 * Keys of the databases, written straight into LMDB's own key buffer: no read or write allocates
 * one. All of them sort bytewise.
 *
 * timeline, head      entity id (UTF-8) │ 0x00 │ 0xFF
 * timeline, sealed    entity id (UTF-8) │ 0x00 │ event (8) │ known (8) │ seq (8)
 * vector, log         number (8)
 * dead_letter         source │ 0x00 │ topic │ 0x00 │ partition (8) │ offset (8)
 * offset              source │ 0x00 │ topic │ 0x00 │ partition (8)
 * field               entity id │ 0x00 │ part │ 0x00 │ event (8) │ known (8)
 * view, dropped, meta text (UTF-8)
 *
 * A number is eight bytes, big-endian, shifted by 2⁵³ so that negative times sort first; the first
 * byte of one is therefore never 0xFF, and the head sorts after every sealed chunk.
 */
export interface SealedKey extends OrderKey {
  id: string;
}

/** A head's key is the entity id itself; a sealed chunk's says below which order it does not reach. */
export type TimelineKey = string | SealedKey;

/** A row of ids whose bytes are at hand: for a head, a key without a text. */
export class IdRow {
  ids: EntityIds | undefined;
  row = 0;

  /** One object points at row after row. */
  at(ids: EntityIds, row: number): this {
    this.ids = ids;
    this.row = row;
    return this;
  }
}

/** The lower bound of the oldest sealed chunk: nothing comes before it. */
export const OLDEST: OrderKey = { event: -(2 ** 53), known: -(2 ** 53), seq: 0 };

const WORD = 2 ** 32;
/** 2⁵³, in units of the high word. */
const SHIFT_HIGH = 2 ** 21;

/** The key buffer that lmdb hands to `writeKey`; a Buffer in Node. */
type KeyBuffer = Buffer;

function writeNumber(value: number, target: Uint8Array, at: number): number {
  // Shifted by halves: the sum of 2⁵³ and an odd number is not a number of JavaScript.
  const quotient = Math.floor(value / WORD);
  const low = value - quotient * WORD;
  const high = quotient + SHIFT_HIGH;
  target[at] = high >>> 24;
  target[at + 1] = high >>> 16;
  target[at + 2] = high >>> 8;
  target[at + 3] = high;
  target[at + 4] = low >>> 24;
  target[at + 5] = low >>> 16;
  target[at + 6] = low >>> 8;
  target[at + 7] = low;
  return at + 8;
}

function readNumber(source: Uint8Array, at: number): number {
  const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
  return (view.getUint32(at) - SHIFT_HIGH) * WORD + view.getUint32(at + 4);
}

export const timelineKeys = {
  writeKey(key: TimelineKey | IdRow, target: KeyBuffer, start: number): number {
    if (key instanceof IdRow) {
      const { row } = key;
      const ids = key.ids!;
      let end = start + ids.bytes.copy(target, start, ids.startOf(row), ids.ends[row]);
      target[end++] = 0;
      target[end++] = 0xff;
      return end;
    }
    const sealed = typeof key !== 'string';
    const id = sealed ? key.id : key;
    let at = start + target.write(id, start, 'utf8');
    target[at++] = 0;
    if (!sealed) {
      target[at++] = 0xff;
      return at;
    }
    at = writeNumber(key.event, target, at);
    at = writeNumber(key.known, target, at);
    return writeNumber(key.seq, target, at);
  },
  readKey(source: Uint8Array, start: number, end: number): TimelineKey {
    // lmdb hands over a reused buffer that may be longer than the key.
    const zero = source.indexOf(0, start);
    assert(zero >= 0 && zero < end, 'a timeline key has a NUL after the entity id');
    const id = Buffer.from(source.buffer, source.byteOffset + start, zero - start).toString('utf8');
    if (source[zero + 1] === 0xff) return id;
    return {
      id,
      event: readNumber(source, zero + 1),
      known: readNumber(source, zero + 9),
      seq: readNumber(source, zero + 17),
    };
  },
};

export const numberKeys = {
  writeKey(key: number, target: KeyBuffer, start: number): number {
    return writeNumber(key, target, start);
  },
  readKey(source: Uint8Array, start: number): number {
    return readNumber(source, start);
  },
};

export const textKeys = {
  writeKey(key: string, target: KeyBuffer, start: number): number {
    return start + target.write(key, start);
  },
  readKey(source: Uint8Array, start: number, end: number): string {
    return Buffer.from(source.slice(start, end)).toString();
  },
};

/** Where a record came from: one offset of one partition, as read by one source. */
export interface SourcePosition {
  source: string;
  topic: string;
  partition: number;
  offset: number;
}

export type PartitionKey = Omit<SourcePosition, 'offset'>;

function writePartition(key: PartitionKey, target: KeyBuffer, start: number): number {
  let at = start + target.write(key.source, start, 'utf8');
  target[at++] = 0;
  at += target.write(key.topic, at, 'utf8');
  target[at++] = 0;
  return writeNumber(key.partition, target, at);
}

function readPartition(source: Uint8Array, start: number): PartitionKey & { end: number } {
  const first = source.indexOf(0, start);
  const second = source.indexOf(0, first + 1);
  const text = (from: number, to: number) =>
    Buffer.from(source.buffer, source.byteOffset + from, to - from).toString('utf8');
  return {
    source: text(start, first),
    topic: text(first + 1, second),
    partition: readNumber(source, second + 1),
    end: second + 9,
  };
}

export const partitionKeys = {
  writeKey: writePartition,
  readKey(source: Uint8Array, start: number): PartitionKey {
    const { end: _end, ...key } = readPartition(source, start);
    return key;
  },
};

export const positionKeys = {
  writeKey(key: SourcePosition, target: KeyBuffer, start: number): number {
    return writeNumber(key.offset, target, writePartition(key, target, start));
  },
  readKey(source: Uint8Array, start: number): SourcePosition {
    const { end, ...key } = readPartition(source, start);
    return { ...key, offset: readNumber(source, end) };
  },
};

/** One row of what was said of a part of an entity. Times in µs. */
export interface FieldKey {
  entityId: string;
  /** Letters, digits, _ and -. */
  part: string;
  event: number;
  known: number;
}

export const fieldKeys = {
  writeKey({ entityId, part, event, known }: FieldKey, target: KeyBuffer, start: number): number {
    let at = start + target.write(entityId, start, 'utf8');
    target[at++] = 0;
    at += target.write(part, at, 'utf8');
    target[at++] = 0;
    return writeNumber(known, target, writeNumber(event, target, at));
  },
  readKey(source: Uint8Array, start: number): FieldKey {
    const first = source.indexOf(0, start);
    const second = source.indexOf(0, first + 1);
    const text = (from: number, to: number) =>
      Buffer.from(source.buffer, source.byteOffset + from, to - from).toString('utf8');
    return {
      entityId: text(start, first),
      part: text(first + 1, second),
      event: readNumber(source, second + 1),
      known: readNumber(source, second + 9),
    };
  },
};
