import { assert } from '../ground/assert.ts';
import type { FieldRow } from './fields.ts';
import type { PartitionKey, SourcePosition } from './keys.ts';

/** Bytes of the hash that names a model input: among 10⁹ inputs two collide with p < 10⁻²⁰. */
export const HASH_BYTES = 16;

/** A payload number that stands for a delete. */
export const DELETED = -1;

/**
 * Revisions to commit under one model version, in source order, in columns.
 *
 * A row points at a payload: one vector, which several rows may share. A payload has the vector's
 * bytes in the version's dtype, and perhaps the hash of the model input that it is the vector of;
 * only the embedder gives hashes.
 */
export class RevisionBatch {
  readonly entityIds: string[] = [];
  /** µs */
  readonly events: number[] = [];
  /** µs */
  readonly knowns: number[] = [];
  /** Index into the payloads, or `DELETED`. */
  readonly payloads: number[] = [];
  /** The source's offset of each row; empty where the rows came by REST. */
  readonly offsets: number[] = [];
  readonly vectorBytes: number;
  payloadCount = 0;
  private bytes: Uint8Array;
  private hashes: (Uint8Array | undefined)[] = [];
  /** Of payloads whose inputs are kept. */
  private texts: Uint8Array[] = [];
  private textBytes = 0;

  /**
   * `vectorBytes`: bytes of one vector of the version. `capacity`: payloads to make room for.
   * `memory`: what another batch gave up, to be used where it is enough.
   */
  constructor(vectorBytes: number, capacity = 16, memory?: Uint8Array) {
    this.vectorBytes = vectorBytes;
    const bytes = vectorBytes * Math.max(1, capacity);
    const isEnough = memory !== undefined && memory.byteLength >= bytes;
    this.bytes = isEnough ? memory : new Uint8Array(bytes);
  }

  get rows(): number {
    return this.entityIds.length;
  }

  /**
   * Room for the next payload's bytes: fill it, then call `addFilled`. Filling that throws leaves
   * the batch as it was.
   */
  nextPayload(): Uint8Array {
    const from = this.payloadCount * this.vectorBytes;
    if (from + this.vectorBytes > this.bytes.byteLength) {
      const grown = new Uint8Array(this.bytes.byteLength * 2);
      grown.set(this.bytes);
      this.bytes = grown;
    }
    return this.bytes.subarray(from, from + this.vectorBytes);
  }

  /**
   * Takes what `nextPayload` gave as a payload; with the hash of its input where it has one, and what
   * is stored of its text (see `packText`) where the version keeps it.
   */
  addFilled(hash?: Uint8Array, text?: Uint8Array): number {
    this.hashes.push(hash);
    if (text !== undefined) {
      this.texts[this.payloadCount] = text;
      this.textBytes += text.byteLength;
    }
    return this.payloadCount++;
  }

  /** `offset` for rows from a source. Times in µs. */
  addRow(entityId: string, event: number, known: number, payload: number, offset?: number): void {
    assert(payload === DELETED || payload < this.payloadCount, 'a row points at a payload');
    assert(
      this.offsets.length === (offset === undefined ? 0 : this.rows),
      'either every row of a batch has an offset or none',
    );
    this.entityIds.push(entityId);
    this.events.push(event);
    this.knowns.push(known);
    this.payloads.push(payload);
    if (offset !== undefined) this.offsets.push(offset);
  }

  /** Gives up the memory of the payloads, of which none is to be asked for any more. */
  giveUp(): Uint8Array {
    const { bytes } = this;
    this.bytes = new Uint8Array(0);
    return bytes;
  }

  /** Bytes of all payloads, and of their texts. */
  get payloadTotal(): number {
    return this.payloadCount * this.vectorBytes + this.textBytes;
  }

  payloadBytes(payload: number): Uint8Array {
    const from = payload * this.vectorBytes;
    return this.bytes.subarray(from, from + this.vectorBytes);
  }

  payloadHash(payload: number): Uint8Array | undefined {
    return this.hashes[payload];
  }

  payloadText(payload: number): Uint8Array | undefined {
    return this.texts[payload];
  }
}

/** Memory of so many batches is kept for those to come. */
const KEPT_MAX = 4;
/** Larger ones are rare. */
const KEPT_BYTES_MAX = 2 ** 26;

/**
 * Memory of batches that were committed, for those to come: fresh memory costs as much as the
 * vectors in it, and the collection of what is left of it as much again.
 */
export class PayloadMemory {
  private kept: Uint8Array[] = [];

  take(): Uint8Array | undefined {
    return this.kept.pop();
  }

  /** Of a batch that nobody asks for a payload, or fills, any more. */
  takeBack(batch: RevisionBatch): void {
    const memory = batch.giveUp();
    if (this.kept.length < KEPT_MAX && memory.byteLength <= KEPT_BYTES_MAX) this.kept.push(memory);
  }
}

/** Of one name: its value, which may be none, or where the name stands more than once, all of them. */
export type HeaderValue = Uint8Array | null | readonly (Uint8Array | null)[];

/** A record that could not become a revision: kept as it came, with the reason. */
export interface DeadLetter {
  position: SourcePosition;
  /** A stable code, in capitals. */
  reason: string;
  message: string;
  /** Original bytes; null as Kafka has it. */
  key: Uint8Array | null;
  value: Uint8Array | null;
  /** Any name is possible, `__proto__` too: to be made with Object.fromEntries. */
  headers: Readonly<Record<string, HeaderValue>>;
  /** The record's own timestamp, µs. */
  timestamp: number;
}

/**
 * The next offset to read of a partition. The commit applies only where the stored one still is
 * `expected` (undefined: none was stored yet), so that a zombie or a replay changes nothing (A12).
 */
interface OffsetAdvance extends PartitionKey {
  expected: bigint | undefined;
  next: bigint;
}

/** All that one commit makes durable together, or not at all. */
export interface CommitRequest {
  rows: RevisionBatch;
  deadLetters?: readonly DeadLetter[];
  /**
   * Dead letters that are taken out, those of one partition where rows were made of them. Where one
   * is not there any more, nothing of the request is stored.
   */
  takenOut?: readonly SourcePosition[];
  /**
   * What the records said of the parts of their entities, where the version keeps that; the rows are
   * then what is in force at their moments by all that was said.
   */
  fields?: readonly FieldRow[];
  /** Refuse it whole, with ENTITY_ERASED, rather than leave rows of erased entities out. */
  isAtomic?: boolean;
  offset?: OffsetAdvance;
}

/** What became of a row (A4); `erased`: refused, because its entity was erased (A8). */
export type Outcome = 'latest' | 'history' | 'duplicate' | 'erased';

export interface CommitResult {
  /** A snapshot that holds this commit. */
  snapshot: number;
  /** One a row; empty when fenced. */
  outcomes: Outcome[];
  /** Revisions whose vector is that of the one before them: nothing but their times is new. */
  confirmations: number;
  /** The dead letters that were stored: none that is about an erased entity (A8). */
  deadLetters: readonly DeadLetter[];
  /** True when an offset or a dead letter was not there as expected: nothing was stored. */
  fenced: boolean;
}
