import { formatInstant, micros } from '../ground/time.ts';
import type { Drift } from '../rollout/drift.ts';
import type { ModelVersion } from '../store/catalogue.ts';
import type { VersionHealth } from './schemas/health.ts';

/** What was measured of a model version; null while nothing was. */
export function healthOf(
  drift: Drift | undefined,
  view: string,
  version: ModelVersion,
): VersionHealth | null {
  const measurement = drift?.of(view, version);
  if (measurement === undefined) return null;
  const { off, measured, centroidShift, baseline } = measurement;
  const newest = drift?.newestOf(view, version);
  return {
    ok: off.length === 0,
    off,
    measured_timestamp: formatInstant(measured),
    measured_vectors: measurement.vectors,
    norm_mean: measurement.normMean,
    norm_spread: measurement.normSpread,
    zero_vectors: measurement.zeros,
    not_finite: measurement.notFinite,
    duplicate_share: measurement.duplicates,
    centroid_shift: centroidShift ?? null,
    baseline_timestamp: timeOf(baseline),
    newest_event_timestamp: timeOf(newest?.event),
    newest_created_timestamp: timeOf(newest?.created),
  };
}

function timeOf(time: number | undefined): string | null {
  return time === undefined ? null : formatInstant(micros(time));
}
