import { TidemarkError } from '../ground/errors.ts';
import type { Store } from '../store/store.ts';

export interface VersionCounts {
  entities: number;
  revisions: number;
  vectors: number;
}

/** What a model version holds; undefined while it is being dropped. */
export function countsOf(store: Store, view: string, version: string): VersionCounts | undefined {
  try {
    const { entities, revisions, nextVectorId } = store.version(view, version).counters();
    return { entities, revisions, vectors: nextVectorId };
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'VERSION_NOT_FOUND') return undefined;
    throw error;
  }
}
