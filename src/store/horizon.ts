import { type ErrorCode, TidemarkError } from '../ground/errors.ts';
import type { FeatureView } from './catalogue.ts';

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

/**
 * Throws `code` for a replica that has not come as far as a horizon that its leader has: revisions
 * that were in force there before may be gone from what the leader sends, and what is here so far is
 * no state that the leader ever had.
 */
export function refuseBelowHorizon(
  views: readonly FeatureView[],
  snapshot: number,
  code: ErrorCode,
): void {
  for (const { name, horizon = NO_HORIZON } of views) {
    if (horizon.seq <= snapshot) continue;
    throw new TidemarkError(
      code,
      `this read replica is at snapshot ${snapshot}, and is whole from ${horizon.seq} on, the ` +
        `horizon of the retention of ${name}: let it follow until it is there, or restore a backup`,
    );
  }
}
