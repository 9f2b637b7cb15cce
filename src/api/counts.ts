import { TidemarkError } from '../ground/errors.ts';
import type { Store } from '../store/store.ts';

export interface VersionCounts {
  entities: number;
  revisions: number;
  vectors: number;
  kept_input_bytes: number;
  file_bytes: number;
}

/** What a model version holds; undefined while it is being dropped. */
export function countsOf(store: Store, view: string, version: string): VersionCounts | undefined {
  try {
    const opened = store.version(view, version);
    const { entities, revisions } = opened.counters();
    const vectors = opened.vectors.count();
    const kept_input_bytes = opened.texts?.bytes() ?? 0;
    const file_bytes = opened.environment.bytes();
    return { entities, revisions, vectors, kept_input_bytes, file_bytes };
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'VERSION_NOT_FOUND') return undefined;
    throw error;
  }
}
