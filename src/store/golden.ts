import { pack, unpack } from 'msgpackr';

/** What ran a model when vectors of it were made. */
export interface MadeBy {
  /** `cpu`, `cuda`, or `remote`. */
  provider: string;
  /** The processor or the card, in its maker's words. */
  device: string;
  /** The library and its version. */
  runtime: string;
}

/** Texts and the vectors that a model version's model made of them when it was first used. */
export interface Golden {
  /** When the version was made, µs: another one may have had its name. */
  version_created: number;
  texts: string[];
  /** Texts × dim float32, little-endian, row after row. */
  vectors: Uint8Array;
  made_by: MadeBy;
  /** µs */
  made: number;
}

export function packGolden(golden: Golden): Uint8Array {
  return pack(golden);
}

export function unpackGolden(bytes: Uint8Array): Golden {
  return unpack(bytes) as Golden;
}
