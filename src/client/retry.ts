const FIRST_WAIT_MS = 5;
const WAIT_MS_MAX = 1_000;

/** Too much for now, or stopping: what is worth asking again. */
export function isPassing(status: number): boolean {
  return status === 429 || status === 503;
}

/**
 * How long to wait before the next try, ms: twice as long each time, with chance in it, so that
 * clients that were refused together do not come back together; never less than the server says.
 * `tries`: those so far, from 1. `chance`: in [0, 1).
 */
export function waitMs(tries: number, retryAfter: string | undefined, chance: number): number {
  const backoff = Math.min(WAIT_MS_MAX, FIRST_WAIT_MS * 2 ** (tries - 1)) * (0.5 + chance);
  const told = Number(retryAfter ?? 0) * 1_000;
  return Math.max(backoff, Number.isFinite(told) ? told * (1 + chance / 4) : 0);
}
