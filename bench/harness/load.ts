import { setTimeout as sleep } from 'node:timers/promises';

import { percentile } from './statistics.ts';

/** What asking again and again has found. */
export interface Load {
  /** Of answers. */
  count: number;
  /** Answers a second. */
  rate: number;
  /** ms */
  p50: number;
  p99: number;
  most: number;
}

/** Asks for the answer number `at`; resolves when it has been read. */
export type Ask = (at: number) => Promise<unknown>;

/** Keeps so many questions in flight for so long: the next begins when one is answered. */
export async function askInFlight(flight: number, seconds: number, ask: Ask): Promise<Load> {
  const end = performance.now() + seconds * 1_000;
  return keepAsking(flight, (_, now) => now < end, ask);
}

/** The same, so many questions in all. */
export async function askSoMany(flight: number, count: number, ask: Ask): Promise<Load> {
  return keepAsking(flight, (at) => at < count, ask);
}

async function keepAsking(
  flight: number,
  isMore: (at: number, now: number) => boolean,
  ask: Ask,
): Promise<Load> {
  const times: number[] = [];
  let next = 0;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: flight }, async () => {
      for (let begun = performance.now(); isMore(next, begun);) {
        await ask(next++);
        const now = performance.now();
        times.push(now - begun);
        begun = now;
      }
    }),
  );
  return loadOf(times, performance.now() - start);
}

/**
 * Asks at a steady pace for so long, each timed from when it was due: one that is late does not hold
 * up the next, and counts as late.
 */
export async function askAtPace(aSecond: number, seconds: number, ask: Ask): Promise<Load> {
  const times = Array.from({ length: Math.round(seconds * aSecond) }, () => 0);
  const start = performance.now();
  const asked = times.map(async (_, at) => {
    const due = start + (at * 1_000) / aSecond;
    await sleep(Math.max(1, due - performance.now()));
    await ask(at);
    times[at] = performance.now() - due;
  });
  await Promise.all(asked);
  return loadOf(times, performance.now() - start);
}

function loadOf(times: readonly number[], milliseconds: number): Load {
  const sorted = Float64Array.from(times).toSorted();
  const [p50, p99, most] = [0.5, 0.99, 1].map((share) => percentile(sorted, share)) as [
    number,
    number,
    number,
  ];
  return { count: times.length, rate: (times.length / milliseconds) * 1_000, p50, p99, most };
}
