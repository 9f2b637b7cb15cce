import { type Chunk, chunkBytes, HEAD_MAX, SEALED_MAX } from './chunk.ts';
import type { EntityIds } from './entity-ids.ts';
import { type SealedKey, timelineKeys, type TimelineKey } from './keys.ts';
import type { Tree } from './meta-page.ts';
import { compareOrder, type OrderKey } from './order.ts';
import { type PageFile, TreeCursor } from './page-tree.ts';
import type { TimelineReads } from './timelines.ts';

/** An entity id, and what a key has beside it. */
const KEY_BYTES_MAX = 1_978;

/**
 * The timelines of a version read from the pages of its file: the same answers as `Timelines`, for
 * many entities in the order of their ids, of which each page is read once.
 */
export class PageTimelines implements TimelineReads {
  private file: PageFile;
  private tree: Tree;
  private cursor: TreeCursor;
  private key = Buffer.alloc(KEY_BYTES_MAX);
  private headBytes = new Uint8Array(chunkBytes(HEAD_MAX));
  private sealedBytes = new Uint8Array(chunkBytes(SEALED_MAX));
  /** The sealed chunk that is in `sealedBytes`, and a key that it was found for. */
  private found: { bound: SealedKey; upTo: OrderKey; chunk: Chunk } | undefined;

  constructor(file: PageFile, tree: Tree) {
    this.file = file;
    this.tree = tree;
    this.cursor = new TreeCursor(file, tree);
  }

  /** The same timelines, at a place of their own. */
  another(): PageTimelines {
    return new PageTimelines(this.file, this.tree);
  }

  head(id: string, chunk: Chunk): boolean {
    const length = timelineKeys.writeKey(id, this.key, 0);
    const { cursor } = this;
    if (!cursor.seek(this.key, length) || !cursor.isAt(this.key, length)) return false;
    chunk.point(this.headBytes, cursor.copyValue(this.headBytes), this.file.place);
    return true;
  }

  headAt(ids: EntityIds, row: number, chunk: Chunk): boolean {
    return this.head(ids.text(row), chunk);
  }

  sealed(key: SealedKey, chunk: Chunk, exclusive = false): SealedKey | undefined {
    const { found } = this;
    // Rows of one entity, asked from the latest on, are mostly of one chunk after the other.
    const isFound =
      !exclusive &&
      found?.chunk === chunk &&
      found.bound.id === key.id &&
      compareOrder(found.bound, key) <= 0 &&
      compareOrder(key, found.upTo) <= 0;
    if (isFound) return found.bound;
    const { cursor } = this;
    const length = timelineKeys.writeKey(key, this.key, 0);
    const isThere = cursor.seek(this.key, length);
    const isExact = isThere && cursor.isAt(this.key, length);
    if ((!isExact || exclusive) && !cursor.previous()) return undefined;
    const bound = this.currentKey();
    if (typeof bound === 'string' || bound.id !== key.id) return undefined;
    chunk.point(this.sealedBytes, cursor.copyValue(this.sealedBytes), this.file.place);
    // An exclusive key is the bound of the chunk above.
    this.found = exclusive ? undefined : { bound, upTo: key, chunk };
    return bound;
  }

  /**
   * Moves to the chunk that has, or would have, the revision of this order of the entity; without
   * one to the first chunk of all. Undefined where there is none.
   */
  seekFrom(from: SealedKey | undefined): TimelineKey | undefined {
    const { cursor, key } = this;
    if (from === undefined) return cursor.seek(key, 0) ? this.currentKey() : undefined;
    const isExact = cursor.seek(key, timelineKeys.writeKey(from, key, 0));
    const found = isExact ? this.currentKey() : undefined;
    if (typeof found === 'object' && found.id === from.id && compareOrder(found, from) === 0) {
      return found;
    }
    // Of sealed chunks the one before has it, where there is one of the entity.
    if (cursor.previous()) {
      const before = this.currentKey();
      if (typeof before === 'object' && before.id === from.id) return before;
      cursor.next();
    }
    return found;
  }

  /** The chunk behind; undefined behind the last. */
  next(): TimelineKey | undefined {
    return this.cursor.next() ? this.currentKey() : undefined;
  }

  /** Points `chunk` at the one that `seekFrom` or `next` came to. */
  current(chunk: Chunk): void {
    this.found = undefined;
    chunk.point(this.sealedBytes, this.cursor.copyValue(this.sealedBytes), this.file.place);
  }

  private currentKey(): TimelineKey {
    const { cursor } = this;
    return timelineKeys.readKey(cursor.bytes, cursor.keyAt, cursor.keyAt + cursor.keyBytes);
  }
}
