import type { Catalogue, Erasure, FeatureView } from './catalogue.ts';
import { type Removed, removeErased } from './erasing.ts';
import type { ErasedOfVersion, Erasures, ErasureScope } from './erasures.ts';
import type { VersionFiles } from './version-files.ts';
import type { VersionStore } from './version-store.ts';
import type { Writer } from './writer.ts';

/** An erasure whose entities are still known by their ids. */
export interface KnownErasure {
  receipt: Erasure;
  ids: readonly string[];
  /** The seq of the erasure before it. */
  before: number;
}

/** The erased entities of an open store, and how far each version is rid of them. */
export class ErasedSet {
  readonly set: Erasures;
  /** The seq of the last erasure. */
  last: number;
  private catalogue: Catalogue;
  /** The seq of the erasure up to which nothing is left in a version's databases. */
  private settled = new WeakMap<ErasedOfVersion, number>();
  /** Receipts of erasures that something may be left of in a file. */
  private open = new Map<string, Erasure>();

  constructor(catalogue: Catalogue) {
    this.catalogue = catalogue;
    this.set = catalogue.erasures();
    this.last = catalogue.lastErasure();
    for (const receipt of catalogue.receipts()) {
      if (receipt.compacted_at === undefined) this.open.set(receipt.id, receipt);
    }
  }

  /** How many erasures something may be left of in a file. */
  get waiting(): number {
    return this.open.size;
  }

  /** `receipt` where the erasure was asked for here. */
  add(scope: ErasureScope, hashes: readonly string[], seq: number, receipt?: Erasure): void {
    this.set.add(scope, hashes);
    this.last = Math.max(this.last, seq);
    if (receipt !== undefined) this.open.set(receipt.id, receipt);
  }

  /** What a version of the view asks, whose files are these now. */
  of({ entity, name }: FeatureView, files: VersionFiles): ErasedOfVersion {
    const settled = (): boolean => this.settled.get(of)! >= this.last;
    const of = this.set.of(entity, name, settled);
    this.settled.set(of, files.erasedUpTo());
    return of;
  }

  /** A version that begins now has nothing of what was erased before. */
  begin({ erasures }: VersionStore): void {
    this.settled.set(erasures, this.last);
  }

  /** The seq up to which nothing that was erased is left in a version's databases. */
  goneUpTo({ erasures }: VersionStore): number {
    return erasures.settled ? Number.POSITIVE_INFINITY : this.settled.get(erasures)!;
  }

  /**
   * Removes what was erased from every version that may hold some of it, or from `only` one. Where
   * only `known` is left to remove, its entities are looked for, otherwise every entity is asked
   * about. One that fails does not keep the others from theirs; the first failure is thrown then.
   */
  async removeAll(
    writer: Writer,
    versions: readonly VersionStore[],
    signal: AbortSignal,
    { known, only }: { known?: KnownErasure; only?: VersionStore } = {},
  ): Promise<void> {
    const total: Removed = { entities: 0, revisions: 0, inputs: 0, dead_letters: 0 };
    const { last } = this;
    const failures: unknown[] = [];
    for (const version of only === undefined ? versions : [only]) {
      const { erasures } = version;
      if (erasures.settled) continue;
      const isNext = known !== undefined && this.settled.get(erasures)! >= known.before;
      const ids = isNext ? known.ids.filter((id) => erasures.has(id)) : undefined;
      const upTo = isNext ? known.receipt.seq : last;
      try {
        const removed = await removeErased(writer, version, upTo, ids, signal);
        this.settled.set(erasures, upTo);
        for (const what of Object.keys(total) as (keyof Removed)[]) total[what] += removed[what];
      } catch (error) {
        signal.throwIfAborted();
        failures.push(error);
      }
    }
    const reached = Math.min(last, ...versions.map((version) => this.goneUpTo(version)));
    for (const receipt of this.open.values()) {
      if (receipt.removed_at !== undefined || receipt.seq > reached) continue;
      const isKnown = receipt.id === known?.receipt.id;
      this.put({ ...receipt, removed_at: writer.now(), ...(isKnown && { removed: total }) });
    }
    this.noteCompacted(writer);
    if (failures.length > 0) throw failures[0];
  }

  /** Writes down which erasures nothing is left of in any file, now that files were unlinked. */
  noteCompacted(writer: Writer): void {
    if (this.catalogue.isUnlinking) return;
    for (const receipt of this.open.values()) {
      if (receipt.removed_at === undefined) continue;
      const files = this.catalogue.generationsIn(receipt.scope);
      if (files.some(({ since }) => since < receipt.seq)) continue;
      this.put({ ...receipt, compacted_at: writer.now() });
      this.open.delete(receipt.id);
    }
  }

  private put(receipt: Erasure): void {
    this.catalogue.putReceipt(receipt);
    this.open.set(receipt.id, receipt);
  }
}
