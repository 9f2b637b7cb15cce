import { numberBytes, numbersOf } from '../store/dtype.ts';
import { allocateSafetensors } from '../timetravel/formats/safetensors.ts';
import { PRESENT } from '../timetravel/status.ts';
import type { AnswerPlans } from './answer-plans.ts';
import { describeResult, gatherAll, wordsOf } from './lookup-json.ts';
import type { Resolved, ResolvedLookups } from './lookup.ts';
import { packMessage } from './media.ts';
import { echoQuestion } from './question.ts';

/** The JSON answer in MessagePack, its vectors one binary a result, its times int64 µs. */
export function msgpackAnswer({ question, isAged, results }: ResolvedLookups): Buffer {
  return packMessage({
    snapshot: question.snapshot,
    question: echoQuestion(question, isAged),
    results: results.map((result) => {
      const { version, dtype, resolution } = result;
      const rows = resolution.statuses.length;
      const matrix = Buffer.allocUnsafeSlow(rows * numberBytes(version.dim, dtype));
      const scales = dtype === 'int8' ? new Float32Array(rows) : undefined;
      gatherMatrix(result, matrix, 0, scales);
      return {
        ...describeResult(result),
        ...wordsOf(result),
        event_timestamps: Array.from(resolution.events, (time) =>
          Number.isNaN(time) ? null : BigInt(time),
        ),
        vectors: matrix,
        ...(scales && { scales: Buffer.from(scales.buffer) }),
      };
    }),
  });
}

/**
 * A safetensors file of the answer, in one buffer that the vectors are gathered straight into.
 * Nothing is allocated for a single row.
 */
export function safetensorsAnswer(
  answer: ResolvedLookups,
  plans: AnswerPlans,
  room: (bytes: number) => Buffer<ArrayBuffer>,
): Buffer {
  const { results } = answer;
  const plan = plans.of(answer);
  const { starts } = plan;
  const file = allocateSafetensors(plan, room);
  let scale = results.length * 4;
  results.forEach((result, at) => {
    const { statuses, reasons, events } = result.resolution;
    const scales =
      result.dtype === 'int8'
        ? new Float32Array(file.buffer, file.byteOffset + starts[scale++]!, statuses.length)
        : undefined;
    gatherMatrix(result, file, starts[at * 4]!, scales);
    writeTimes(events, file, starts[at * 4 + 1]!);
    file.set(statuses, starts[at * 4 + 2]);
    file.set(reasons, starts[at * 4 + 3]);
  });
  return file;
}

/** Gathers every row's vector, and NaN, or zeros of int8, for the rows that have none. */
function gatherMatrix(
  result: Resolved,
  out: Buffer,
  from: number,
  scales: Float32Array | undefined,
): void {
  const { version, dtype, resolution } = result;
  const { dim } = version;
  const { statuses } = resolution;
  const matrix = out.subarray(from, from + statuses.length * numberBytes(dim, dtype));
  const numbers = numbersOf(matrix, dtype);
  const nothing = dtype === 'int8' ? 0 : Number.NaN;
  for (let row = 0; row < statuses.length; row++) {
    if (statuses[row] === PRESENT) continue;
    numbers.fill(nothing, row * dim, (row + 1) * dim);
    if (scales !== undefined) scales[row] = 0;
  }
  gatherAll(result, matrix, scales);
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
