/**
 * How far back a model version can be asked (A10). Of each entity the revision in force at `moment`
 * stays, as far as it was then known and stored, with all that comes after it in A2 order; what is
 * below may be gone. Nothing before the horizon is answered from then on, whether it is still there
 * or not.
 */
export interface Horizon {
  /** µs; −Infinity while nothing was ever dropped. */
  readonly moment: number;
  /** The greatest seq created at or before the moment: an older snapshot cannot be asked. */
  readonly seq: number;
}

export const NO_HORIZON: Horizon = { moment: Number.NEGATIVE_INFINITY, seq: 0 };
