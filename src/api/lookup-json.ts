import { TidemarkError } from '../ground/errors.ts';
import { numbersOf, vectorBytes } from '../store/dtype.ts';
import { gather } from '../timetravel/lookup.ts';
import { PRESENT, REASONS, STATUSES } from '../timetravel/status.ts';
import type { Limits } from './limits.ts';
import type { Resolved, ResolvedLookups } from './lookup.ts';
import { SAFETENSORS_TYPE } from './media.ts';
import { columnTime, echoQuestion, maxAgeText } from './question.ts';
import type { LookupAnswer } from './schemas/lookup.ts';

/** The answer in JSON: readable, and ten times as large and slow as the binary ones. */
export function jsonAnswer(resolved: ResolvedLookups, limits: Limits): LookupAnswer {
  const { question, isAged, results } = resolved;
  refuseManyNumbers(resolved, limits);
  return {
    snapshot: question.snapshot,
    question: echoQuestion(question, isAged),
    results: results.map((result) => ({
      ...describeResult(result),
      ...wordsOf(result),
      event_timestamps: Array.from(result.resolution.events, columnTime),
      vectors: gatherRows(result),
    })),
  };
}

/** Throws LIMIT_EXCEEDED. */
export function refuseManyNumbers({ results }: ResolvedLookups, limits: Limits): void {
  const numbers = results.reduce(
    (sum, { version, resolution }) => sum + version.dim * resolution.statuses.length,
    0,
  );
  if (numbers > limits.answer_json_numbers) {
    throw new TidemarkError(
      'LIMIT_EXCEEDED',
      `the vectors asked for are ${numbers} numbers, the limit answer_json_numbers is ${limits.answer_json_numbers}; ` +
        `ask for fewer ids, or with Accept: ${SAFETENSORS_TYPE}`,
    );
  }
}

/** What a result is of, in every format. */
export function describeResult({ name, view, version, maxAge, pending }: Resolved) {
  return {
    name,
    feature_view: view.name,
    version: version.version,
    dim: version.dim,
    dtype: version.dtype,
    max_age: maxAgeText(maxAge),
    ...(pending.length > 0 && { pending: [...pending] }),
  };
}

/** Statuses and reasons as words. */
export function wordsOf({ resolution: { statuses, reasons } }: Resolved) {
  return {
    statuses: Array.from(statuses, (status) => STATUSES[status]!),
    reasons: Array.from(reasons, (reason) => REASONS[reason] ?? null),
  };
}

/** The vectors of a result as numbers, null where there is none. */
export function gatherRows({
  version: { dim, dtype },
  vectors,
  resolution,
  watch,
}: Pick<Resolved, 'version' | 'vectors' | 'resolution' | 'watch'>): (number[] | null)[] {
  const bytes = vectorBytes(dim, dtype);
  const matrix = new Uint8Array(bytes * resolution.statuses.length);
  gather(vectors, resolution, matrix);
  watch?.(matrix);
  return Array.from(resolution.statuses, (status, row) =>
    status === PRESENT
      ? Array.from(numbersOf(matrix.subarray(row * bytes, (row + 1) * bytes), dtype))
      : null,
  );
}
