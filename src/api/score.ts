import { TidemarkError } from '../ground/errors.ts';
import { numbersOf, vectorBytes } from '../store/dtype.ts';
import { type Metric, scoreRows } from '../timetravel/score.ts';
import { PRESENT, REASONS, STATUSES } from '../timetravel/status.ts';
import { type Resolved, type ResolvedLookups, resolveLookups } from './lookup.ts';
import { columnTime, maxAgeText } from './question.ts';
import type { Context } from './route.ts';
import type { ScoreBody } from './schemas/score.ts';
import { writeSentVector } from './sent-vector.ts';

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
export function scoreOthers(context: Context, body: ScoreBody, isPacked: boolean): Scores {
  const { query: asked, feature_view, version, entity_ids, metric, ...question } = body;
  const isEntity = 'entity_id' in asked;
  const others = { name: 'others', feature_view, version, entity_ids };
  const entity = isEntity && {
    name: 'query',
    feature_view: asked.feature_view,
    version: asked.version,
    entity_ids: [asked.entity_id],
  };
  const all = entity ? [others, entity] : [others];
  const lookups = resolveLookups(context, { ...question, lookups: all }, isPacked);
  const [found, query] = lookups.results as [Resolved, Resolved | undefined];
  const vector = query === undefined ? sentVector(asked, found) : vectorOf(query, found);
  const dtype = found.version.dtype;
  const scores =
    vector === undefined
      ? new Float32Array(entity_ids.length).fill(Number.NaN)
      : scoreRows(vector, metric, { vectors: found.vectors, dtype }, found.resolution);
  return { lookups, metric, others: found, query, scores };
}

function sentVector(asked: ScoreBody['query'], { version }: Resolved): ArrayLike<number> {
  const bytes = new Uint8Array(vectorBytes(version.dim, version.dtype));
  writeSentVector((asked as { vector: unknown }).vector, version, bytes);
  return numbersOf(bytes, version.dtype);
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
  const bytes = Buffer.alloc(vectorBytes(dim, dtype));
  query.vectors.copyInto(vectorIds[0]!, bytes, 0);
  return numbersOf(bytes, dtype);
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
