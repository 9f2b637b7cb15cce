import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

import { Delays, delaysMetric } from '../../src/ingest/delays.ts';

test('delays are counted by how long they were, and shown as Prometheus has histograms', async () => {
  const delays = new Delays();
  const now = 2_000_000_000;
  // 5 ms, exactly 0.1 s, 2 s; none; ahead of the clock.
  const since = [5_000, 100_000, 2_000_000].map((micros) => now - micros);
  delays.noteAll(Float64Array.from([...since, -1, now + 7]), now);
  const registry = new Registry();
  registry.registerMetric(
    delaysMetric('wait_seconds', 'A wait.', () => [[{ source: 's' }, delays]]),
  );
  const lines = (await registry.metrics()).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      '# TYPE wait_seconds histogram',
      'wait_seconds_bucket{source="s",le="0.01"} 2',
      'wait_seconds_bucket{source="s",le="0.03"} 2',
      'wait_seconds_bucket{source="s",le="0.1"} 3',
      'wait_seconds_bucket{source="s",le="1"} 3',
      'wait_seconds_bucket{source="s",le="3"} 4',
      'wait_seconds_bucket{source="s",le="+Inf"} 4',
      'wait_seconds_count{source="s"} 4',
    ]),
  );
  const sum = lines.find((line) => line.startsWith('wait_seconds_sum'))!;
  expect(Number(sum.split(' ')[1])).toBeCloseTo(2.105, 9);
});
