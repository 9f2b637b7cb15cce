import { openPinned, pinVersion } from '../../src/store/pinned-version.ts';
import type { VersionStore } from '../../src/store/version-store.ts';
import { resolveWindow } from '../../src/timetravel/join/resolve-window.ts';
import type { Question } from '../../src/timetravel/question.ts';
import type { Resolution } from '../../src/timetravel/resolve.ts';
import * as code from '../../src/timetravel/status.ts';

/** What a training join answers about well-formed ids, from the pages of the file. */
export function askPages(
  version: VersionStore,
  ids: readonly string[],
  question: Question,
): { resolution: Resolution; vectors: Uint8Array } {
  const pin = pinVersion(version);
  try {
    const pages = openPinned(pin.version);
    const rows = { ids, ordinals: Int32Array.from(ids, (_, row) => row) };
    const moments = new Float64Array(ids.length).fill(question.asOf ?? Number.POSITIVE_INFINITY);
    const resolution = resolveWindow(pages, rows, moments, { ...question, asOf: undefined }, true);
    const { vectorBytes } = pin.version;
    const vectors = new Uint8Array(ids.length * vectorBytes);
    const present = [...ids.keys()].filter((row) => resolution.statuses[row] === code.PRESENT);
    const offsets = Uint32Array.from(ids, (_, row) => row * vectorBytes);
    pages.vectors.copy(resolution.vectorIds, Int32Array.from(present), vectors, offsets);
    return { resolution, vectors };
  } finally {
    pin.release();
  }
}
