import { Gauge, type Registry } from 'prom-client';

import { MICROS_PER_SECOND } from '../ground/time.ts';
import type { ModelVersion } from '../store/catalogue.ts';
import type { Store } from '../store/store.ts';
import type { Drift, Measurement } from './drift.ts';

/** Adds what was measured of the model versions; how fresh they are is read when it is asked for. */
export function addDriftMetrics(registry: Registry, store: Store, drift: Drift): void {
  const registers = [registry];
  const eachVersion = (look: (view: string, version: ModelVersion) => void): void => {
    for (const { name, versions } of store.catalogue.views()) {
      for (const version of Object.values(versions)) look(name, version);
    }
  };
  const measured = (
    name: string,
    help: string,
    read: (measurement: Measurement) => number | undefined,
  ): void => {
    void new Gauge({
      name: `tidemark_version_${name}`,
      help,
      labelNames: ['feature_view', 'version'],
      registers,
      collect() {
        this.reset();
        eachVersion((feature_view, version) => {
          const measurement = drift.of(feature_view, version);
          const value = measurement && read(measurement);
          if (value !== undefined) this.set({ feature_view, version: version.version }, value);
        });
      },
    });
  };
  measured(
    'ok',
    '1 where nothing is off with the newest vectors of a model version, else 0.',
    ({ off }) => (off.length === 0 ? 1 : 0),
  );
  measured(
    'measured_vectors',
    'Of how many vectors, the newest, the measurements of a model version are.',
    ({ vectors }) => vectors,
  );
  measured(
    'measured_timestamp_seconds',
    'When a model version was last measured.',
    ({ measured: at }) => at / MICROS_PER_SECOND,
  );
  measured('norm_mean', 'Mean length of the newest vectors.', ({ normMean }) => normMean);
  measured(
    'norm_spread',
    'Standard deviation of the lengths of the newest vectors, as a share of their mean.',
    ({ normSpread }) => normSpread,
  );
  measured('zero_vectors', 'Newest vectors of length 0.', ({ zeros }) => zeros);
  measured(
    'not_finite_vectors',
    'Newest vectors with a NaN or an infinity; must stay 0.',
    ({ notFinite }) => notFinite,
  );
  measured(
    'duplicate_share',
    'Share of the newest vectors that are equal to another one of them.',
    ({ duplicates }) => duplicates,
  );
  measured(
    'centroid_shift',
    'How far the mean direction of the newest vectors is from the baseline’s, as a cosine distance.',
    ({ centroidShift }) => centroidShift,
  );
  void new Gauge({
    name: 'tidemark_version_freshness_seconds',
    help: 'How long ago the newest revision was stored (`created`), and became true (`event`).',
    labelNames: ['feature_view', 'version', 'time'],
    registers,
    collect() {
      this.reset();
      eachVersion((feature_view, version) => {
        const newest = drift.newestOf(feature_view, version);
        for (const [time, at] of Object.entries(newest ?? {})) {
          const seconds = (store.clock() - (at as number)) / MICROS_PER_SECOND;
          this.set({ feature_view, version: version.version, time }, seconds);
        }
      });
    },
  });
}
