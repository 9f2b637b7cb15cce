import type { Metric } from 'prom-client';

/** Upper bounds, seconds: a micro-batch, a restart, a backlog of a day. */
const BOUNDS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1_000, 3_600, 14_400, 86_400];

/**
 * A histogram of delays that costs a record nothing but a few comparisons: one is noted for every
 * record that a source reads.
 */
export class Delays {
  readonly bounds: readonly number[] = BOUNDS;
  /** By bound: how many were not longer; the last one: all of them. */
  readonly #counts = new Float64Array(BOUNDS.length + 1);
  /** Seconds. */
  sum = 0;

  /** Notes the delay from each timestamp, µs, until `now`; a negative timestamp is none. */
  noteAll(timestamps: Float64Array, now: number): void {
    for (let at = 0; at < timestamps.length; at++) {
      const timestamp = timestamps[at]!;
      if (timestamp < 0) continue;
      // Clocks of producers may be ahead of ours.
      const seconds = Math.max(0, now - timestamp) / 1e6;
      let bound = 0;
      while (bound < BOUNDS.length && seconds > BOUNDS[bound]!) bound++;
      this.#counts[bound]!++;
      this.sum += seconds;
    }
  }

  /** How many were not longer than each bound, and in the end how many there are. */
  cumulative(): number[] {
    let total = 0;
    return Array.from(this.#counts, (count) => (total += count));
  }
}

/** Shows delays that are kept elsewhere as a histogram. */
export function delaysMetric(
  name: string,
  help: string,
  read: () => readonly (readonly [labels: Record<string, string>, delays: Delays])[],
): Metric {
  const values = (): object[] =>
    read().flatMap(([labels, delays]) => {
      const counts = delays.cumulative();
      const buckets = counts.map((value, at) => ({
        metricName: `${name}_bucket`,
        labels: { ...labels, le: delays.bounds[at] ?? '+Inf' },
        value,
      }));
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels, value: delays.sum },
        { metricName: `${name}_count`, labels, value: counts.at(-1)! },
      ];
    });
  const metric = {
    name,
    get: async () => ({ name, help, type: 'histogram', aggregator: 'sum', values: values() }),
    reset() {},
  };
  return metric as unknown as Metric;
}
