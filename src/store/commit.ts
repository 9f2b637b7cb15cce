import { crc32 } from 'node:zlib';

import { assert } from '../ground/assert.ts';
import { TidemarkError } from '../ground/errors.ts';
import {
  type CommitRequest,
  type DeadLetter,
  DELETED,
  type Outcome,
  type RevisionBatch,
} from './batch.ts';
import { type Revision, TOMBSTONE } from './chunk.ts';
import { isAboutErased } from './naming.ts';
import type { Place } from './timelines.ts';
import type { Counters } from './version-files.ts';
import type { VersionStore } from './version-store.ts';

/**
 * Applies one request to a version, inside its write transaction. This is where it is decided, in
 * source order, what becomes of every row (A4): whatever was found out before the commit is a hint.
 */
export class Commit {
  readonly outcomes: Outcome[] = [];
  /** See `CommitResult`. */
  confirmations = 0;
  /** Those of the request that are stored. */
  readonly deadLetters: DeadLetter[] = [];
  private version: VersionStore;
  private counters: Counters;
  private batch: RevisionBatch;
  private request: CommitRequest;
  /** The vector id of each payload, once it has one. */
  private vectorIds: (number | undefined)[] = [];
  private payload = DELETED;
  /** Of the payload that is being added, once it is wanted. */
  private payloadChecksum: number | undefined;
  /** Of vectors that payloads were held against. */
  private checksums = new Map<number, number>();

  /** `counters` move with what is applied; the caller stores them. */
  constructor(version: VersionStore, counters: Counters, request: CommitRequest) {
    this.version = version;
    this.counters = counters;
    this.request = request;
    this.batch = request.rows;
  }

  /**
   * Stores the request's rows, dead letters and offset. False when the stored offset is not the
   * expected one (A12), or a dead letter to be taken out is gone: then nothing is stored.
   * `firstSeq` and on go to the rows in order; `created` is the time of the commit, µs.
   */
  apply(firstSeq: number, created: number): boolean {
    const { version, batch, request } = this;
    const { offset, takenOut = [] } = request;
    if (offset !== undefined && version.offsets.next(offset) !== offset.expected) return false;
    // An erasure, or another who tried it again, was here first.
    if (!takenOut.every((position) => version.deadLetters.has(position))) return false;
    if (offset !== undefined) version.offsets.put(offset, offset.next);
    for (const position of takenOut) version.deadLetters.remove(position);
    const read = offset ?? takenOut[0];
    const origin = read === undefined ? '' : `${read.source}\0${read.topic}`;
    const partition = read?.partition ?? 0;
    const row: Revision = { event: 0, known: 0, created, seq: 0, vectorId: TOMBSTONE };
    for (let at = 0; at < batch.rows; at++) {
      const id = batch.entityIds[at]!;
      row.event = batch.events[at]!;
      row.known = batch.knowns[at]!;
      row.seq = firstSeq + at;
      this.payload = batch.payloads[at]!;
      this.payloadChecksum = undefined;
      this.outcomes.push(this.add(id, row));
      if (request.isAtomic === true && this.outcomes[at] === 'erased') throw entityErased(id);
      if (this.outcomes[at] === 'latest' || this.outcomes[at] === 'history') {
        version.log.append(id, row, origin, partition, batch.offsets[at]);
        this.counters.lastCreated = created;
        this.counters.revisions++;
      }
    }
    for (const said of request.fields ?? []) {
      const { fields, erasures } = version;
      if (erasures.none || !erasures.has(said.entityId)) fields.put(said);
    }
    for (const letter of request.deadLetters ?? []) {
      if (isAboutErased(letter, version.erasures)) continue;
      version.deadLetters.put(letter);
      this.deadLetters.push(letter);
    }
    return true;
  }

  private add(id: string, row: Revision): Outcome {
    const { timelines, erasures } = this.version;
    // Whoever has a timeline was not erased, once all that was erased is gone.
    if (!erasures.settled && erasures.has(id)) return 'erased';
    const place = timelines.locate(id, row);
    if (place.draft.count === 0 && !erasures.none && erasures.has(id)) return 'erased';
    // What was put together from all that was said stands against the last word of its moment alone:
    // to say again what was true before is no redelivery of it.
    const isWhole = this.request.fields !== undefined;
    if (timelines.someAtEvent(place, row.event, this.isEqual, isWhole)) return 'duplicate';
    if (place.draft.count === 0) this.counters.entities++;
    row.vectorId = this.payload === DELETED ? TOMBSTONE : this.vectorIdAt(place);
    const { draft, at } = place;
    if (at > 0 && row.vectorId !== TOMBSTONE && draft.vectorId(at - 1) === row.vectorId) {
      this.confirmations++;
    }
    return timelines.insert(place, row) ? 'latest' : 'history';
  }

  /** Whether a stored revision says the same as the row being added. */
  private isEqual = (stored: number): boolean => {
    if (this.payload === DELETED || stored === TOMBSTONE) {
      return this.payload === DELETED && stored === TOMBSTONE;
    }
    // Where the pool has a vector of the input, that one is stored: a model that runs again may
    // give another last bit.
    const pooled = (this.vectorIds[this.payload] ??= this.pooledId());
    if (pooled !== undefined) return stored === pooled || this.equalsPooled(stored, pooled);
    const bytes = this.batch.payloadBytes(this.payload);
    // Many revisions may be of one moment, and each new one is held against all of them.
    let checksum = this.checksums.get(stored);
    if (checksum === undefined) {
      checksum = this.version.vectors.checksum(stored);
      this.checksums.set(stored, checksum);
    }
    return checksum === this.checksumOf(bytes) && this.version.vectors.equals(stored, bytes);
  };

  /** The payload's vector in the pool: an equal input's, an equal neighbour's, or a new one. */
  private vectorIdAt({ draft, at }: Place): number {
    const given = this.vectorIds[this.payload] ?? this.pooledId();
    if (given !== undefined) return (this.vectorIds[this.payload] = given);
    // The same vector as just before or after is a confirmation: a revision, but no new bytes.
    for (const beside of [at - 1, at]) {
      if (beside < 0 || beside >= draft.count) continue;
      const stored = draft.vectorId(beside);
      if (stored !== TOMBSTONE && this.isEqual(stored) && this.isOfInput(stored)) {
        return this.keep(stored);
      }
    }
    const bytes = this.batch.payloadBytes(this.payload);
    const id = this.counters.nextVectorId++;
    this.version.vectors.append(id, bytes, this.checksumOf(bytes));
    this.keepText(id);
    return this.keep(id);
  }

  /**
   * Where inputs are kept a vector has one text: that of another input, which has an equal vector (as
   * where both are longer than what the model reads), would be lost.
   */
  private isOfInput(stored: number): boolean {
    const { texts } = this.version;
    const hash = this.batch.payloadHash(this.payload);
    return texts === undefined || hash === undefined || texts.isOf(stored, hash);
  }

  private keepText(vectorId: number): void {
    const { texts } = this.version;
    const hash = this.batch.payloadHash(this.payload);
    if (texts === undefined || hash === undefined) return;
    const text = this.batch.payloadText(this.payload);
    assert(text !== undefined, 'an input that is kept has its text');
    texts.put(vectorId, text, { append: true });
  }

  private checksumOf(bytes: Uint8Array): number {
    return (this.payloadChecksum ??= crc32(bytes));
  }

  /** Remembers the payload's vector, and that its input has one. */
  private keep(vectorId: number): number {
    this.vectorIds[this.payload] = vectorId;
    const hash = this.batch.payloadHash(this.payload);
    if (hash !== undefined) this.version.inputs.put(hash, vectorId);
    return vectorId;
  }

  private pooledId(): number | undefined {
    const hash = this.batch.payloadHash(this.payload);
    const id = hash && this.version.inputs.vectorId(hash);
    return id !== undefined && this.version.vectors.has(id) ? id : undefined;
  }

  private equalsPooled(stored: number, pooled: number): boolean {
    const bytes = new Uint8Array(this.batch.vectorBytes);
    this.version.vectors.copyInto(pooled, bytes, 0);
    return this.version.vectors.equals(stored, bytes);
  }
}

export function entityErased(id: string): TidemarkError {
  return new TidemarkError(
    'ENTITY_ERASED',
    `the entity ${JSON.stringify(id)} was erased: nothing about it is stored until that is lifted`,
  );
}
