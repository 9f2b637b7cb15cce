import { pack, unpack } from 'msgpackr';

/** What the newest vectors of a model version looked like at a time, to hold later ones against. */
export interface Baseline {
  /** When the version was made, µs: another one may have had its name. */
  version_created: number;
  /** Whether it was its view's current version then. */
  was_current: boolean;
  /** The mean of its vectors, each brought to the length 1: dim float32, little-endian. */
  centroid: Uint8Array;
  /** Share of entities that had another one's vector. */
  duplicates: number;
  /** µs */
  made: number;
}

export function packBaseline(baseline: Baseline): Uint8Array {
  return pack(baseline);
}

export function unpackBaseline(bytes: Uint8Array): Baseline {
  return unpack(bytes) as Baseline;
}
