import { Counter, Gauge, type Registry } from 'prom-client';

import type { ShadowTally } from './shadow-tally.ts';
import type { Shadow } from './shadow.ts';

/** Adds what lookups have said of candidates. */
export function addShadowMetrics(registry: Registry, shadow: Shadow): void {
  const labelNames = ['feature_view', 'version'];
  const registers = [registry];
  for (const [what, help] of [
    ['lookups', 'Sampled lookups that the candidate was asked too.'],
    ['dropped', 'Sampled lookups that the candidate could not be asked in time.'],
    ['ids', 'Ids of sampled lookups that the candidate was asked too.'],
    ['present', 'Ids of sampled lookups that have a vector of the current version.'],
    [
      'covered',
      'Ids of sampled lookups that have one of the current version and one of the candidate.',
    ],
  ] as const) {
    void new Counter({
      name: `tidemark_shadow_${what}_total`,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const { tally, ...labels } of shadow.tallies()) this.inc(labels, tally[what]);
      },
    });
  }
  for (const [name, help, read] of [
    [
      'cosine_mean',
      'Mean cosine of an entity’s vectors under the current version and the candidate.',
      ({ cosine }) => cosine?.mean,
    ],
    [
      'cosine_p5',
      'What one of twenty of the cosines is below whose mean is tidemark_shadow_cosine_mean.',
      ({ cosine }) => cosine?.p5,
    ],
    [
      'neighbour_overlap',
      'Of the 10 entities of a lookup nearest to its first one, the share that both versions agree on.',
      ({ overlap }) => overlap?.mean,
    ],
  ] as [string, string, (tally: ShadowTally) => number | undefined][]) {
    void new Gauge({
      name: `tidemark_shadow_${name}`,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const { tally, ...labels } of shadow.tallies()) {
          const value = read(tally);
          if (value !== undefined) this.set(labels, value);
        }
      },
    });
  }
}
