import { TidemarkError } from '../ground/errors.ts';
import type { FeatureView, ModelVersion } from '../store/catalogue.ts';
import { type Dtype, vectorBytes } from '../store/dtype.ts';
import type { EntityIds } from '../store/entity-ids.ts';
import type { VectorPool } from '../store/vectors.ts';
import { resolveMany } from '../timetravel/lookup.ts';
import { ANY_AGE, type Question } from '../timetravel/question.ts';
import type { Resolution } from '../timetravel/resolve.ts';
import { ERASED, PRESENT } from '../timetravel/status.ts';
import { countOfIds, readAskedIds } from './asked-ids.ts';
import type { Limits } from './limits.ts';
import { maxAgeOf, resolveQuestion } from './question.ts';
import type { ReadContext } from './route.ts';
import type { LookupBody } from './schemas/lookup.ts';
import type { WithIds } from './sent-ids.ts';

/** A request, whichever way its ids were read. */
export type AskedLookups = Omit<LookupBody, 'lookups'> & {
  lookups: readonly WithIds<LookupBody['lookups'][number]>[];
};

/** One lookup, resolved; its vectors are yet to be gathered. */
export interface Resolved {
  name: string;
  view: FeatureView;
  version: ModelVersion;
  /** Of the answer: the version's own, unless another one was asked for. */
  dtype: Dtype;
  /** How old an answer may be, µs; `ANY_AGE` where there is no limit (A6). */
  maxAge: number;
  vectors: VectorPool;
  resolution: Resolution;
  /** Rows whose entity has a text that waits for its vector. */
  pending: readonly number[];
  /** Takes note of one row of the matrix of this result, once it is gathered. */
  watch?: (matrix: Uint8Array) => void;
}

export interface ResolvedLookups {
  question: Question;
  /** One of the results has a limit of age. */
  isAged: boolean;
  results: readonly Resolved[];
}

/**
 * Resolves all lookups of a request at one snapshot. Synchronous, and so must be what gathers from
 * it: then both see one generation of each environment.
 * Throws NAME_COLLISION, LIMIT_EXCEEDED, VIEW_NOT_FOUND, VERSION_NOT_FOUND, SNAPSHOT_UNAVAILABLE.
 */
export function resolveLookups(
  context: ReadContext,
  body: AskedLookups,
  isPacked: boolean,
): ResolvedLookups {
  const { store, limits, metrics, skew } = context;
  const shadow = asksLatest(body) ? context.shadow : undefined;
  const { lookups } = body;
  refuseTooMany('lookups', lookups.length, limits);
  const ids = lookups.reduce((sum, { entity_ids }) => sum + countOfIds(entity_ids), 0);
  refuseTooMany('lookup_ids', ids, limits);
  const names = new Set<string>();
  const asked = lookups.map((lookup) => {
    const view = store.catalogue.mustGetView(lookup.feature_view);
    const version = store.catalogue.mustFindVersion(view, lookup.version);
    const dtype = body.dtype ?? version.dtype;
    const name = lookup.name ?? view.name;
    if (names.has(name)) {
      throw new TidemarkError(
        'NAME_COLLISION',
        `two lookups would both be called ${name}; give one of them another name`,
      );
    }
    names.add(name);
    const isNamed = lookup.version !== undefined;
    return { name, view, version, isNamed, dtype, ids: readAskedIds(lookup.entity_ids, isPacked) };
  });
  const question = resolveQuestion(
    body,
    store,
    asked.map(({ version }) => version),
  );
  refuseTooLarge(asked, limits);
  // Of all rows of the request, one after another, the one that is asked again.
  let sampled = skew?.pick(ids) ?? Number.POSITIVE_INFINITY;
  const results = asked.map(({ name, view, version, isNamed, dtype, ids: askedIds }): Resolved => {
    const opened = store.version(view.name, version.version);
    const maxAge = maxAgeOf(body, view);
    const ofView = { ...question, maxAge };
    const row = sampled;
    sampled -= askedIds.count;
    const isSampled = row >= 0 && row < askedIds.count;
    const resolution = resolveMany(opened, askedIds, ofView, isSampled);
    metrics.lookedUp(view.name, resolution);
    if (view.aliases.candidate !== undefined && !isNamed && shadow?.pick() === true) {
      shadow.remember(view, askedIds, ofView);
    }
    const pending = pendingRows(context, body, view, version, askedIds, resolution);
    const { vectors } = opened;
    const result = { name, view, version, dtype, maxAge, vectors, resolution, pending };
    if (!isSampled) return result;
    const watch = (matrix: Uint8Array): void => {
      const bytes = vectorBytes(version.dim, version.dtype);
      const isAsStored = dtype === version.dtype && dtype !== 'int8';
      skew?.remember({
        view,
        version: version.version,
        entityId: askedIds.text(row),
        question: ofView,
        resolution,
        row,
        bytes: isAsStored
          ? matrix.subarray(row * bytes, (row + 1) * bytes)
          : storedVector(vectors, resolution, row),
      });
    };
    return { ...result, watch };
  });
  return { question, isAged: results.some(({ maxAge }) => maxAge !== ANY_AGE), results };
}

/** The bytes of a row's vector, where the answer has them in another form; none of a miss. */
function storedVector(
  vectors: VectorPool,
  { statuses, vectorIds }: Resolution,
  row: number,
): Uint8Array {
  const bytes = new Uint8Array(vectors.vectorBytes);
  if (statuses[row] === PRESENT) vectors.copyInto(vectorIds[row]!, bytes, 0);
  return bytes;
}

function asksLatest({
  as_of,
  known_at,
  at_snapshot,
}: Pick<LookupBody, 'as_of' | 'known_at' | 'at_snapshot'>): boolean {
  return (as_of ?? known_at ?? at_snapshot ?? undefined) === undefined;
}

const NONE: readonly number[] = [];

/**
 * The rows of a question about the latest whose entity has a text that waits for its vector: a hint
 * about what is to come, which no snapshot holds.
 */
export function pendingRows(
  { pendingOf }: ReadContext,
  question: Pick<LookupBody, 'as_of' | 'known_at' | 'at_snapshot'>,
  view: FeatureView,
  { version }: ModelVersion,
  ids: EntityIds,
  { reasons }: Resolution,
): readonly number[] {
  if (!asksLatest(question)) return NONE;
  const waiting = pendingOf(view.name, version);
  if (waiting === undefined) return NONE;
  const rows: number[] = [];
  // Of an erased entity nothing is told, nor is its text going to be stored.
  for (let row = 0; row < ids.count; row++) {
    if (reasons[row] !== ERASED && waiting.has(ids.text(row))) rows.push(row);
  }
  return rows;
}

function refuseTooMany(limit: 'lookups' | 'lookup_ids', got: number, limits: Limits): void {
  if (got > limits[limit]) {
    throw new TidemarkError(
      'LIMIT_EXCEEDED',
      `got ${got} of ${limit}, the limit is ${limits[limit]} a request; send several`,
    );
  }
}

function refuseTooLarge(
  asked: readonly { version: ModelVersion; dtype: Dtype; ids: EntityIds }[],
  limits: Limits,
): void {
  const bytes = asked.reduce(
    (sum, { version: { dim }, dtype, ids }) => sum + ids.count * vectorBytes(dim, dtype),
    0,
  );
  if (bytes > limits.answer_bytes) {
    throw new TidemarkError(
      'LIMIT_EXCEEDED',
      `the vectors asked for are ${bytes} bytes, the limit answer_bytes is ${limits.answer_bytes}; ask for fewer ids`,
    );
  }
}
