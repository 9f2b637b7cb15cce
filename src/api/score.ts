import { TidemarkError } from '../ground/errors.ts';
import { Widening } from '../store/widening.ts';
import { type Metric, scoreRows } from '../timetravel/score.ts';
import { PRESENT, REASONS, STATUSES } from '../timetravel/status.ts';
import { type Resolved, type ResolvedLookups, resolveLookups } from './lookup.ts';
import { columnTime, maxAgeText } from './question.ts';
import type { ReadContext } from './route.ts';
import type { ScoreBody } from './schemas/score.ts';
import type { WithIds } from './sent-ids.ts';
import { writeSentVector } from './sent-vector.ts';

/** A request, whichever way its ids were read. */
export type AskedScores = WithIds<ScoreBody>;

/** Scores of a request, one a row of `others`; NaN where there is none. */
export interface Scores {
  lookups: ResolvedLookups;
  metric: Metric;
  others: Resolved;
  /** The entity that the others were compared with; undefined for a vector that was sent. */
  query: Resolved | undefined;
  scores: Float32Array;
}

/**
 * Resolves the query and the others at one snapshot, as one lookup of both, and scores them.
 * Throws what that lookup does, and BAD_VECTOR for a vector that the version
 * cannot have, and for an entity whose vectors have another dim.
 */
export function scoreOthers(context: ReadContext, body: AskedScores, isPacked: boolean): Scores {
  const { query: asked, metric } = body;
  const lookups = resolveLookups(context, { ...body, lookups: lookupsOf(body) }, isPacked);
  const [found, query] = lookups.results as [Resolved, Resolved | undefined];
  const vector = query === undefined ? sentVector(asked, found) : vectorOf(query, found);
  const dtype = found.version.dtype;
  const scores =
    vector === undefined
      ? new Float32Array(found.resolution.statuses.length).fill(Number.NaN)
      : scoreRows(vector, metric, { vectors: found.vectors, dtype }, found.resolution);
  return { lookups, metric, others: found, query, scores };
}

/** What is looked up: the others, and the query where it is an entity. */
export function lookupsOf({ query, feature_view, version, entity_ids }: AskedScores) {
  const others = { name: 'others', feature_view, version, entity_ids };
  if (!('entity_id' in query)) return [others];
  const { entity_id, ...of } = query;
  return [others, { name: 'query', ...of, entity_ids: [entity_id] }];
}

function sentVector(asked: ScoreBody['query'], { version }: Resolved): ArrayLike<number> {
  const { vector, scale } = asked as { vector: unknown; scale?: unknown };
  const { dim } = version;
  // It is not stored: whoever asks need not quantise what is compared with int8.
  const dtype = version.dtype === 'int8' && scale === undefined ? 'float32' : version.dtype;
  const widening = new Widening(dim, dtype);
  writeSentVector(vector, { dim, dtype }, widening.vector, scale);
  return widening.exact();
}

/** The entity's vector; undefined where it has none. */
function vectorOf(query: Resolved, { view, version }: Resolved): ArrayLike<number> | undefined {
  const { dim, dtype } = query.version;
  if (dim !== version.dim) {
    throw new TidemarkError(
      'BAD_VECTOR',
      `the query is of ${query.view.name}@${query.version.version} with dim ${dim}, ` +
        `the others of ${view.name}@${version.version} with dim ${version.dim}`,
    );
  }
  const { statuses, vectorIds } = query.resolution;
  if (statuses[0] !== PRESENT) return undefined;
  const widening = new Widening(dim, dtype);
  query.vectors.copyInto(vectorIds[0]!, widening.vector, 0);
  return widening.exact();
}

/** What an answer says beside its columns. */
export function describeScores({ metric, others, query }: Scores) {
  return {
    metric,
    query: query === undefined ? null : { ...namesOf(query), ...firstRow(query) },
    ...namesOf(others),
  };
}

function namesOf({ view, version, maxAge }: Resolved) {
  return { feature_view: view.name, version: version.version, max_age: maxAgeText(maxAge) };
}

function firstRow({ resolution: { statuses, reasons, events } }: Resolved) {
  return {
    status: STATUSES[statuses[0]!]!,
    reason: REASONS[reasons[0]!] ?? null,
    event_timestamp: columnTime(events[0]!),
  };
}
