import { Chunk, TOMBSTONE } from '../store/chunk.ts';
import type { EntityIds } from '../store/entity-ids.ts';
import type { ErasedEntities } from '../store/erasures.ts';
import type { Horizon } from '../store/horizon.ts';
import type { SealedKey } from '../store/keys.ts';
import type { TimelineReads } from '../store/timelines.ts';
import type { Bounds } from './question.ts';
import * as code from './status.ts';

/** What resolving reads: one model version, in one state of its files. */
export interface Resolvable {
  readonly timelines: TimelineReads;
  /** What lies before it cannot be asked any more (A10). */
  readonly horizon: Horizon;
  readonly erasures: ErasedEntities;
}

/** Greater than every known time and seq: a key with it is above all revisions of its event time. */
const ABOVE_ALL = Number.MAX_SAFE_INTEGER;

/** Whether the bounds reach before what can be asked (A10). */
export function isBeforeHorizon({ event, known, created, seq }: Bounds, horizon: Horizon): boolean {
  const { moment } = horizon;
  return event < moment || known < moment || created < moment || seq < horizon.seq;
}

/** Answers of resolving, in columns: one row a question row. */
export class Resolution {
  /** Codes of `STATUSES` and `REASONS`. */
  readonly statuses: Uint8Array;
  readonly reasons: Uint8Array;
  /** Of the winner; meaningless unless present. Times in µs. */
  readonly vectorIds: Float64Array;
  /** Of the winner, a tombstone too; NaN where there is none. */
  readonly events: Float64Array;
  /** Empty where only what is in force was asked, as are the next two. */
  readonly knowns: Float64Array;
  readonly createds: Float64Array;
  readonly seqs: Float64Array;
  private isWhole: boolean;

  /** `isWhole`: with what else is known of the winner, at the price of three columns more. */
  constructor(rows: number, isWhole = true) {
    const more = isWhole ? rows : 0;
    // In one piece: to make many small ones takes longer than to fill them.
    const memory = new ArrayBuffer((2 * rows + 3 * more) * 8 + 2 * rows);
    let at = 0;
    const column = (length: number): Float64Array => {
      const from = at;
      at += length * 8;
      return new Float64Array(memory, from, length);
    };
    this.vectorIds = column(rows);
    this.events = column(rows);
    this.knowns = column(more);
    this.createds = column(more);
    this.seqs = column(more);
    this.statuses = new Uint8Array(memory, at, rows);
    this.reasons = new Uint8Array(memory, at + rows, rows);
    this.isWhole = isWhole;
  }

  miss(row: number, status: number, reason: number): void {
    this.statuses[row] = status;
    this.reasons[row] = reason;
    this.vectorIds[row] = TOMBSTONE;
    this.events[row] = Number.NaN;
    if (!this.isWhole) return;
    this.knowns[row] = Number.NaN;
    this.createds[row] = Number.NaN;
    this.seqs[row] = Number.NaN;
  }

  /** The answers of the first rows alone. */
  first(rows: number): Resolution {
    return this.take(Int32Array.from({ length: rows }, (_, row) => row));
  }

  /** The answers of `rows`, in that order. */
  take(rows: Int32Array): Resolution {
    const taken = new Resolution(rows.length, this.isWhole);
    for (let at = 0; at < rows.length; at++) {
      const row = rows[at]!;
      taken.statuses[at] = this.statuses[row]!;
      taken.reasons[at] = this.reasons[row]!;
      taken.vectorIds[at] = this.vectorIds[row]!;
      taken.events[at] = this.events[row]!;
      if (!this.isWhole) continue;
      taken.knowns[at] = this.knowns[row]!;
      taken.createds[at] = this.createds[row]!;
      taken.seqs[at] = this.seqs[row]!;
    }
    return taken;
  }

  /** Takes the answers of `from` for `rows`, one each. */
  set(rows: Int32Array, from: Resolution): void {
    for (let at = 0; at < rows.length; at++) {
      const row = rows[at]!;
      this.statuses[row] = from.statuses[at]!;
      this.reasons[row] = from.reasons[at]!;
      this.vectorIds[row] = from.vectorIds[at]!;
      this.events[row] = from.events[at]!;
      if (!this.isWhole) continue;
      this.knowns[row] = from.knowns[at]!;
      this.createds[row] = from.createds[at]!;
      this.seqs[row] = from.seqs[at]!;
    }
  }

  /**
   * Takes revision `at` of the chunk as the row's winner. A tombstone answers that it is deleted, at
   * any age; a vector older than `oldest` that it is too old (A6).
   */
  win(row: number, chunk: Chunk, at: number, oldest: number): void {
    const vectorId = chunk.vectorId(at);
    const event = chunk.event(at);
    const isDeleted = vectorId === TOMBSTONE;
    this.statuses[row] = isDeleted
      ? code.NOT_FOUND
      : event < oldest
        ? code.OUTSIDE_MAX_AGE
        : code.PRESENT;
    this.reasons[row] = isDeleted ? code.DELETED : code.NO_REASON;
    this.vectorIds[row] = vectorId;
    this.events[row] = event;
    if (!this.isWhole) return;
    this.knowns[row] = chunk.known(at);
    this.createds[row] = chunk.created(at);
    this.seqs[row] = chunk.seq(at);
  }
}

/**
 * From an entity and bounds to the revision in force: of those within the bounds the last in A2
 * order. The one path of every question about time: latest, as of, and each row of a join (A3).
 *
 * Costs one point read when the answer is among the entity's newest revisions, and one step a chunk
 * further back; never more for a longer history or a larger view.
 */
export class Resolver {
  private version: Resolvable;
  private horizon: Horizon;
  private head = new Chunk();
  /** Sealed chunks come in memory of their own; a head in lmdb's, where its views are kept. */
  private sealed = new Chunk();
  private id = '';
  /** Where the id stands instead, and in which row. */
  private ids: EntityIds | undefined;
  private row = 0;
  private isThere = false;
  private isErased = false;
  private unknown = false;

  constructor(version: Resolvable) {
    this.version = version;
    this.horizon = version.horizon;
  }

  /** To be called before the rows of a question, where the version is one that goes on. */
  begin(): void {
    this.horizon = this.version.horizon;
  }

  /**
   * Takes the entity, well-formed, whose rows are answered next. lmdb's timelines show its newest
   * revisions until the next read, for one row; those read from pages for all rows of the entity.
   * Gives whether some of its revisions are further back.
   */
  open(id: string): boolean {
    this.id = id;
    this.ids = undefined;
    return this.opened(this.version.timelines.head(id, this.head));
  }

  /** The same for the entity in a row of ids. */
  openAt(ids: EntityIds, row: number): boolean {
    this.ids = ids;
    this.row = row;
    return this.opened(this.version.timelines.headAt(ids, row, this.head));
  }

  private opened(isThere: boolean): boolean {
    const { erasures } = this.version;
    this.isThere = isThere;
    this.isErased = !(isThere ? erasures.settled : erasures.none) && erasures.has(this.text());
    return isThere && this.head.hasSealed;
  }

  private text(): string {
    return this.ids?.text(this.row) ?? this.id;
  }

  /** Writes the answer for the entity of `open` into row `row` of `out`. */
  answer(bounds: Bounds, out: Resolution, row: number): void {
    const { isThere, horizon } = this;
    this.unknown = false;
    if (this.isErased) {
      out.miss(row, code.NOT_FOUND, code.ERASED);
      return;
    }
    if (isBeforeHorizon(bounds, horizon)) {
      out.miss(row, code.INVALID, code.BEFORE_RETENTION);
      return;
    }
    if (!isThere) {
      out.miss(row, code.NOT_FOUND, code.NO_REASON);
      return;
    }
    let chunk = this.head;
    let at = this.winner(chunk, bounds);
    if (at < 0 && chunk.hasSealed) {
      chunk = this.sealed;
      const from: SealedKey = {
        id: this.text(),
        event: bounds.event,
        known: ABOVE_ALL,
        seq: ABOVE_ALL,
      };
      const { timelines } = this.version;
      let below = timelines.sealed(from, chunk);
      while (below !== undefined && (at = this.winner(chunk, bounds)) < 0) {
        below = timelines.sealed(below, chunk, true);
      }
    }
    if (at >= 0) out.win(row, chunk, at, bounds.oldest);
    else out.miss(row, code.NOT_FOUND, this.unknown ? code.NOT_YET_KNOWN : code.NO_REASON);
  }

  /**
   * Where in the chunk the winner stands, −1 when it has none. Notes on the way whether a revision
   * was in time and in the snapshot, and only not known yet.
   */
  private winner(chunk: Chunk, { event, known, created, seq }: Bounds): number {
    if (chunk.leastSeq > seq) return -1;
    const isUnknown = chunk.leastKnown > known || chunk.leastCreated > created;
    if (isUnknown && this.unknown) return -1;
    for (let at = chunk.countAtOrBefore(event) - 1; at >= 0; at--) {
      if (chunk.seq(at) > seq) continue;
      if (chunk.known(at) <= known && chunk.created(at) <= created) return at;
      this.unknown = true;
    }
    return -1;
  }
}
