import { TidemarkError } from '../ground/errors.ts';
import { numberBytes, numbersOf, plainNumbers } from '../store/dtype.ts';
import { gatherFloats, gatherScaled } from '../timetravel/gather-as.ts';
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
      ...gatherRows(result),
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
export function describeResult({ name, view, version, dtype, maxAge, pending }: Resolved) {
  return {
    name,
    feature_view: view.name,
    version: version.version,
    dim: version.dim,
    dtype,
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

type Gathered = Pick<Resolved, 'version' | 'dtype' | 'vectors' | 'resolution' | 'watch'>;

/** The vectors of a result as numbers, and their scales where they have them; null for none. */
export function gatherRows(result: Gathered): {
  vectors: (number[] | null)[];
  scales?: (number | null)[];
} {
  const { dim } = result.version;
  const { statuses } = result.resolution;
  const matrix = new Uint8Array(numberBytes(dim, result.dtype) * statuses.length);
  const scales = result.dtype === 'int8' ? new Float32Array(statuses.length) : undefined;
  gatherAll(result, matrix, scales);
  const numbers = numbersOf(matrix, result.dtype);
  const told = <T>(of: (row: number) => T): (T | null)[] =>
    Array.from(statuses, (status, row) => (status === PRESENT ? of(row) : null));
  return {
    vectors: told((row) => plainNumbers(numbers, row * dim, dim)),
    ...(scales && { scales: told((row) => scales[row]!) }),
  };
}

/**
 * Gathers the vectors of the rows that are present, in the dtype of the answer; the bytes of the
 * other rows are left as they are. `scales`: of int8, one a row.
 */
export function gatherAll(
  { version, dtype, vectors, resolution, watch }: Gathered,
  matrix: Uint8Array,
  scales: Float32Array | undefined,
): void {
  if (dtype !== version.dtype) {
    const { buffer, byteOffset, byteLength } = matrix;
    const floats = new Float32Array(buffer, byteOffset, byteLength / 4);
    gatherFloats(vectors, resolution, version, floats);
  } else if (scales !== undefined) gatherScaled(vectors, resolution, version.dim, matrix, scales);
  else gather(vectors, resolution, matrix);
  watch?.(matrix);
}
