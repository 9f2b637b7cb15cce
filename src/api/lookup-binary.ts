import { numbersOf, vectorBytes } from '../store/dtype.ts';
import {
  allocateSafetensors,
  planSafetensors,
  type TensorSpec,
} from '../timetravel/formats/safetensors.ts';
import { gather } from '../timetravel/lookup.ts';
import { PRESENT, REASONS, STATUSES } from '../timetravel/status.ts';
import { describeResult, wordsOf } from './lookup-json.ts';
import type { Resolved, ResolvedLookups } from './lookup.ts';
import { packMessage } from './media.ts';
import { echoQuestion } from './question.ts';

/** The JSON answer in MessagePack, its vectors one binary a result, its times int64 µs. */
export function msgpackAnswer({ question, isAged, results }: ResolvedLookups): Buffer {
  return packMessage({
    snapshot: question.snapshot,
    question: echoQuestion(question, isAged),
    results: results.map((result) => {
      const { version, resolution } = result;
      const rows = resolution.statuses.length;
      const matrix = Buffer.allocUnsafeSlow(rows * vectorBytes(version.dim, version.dtype));
      gatherMatrix(result, matrix, 0);
      return {
        ...describeResult(result),
        ...wordsOf(result),
        event_timestamps: Array.from(resolution.events, (time) =>
          Number.isNaN(time) ? null : BigInt(time),
        ),
        vectors: matrix,
      };
    }),
  });
}

const DTYPES = { float32: 'F32', float16: 'F16' } as const;
export const STATUS_WORDS = JSON.stringify(STATUSES);
export const REASON_WORDS = JSON.stringify(REASONS);

/**
 * A safetensors file of the answer, in one buffer that the vectors are gathered straight into.
 * Nothing is allocated for a single row.
 */
export function safetensorsAnswer(
  { question, isAged, results }: ResolvedLookups,
  room: (bytes: number) => Buffer<ArrayBuffer>,
): Buffer {
  const tensors = results.flatMap(({ name, version: { dim, dtype }, resolution }): TensorSpec[] => {
    const rows = resolution.statuses.length;
    return [
      { name: `${name}.vector`, dtype: DTYPES[dtype], shape: [rows, dim] },
      { name: `${name}.event_timestamp`, dtype: 'I64', shape: [rows] },
      { name: `${name}.status`, dtype: 'U8', shape: [rows] },
      { name: `${name}.reason`, dtype: 'U8', shape: [rows] },
    ];
  });
  const plan = planSafetensors(tensors, {
    snapshot: String(question.snapshot),
    question: JSON.stringify(echoQuestion(question, isAged)),
    results: JSON.stringify(results.map(describeResult)),
    statuses: STATUS_WORDS,
    reasons: REASON_WORDS,
  });
  const file = allocateSafetensors(plan, room);
  results.forEach((result, at) => {
    const { statuses, reasons, events } = result.resolution;
    const [vector, event, status, reason] = plan.starts.slice(at * 4) as [
      number,
      number,
      number,
      number,
    ];
    gatherMatrix(result, file, vector);
    writeTimes(events, file, event);
    file.set(statuses, status);
    file.set(reasons, reason);
  });
  return file;
}

/** Gathers every row's vector, and NaN for the rows that have none. */
function gatherMatrix(result: Resolved, out: Buffer, from: number): void {
  const { version, vectors, resolution, watch } = result;
  const { dim, dtype } = version;
  const { statuses } = resolution;
  const matrix = out.subarray(from, from + statuses.length * vectorBytes(dim, dtype));
  const numbers = numbersOf(matrix, dtype);
  for (let row = 0; row < statuses.length; row++) {
    if (statuses[row] !== PRESENT) numbers.fill(Number.NaN, row * dim, (row + 1) * dim);
  }
  gather(vectors, resolution, matrix);
  watch?.(matrix);
}

const WORD = 2 ** 32;
/** The upper half of −2^63, numpy's "not a time". */
const NOT_A_TIME_HIGH = -(2 ** 31);

/** Times as int64, by halves: a BigInt a row would be garbage a row. */
export function writeTimes(times: Float64Array, out: Buffer, from: number): void {
  const words = new Int32Array(out.buffer, out.byteOffset + from, times.length * 2);
  for (let row = 0; row < times.length; row++) {
    const time = times[row]!;
    const isNone = Number.isNaN(time);
    const high = isNone ? NOT_A_TIME_HIGH : Math.floor(time / WORD);
    words[row * 2] = isNone ? 0 : time - high * WORD;
    words[row * 2 + 1] = high;
  }
}
