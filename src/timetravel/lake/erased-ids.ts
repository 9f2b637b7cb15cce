import type { ErasureEvent } from '../../store/catalogue.ts';
import { Erasures, type ErasureScope, unpackHashes } from '../../store/erasures.ts';

/** Which entities of a view were erased, and when, as far as the changes that were read say so (A8). */
export class ErasedIds {
  private hasher: Erasures;
  /** Where an erasure may come from: all views of the entity type, or this one. */
  private scopes: readonly { scope: ErasureScope; seqs: Map<string, number> }[];

  /** `key`: of the store's hashes. */
  constructor(key: Uint8Array, { entity, view }: { entity: string; view: string }) {
    this.hasher = new Erasures(key);
    this.scopes = [{ entity }, { entity, view }].map((scope) => ({ scope, seqs: new Map() }));
  }

  /** Whether the erasure reaches the view. */
  add({ scope, hashes }: ErasureEvent, seq: number): boolean {
    const reached = this.scopes.find(
      (each) => each.scope.entity === scope.entity && each.scope.view === scope.view,
    );
    for (const hash of unpackHashes(hashes)) reached?.seqs.set(hash, seq);
    return reached !== undefined;
  }

  /** Whether a revision is one of an entity that was erased after it. */
  has(entityId: string, seq: number): boolean {
    return this.scopes.some(
      ({ scope, seqs }) =>
        seqs.size > 0 && seq < (seqs.get(this.hasher.hashOf(scope, entityId)) ?? 0),
    );
  }
}
