import {
  planSafetensors,
  TENSOR_DTYPES,
  type TensorPlan,
  type TensorSpec,
} from '../timetravel/formats/safetensors.ts';
import { REASONS, STATUSES } from '../timetravel/status.ts';
import { describeResult } from './lookup-json.ts';
import type { ResolvedLookups } from './lookup.ts';
import { echoQuestion } from './question.ts';

export const STATUS_WORDS = JSON.stringify(STATUSES);
export const REASON_WORDS = JSON.stringify(REASONS);

/** Those of a moment ago: each write makes a snapshot, and with it other ones. */
const KEPT_MAX = 64;

/**
 * How answers are laid out, and the header that says so. Requests that ask the same of other ids have
 * it in common, and it takes longer to make than to gather a vector.
 */
export class AnswerPlans {
  private plans = new Map<string, TensorPlan>();

  of(answer: ResolvedLookups): TensorPlan {
    const key = keyOf(answer);
    if (key === undefined) return planOf(answer);
    let plan = this.plans.get(key);
    if (plan === undefined) {
      if (this.plans.size === KEPT_MAX) this.plans.clear();
      this.plans.set(key, (plan = planOf(answer)));
    }
    return plan;
  }
}

/** All that the header tells, in which no name has a space; undefined where it tells of rows. */
function keyOf({ question, isAged, results }: ResolvedLookups): string | undefined {
  const { asOf, boundary, knowledge, knownAt, now, snapshot } = question;
  const from = isAged && asOf === undefined ? now : '';
  let key = `${snapshot} ${asOf} ${boundary} ${knowledge} ${knownAt} ${from}`;
  for (const { name, view, version, dtype, maxAge, resolution, pending } of results) {
    if (pending.length > 0) return undefined;
    key += ` ${name} ${view.name} ${version.version} ${version.dim} ${dtype} ${maxAge} ${resolution.statuses.length}`;
  }
  return key;
}

/**
 * Four tensors a result: vector, event timestamp, status and reason; behind all of them the scales of
 * those that have some.
 */
function planOf({ question, isAged, results }: ResolvedLookups): TensorPlan {
  const tensors = results.flatMap(({ name, version: { dim }, dtype, resolution }): TensorSpec[] => {
    const rows = resolution.statuses.length;
    return [
      { name: `${name}.vector`, dtype: TENSOR_DTYPES[dtype], shape: [rows, dim] },
      { name: `${name}.event_timestamp`, dtype: 'I64', shape: [rows] },
      { name: `${name}.status`, dtype: 'U8', shape: [rows] },
      { name: `${name}.reason`, dtype: 'U8', shape: [rows] },
    ];
  });
  for (const { name, dtype, resolution } of results) {
    if (dtype !== 'int8') continue;
    tensors.push({ name: `${name}.scale`, dtype: 'F32', shape: [resolution.statuses.length] });
  }
  return planSafetensors(tensors, {
    snapshot: String(question.snapshot),
    question: JSON.stringify(echoQuestion(question, isAged)),
    results: JSON.stringify(results.map(describeResult)),
    statuses: STATUS_WORDS,
    reasons: REASON_WORDS,
  });
}
