import { assert } from '../ground/assert.ts';
import { Chunk, ChunkDraft, HEAD_MAX, type Revision, SEALED_MAX } from './chunk.ts';
import { EntityIds } from './entity-ids.ts';
import { eachEntry, type Environment, type Table } from './environment.ts';
import { IdRow, OLDEST, type SealedKey, timelineKeys, type TimelineKey } from './keys.ts';
import type { OrderKey } from './order.ts';
import type { ResidentHeads } from './resident-heads.ts';

/** Of a head that runs over, so many stay; the older ones move on. */
const HEAD_KEPT = 20;
/** Of chunks that are written whole: with room for late revisions. */
const SEALED_FILLED = 200;

/** Where a revision belongs: a chunk, loaded, and a position in it. */
export interface Place {
  id: string;
  /** The chunk's key. */
  key: TimelineKey;
  at: number;
  /** Whether the head says that older revisions stand in sealed chunks. */
  hasSealed: boolean;
  /** The chunk's revisions; none for an entity that has no revision yet. */
  draft: ChunkDraft;
}

/** How a question reads timelines. */
export interface TimelineReads {
  /** Points `chunk` at the entity's head; false when the entity has no revision. */
  head(id: string, chunk: Chunk): boolean;
  /** The same for the entity in this row of ids. */
  headAt(ids: EntityIds, row: number, chunk: Chunk): boolean;
  /** Told of the ids before their heads are asked for one by one: see `ResidentHeads.touch`. */
  touch?(ids: EntityIds): void;
  /**
   * Points `chunk` at the sealed chunk with the greatest lower bound at or before `key` and returns
   * that bound, or undefined when there is none. `exclusive`: strictly before.
   */
  sealed(key: SealedKey, chunk: Chunk, exclusive?: boolean): SealedKey | undefined;
}

/**
 * The timelines of one model version. An entity's newest revisions are its head chunk; older ones
 * stand in sealed chunks. A sealed chunk's key is the order below which it does not reach, so the
 * chunk that holds, or would hold, a moment is one step back from that moment's key.
 */
export class Timelines implements TimelineReads {
  private where: string;
  private environment: Environment;
  private table: Table<TimelineKey, IdRow>;
  private resident: ResidentHeads | undefined;
  /** Whose heads the commit under way has changed. */
  private changed = new EntityIds();
  /** For a head that is asked for by a text, and the row that is read. */
  private one = new EntityIds();
  private key = new IdRow();
  private found = new Chunk();
  private merged = new ChunkDraft(SEALED_MAX);
  private place: Place = {
    id: '',
    key: '',
    at: 0,
    hasSealed: false,
    draft: new ChunkDraft(SEALED_MAX + 1),
  };

  constructor(environment: Environment, resident?: ResidentHeads) {
    this.where = environment.place;
    this.environment = environment;
    this.table = environment.table<TimelineKey, IdRow>('timeline', timelineKeys);
    this.resident = resident;
    if (resident !== undefined) environment.afterCommit(() => this.dropChanged(resident));
  }

  head(id: string, chunk: Chunk): boolean {
    return this.headAt(this.rowOf(id), 0, chunk);
  }

  private rowOf(id: string): EntityIds {
    const { one } = this;
    one.clear();
    one.add(id);
    return one;
  }

  headAt(ids: EntityIds, row: number, chunk: Chunk): boolean {
    const { resident } = this;
    // Within a commit there are heads that nobody else sees, and that may never be.
    if (resident === undefined || this.environment.isWriting) return this.read(ids, row, chunk);
    if (resident.show(ids, row, chunk)) return true;
    if (!this.read(ids, row, chunk)) return false;
    resident.add(ids, row, chunk);
    return true;
  }

  /** As these, of what is resident alone: whoever asks it never waits for the file. */
  readonly inMemory: TimelineReads = {
    head: (id, chunk) => this.inMemory.headAt(this.rowOf(id), 0, chunk),
    headAt: (ids, row, chunk) => this.resident?.show(ids, row, chunk) === true,
    sealed: () => undefined,
  };

  touch(ids: EntityIds): void {
    this.resident?.touch(ids);
  }

  /** Another process has changed the entity's head. */
  forget(id: string): void {
    this.resident?.drop(this.rowOf(id), 0);
  }

  /** Another process may have changed any head. */
  forgetAll(): void {
    this.resident?.forget();
  }

  /** Points `chunk` at the entity's head as it is in the file. */
  private read(ids: EntityIds, row: number, chunk: Chunk): boolean {
    const bytes = this.table.getBinaryFast(this.key.at(ids, row));
    if (bytes === undefined) return false;
    chunk.point(bytes, this.table.lastSize, this.where);
    return true;
  }

  sealed(key: SealedKey, chunk: Chunk, exclusive = false): SealedKey | undefined {
    const range = this.table.getRange({
      start: key,
      end: { id: key.id, ...OLDEST },
      inclusiveEnd: true,
      exclusiveStart: exclusive,
      reverse: true,
      limit: 1,
    });
    for (const entry of range) {
      // A range's value has its own memory, which need not start on a multiple of eight.
      const bytes = new Uint8Array(entry.value);
      chunk.point(bytes, bytes.byteLength, this.where);
      return entry.key as SealedKey;
    }
    return undefined;
  }

  /** Points `chunk` at the entity's chunk after the sealed one with this bound; its key. */
  after(bound: SealedKey, chunk: Chunk): TimelineKey {
    const range = this.table.getRange({ start: bound, exclusiveStart: true, limit: 1 });
    const [next] = Array.from(range);
    assert(next !== undefined, 'after sealed chunks there is a head');
    const bytes = new Uint8Array(next.value);
    chunk.point(bytes, bytes.byteLength, this.where);
    return next.key;
  }

  /**
   * Within a commit: finds where a revision of this order belongs, and loads the chunk that is
   * there. The place is valid until the next call.
   */
  locate(id: string, order: OrderKey): Place {
    const { place, found } = this;
    const { draft } = place;
    place.id = id;
    place.key = id;
    place.hasSealed = false;
    draft.clear();
    if (this.head(id, found)) {
      place.at = found.insertionPoint(order);
      place.hasSealed = found.hasSealed;
      if (place.at === 0 && found.hasSealed) {
        const bound = this.sealed({ id, ...order }, found);
        assert(bound !== undefined, 'a head that says so has sealed chunks below it');
        place.key = bound;
        place.at = found.insertionPoint(order);
      }
      draft.append(found);
    } else {
      place.at = 0;
    }
    return place;
  }

  /**
   * Shows `matches` the vector ids of the revisions before the place that have exactly this event
   * time, newest first, until it says true. Says whether it did. `newest`: only the first of them.
   */
  someAtEvent(
    place: Place,
    event: number,
    matches: (vectorId: number) => boolean,
    newest = false,
  ): boolean {
    const { draft } = place;
    for (let at = place.at - 1; at >= 0; at--) {
      if (draft.event(at) !== event) return false;
      if (matches(draft.vectorId(at))) return true;
      if (newest) return false;
    }
    // Revisions of one moment may go on in the chunk below.
    let bound: TimelineKey | undefined = place.key;
    const below = this.found;
    while (bound !== undefined) {
      if (typeof bound === 'string' && !place.hasSealed) return false;
      bound =
        typeof bound === 'string'
          ? this.sealed({ id: place.id, ...draft.order(0) }, below, true)
          : this.sealed(bound, below, true);
      if (bound === undefined) return false;
      for (let at = below.count - 1; at >= 0; at--) {
        if (below.event(at) !== event) return false;
        if (matches(below.vectorId(at))) return true;
        if (newest) return false;
      }
    }
    return false;
  }

  /** Adds the revision at its place. True when it is now the newest of its entity. */
  insert(place: Place, row: Revision): boolean {
    const { draft, at, key } = place;
    const isNewest = typeof key === 'string' && at === draft.count;
    draft.insert(at, row);
    if (typeof key !== 'string') this.putSealed(key, draft);
    else if (draft.count > HEAD_MAX) this.seal(place);
    else this.put(key, draft, 0, draft.count, place.hasSealed);
    return isNewest;
  }

  /** Moves the older half of a head into the newest sealed chunk, or a new one. */
  private seal({ id, draft, hasSealed }: Place): void {
    const moved = draft.count - HEAD_KEPT;
    this.put(id, draft, moved, draft.count, true);
    if (!hasSealed) {
      this.put({ id, ...OLDEST }, draft, 0, moved, false);
      return;
    }
    const bound = this.sealed({ id, ...draft.order(moved - 1) }, this.found);
    assert(bound !== undefined, 'a head that says so has sealed chunks below it');
    if (this.found.count + moved <= SEALED_MAX) {
      this.merged.clear();
      this.merged.append(this.found);
      this.merged.appendFrom(draft, moved);
      this.put(bound, this.merged, 0, this.merged.count, false);
    } else {
      this.put({ id, ...draft.order(0) }, draft, 0, moved, false);
    }
  }

  /** A sealed chunk that a late revision came into, in two when it is too long now. */
  private putSealed(bound: SealedKey, draft: ChunkDraft): void {
    const { count } = draft;
    if (count <= SEALED_MAX) {
      this.put(bound, draft, 0, count, false);
      return;
    }
    const middle = count >>> 1;
    this.put(bound, draft, 0, middle, false);
    this.put({ id: bound.id, ...draft.order(middle) }, draft, middle, count, false);
  }

  private put(
    key: TimelineKey,
    draft: ChunkDraft,
    from: number,
    to: number,
    hasSealed: boolean,
  ): void {
    if (typeof key === 'string') this.noteChange(key);
    void this.table.put(key, draft.encode(from, to, hasSealed));
  }

  private noteChange(id: string): void {
    if (this.resident !== undefined) this.changed.add(id);
  }

  /** Whether it was committed or not: what was changed, and now is to be read, is as it was before. */
  private dropChanged(resident: ResidentHeads): void {
    for (let row = 0; row < this.changed.count; row++) resident.drop(this.changed, row);
    this.changed.clear();
  }

  /** Up to `limit` entity ids that have a timeline, after `after`, in the order of their bytes. */
  ids(after: string | undefined, limit: number): string[] {
    const ids: string[] = [];
    const range = this.table.getKeys({ start: after, exclusiveStart: after !== undefined });
    for (const key of range) {
      if (typeof key !== 'string') continue;
      ids.push(key);
      if (ids.length === limit) break;
    }
    return ids;
  }

  /** Whether the entity has exactly this revision. */
  has(id: string, revision: Revision): boolean {
    const chunk = this.found;
    if (!this.head(id, chunk)) return false;
    let at = chunk.insertionPoint(revision) - 1;
    if (at < 0 && chunk.hasSealed && this.sealed({ id, ...revision }, chunk) !== undefined) {
      at = chunk.insertionPoint(revision) - 1;
    }
    return (
      at >= 0 &&
      chunk.seq(at) === revision.seq &&
      chunk.event(at) === revision.event &&
      chunk.known(at) === revision.known &&
      chunk.created(at) === revision.created &&
      chunk.vectorId(at) === revision.vectorId
    );
  }

  /** Loads all revisions of an entity into `draft`, in A2 order. */
  readAll(id: string, draft: ChunkDraft): void {
    draft.clear();
    const sealed = this.table.getRange({ start: { id, ...OLDEST }, end: id, inclusiveEnd: true });
    for (const { value } of sealed) {
      const bytes = new Uint8Array(value);
      this.found.point(bytes, bytes.byteLength, this.where);
      draft.reserve(draft.count + this.found.count);
      draft.append(this.found);
    }
  }

  /**
   * Within a commit: stores the timeline of an entity whose id comes after all that are there, from
   * `from` on and about `most` revisions of it. Gives up to where; the next call goes on from there.
   */
  append(id: string, draft: ChunkDraft, from: number, most: number): number {
    return this.putFrom(id, draft, from, most, true);
  }

  /** Within a commit: stores a whole timeline in place of the entity's; none when it is empty. */
  replace(id: string, draft: ChunkDraft): void {
    this.remove(id);
    if (draft.count > 0) this.putFrom(id, draft, 0, draft.count, false);
  }

  private putFrom(
    id: string,
    draft: ChunkDraft,
    from: number,
    most: number,
    append: boolean,
  ): number {
    const { count } = draft;
    const sealed = count > HEAD_MAX ? count - HEAD_KEPT : 0;
    let at = from;
    while (at < sealed && at - from < most) {
      const key = at === 0 ? { id, ...OLDEST } : { id, ...draft.order(at) };
      const to = Math.min(sealed, at + SEALED_FILLED);
      void this.table.put(key, draft.encode(at, to, false), { append });
      at = to;
    }
    if (at < sealed) return at;
    this.noteChange(id);
    void this.table.put(id, draft.encode(sealed, count, sealed > 0), { append });
    return count;
  }

  /** Within a commit: removes an entity's timeline. */
  remove(id: string): void {
    this.noteChange(id);
    const keys = this.table.getKeys({ start: { id, ...OLDEST }, end: id, inclusiveEnd: true });
    for (const key of Array.from(keys)) void this.table.remove(key);
  }

  /** Every chunk's key and bytes, in key order and each in its own memory, unchecked. */
  *entries(): Iterable<{ key: TimelineKey; bytes: Uint8Array }> {
    for (const { key, value } of eachEntry(this.table, 256)) {
      yield { key, bytes: new Uint8Array(value) };
    }
  }
}
