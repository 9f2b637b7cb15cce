import { ServerRefused } from './failure.ts';

/** Waits between tries; a test hands in one that does not wait. */
export type Sleep = (ms: number) => Promise<void>;

/** With the waits below, the server has some two minutes to come back to its senses. */
const TRIES_MAX = 10;
const FIRST_WAIT_MS = 250;
const WAIT_MS_MAX = 30_000;

/** Too much for now, or stopping: what is worth asking again. */
const PASSING = [429, 503];

/**
 * Asks again when the server says that it cannot just now: after as long as its `Retry-After` says,
 * else after a wait that doubles, each with some chance in it, so that clients that were refused
 * together do not come back together. `onWait` hears of every wait.
 */
export async function withRetries<T>(
  ask: () => Promise<T>,
  sleep: Sleep,
  onWait: (ms: number, error: ServerRefused) => void,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      const isPassing = error instanceof ServerRefused && PASSING.includes(error.status);
      if (!isPassing || tries === TRIES_MAX) throw error;
      const wait = waitMs(error.retryAfter, tries, Date.now(), Math.random());
      onWait(wait, error);
      await sleep(wait);
    }
  }
}

/**
 * How long to wait after the `tries`-th refusal, in ms; pure. `retryAfter` as the header has it,
 * `chance` in [0, 1).
 */
export function waitMs(
  retryAfter: string | null,
  tries: number,
  now: number,
  chance: number,
): number {
  const backoff = FIRST_WAIT_MS * 2 ** (tries - 1) * (1 + chance);
  return Math.round(Math.min(WAIT_MS_MAX, retryAfterMs(retryAfter, now) ?? backoff));
}

function retryAfterMs(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1_000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
