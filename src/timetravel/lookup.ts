import { assert } from '../ground/assert.ts';
import { EntityIds } from '../store/entity-ids.ts';
import type { VectorPool } from '../store/vectors.ts';
import { type Bounds, boundsOf, type Question, setBounds } from './question.ts';
import { Resolution, type Resolvable, Resolver } from './resolve.ts';
import * as code from './status.ts';

const resolvers = new WeakMap<Resolvable, Resolver>();

function resolverOf(version: Resolvable): Resolver {
  let resolver = resolvers.get(version);
  if (resolver === undefined) resolvers.set(version, (resolver = new Resolver(version)));
  else resolver.begin();
  return resolver;
}

/**
 * Answers one question for many entities of one model version: one row an id, in their order.
 * An id that no entity can have is INVALID with its reason; the others are answered.
 * Synchronous, so that all rows see one state. `isWhole`: see `Resolution`.
 */
export function resolveMany(
  version: Resolvable,
  asked: readonly string[] | EntityIds,
  question: Question,
  isWhole = true,
): Resolution {
  const ids = asked instanceof EntityIds ? asked : EntityIds.of(asked);
  const resolver = resolverOf(version);
  const bounds = boundsOf(question);
  const out = new Resolution(ids.count, isWhole);
  version.timelines.touch?.(ids);
  for (let row = 0; row < ids.count; row++) answer(resolver, ids, bounds, out, row);
  return out;
}

/**
 * The same, each row at its own moment (µs): the rows of a spine. A NaN moment is INVALID; an
 * infinite one asks for the latest.
 */
export function resolveSpine(
  version: Resolvable,
  asked: readonly string[],
  moments: Float64Array,
  question: Question,
): Resolution {
  assert(asked.length === moments.length, 'a spine has as many ids as moments');
  const ids = EntityIds.of(asked);
  const resolver = resolverOf(version);
  const out = new Resolution(ids.count);
  const bounds = boundsOf(question);
  for (let row = 0; row < ids.count; row++) {
    const moment = moments[row]!;
    if (Number.isNaN(moment)) out.miss(row, code.INVALID, code.BAD_TIMESTAMP);
    else {
      setBounds(bounds, question, moment === Number.POSITIVE_INFINITY ? undefined : moment);
      answer(resolver, ids, bounds, out, row);
    }
  }
  return out;
}

function answer(
  resolver: Resolver,
  ids: EntityIds,
  bounds: Bounds,
  out: Resolution,
  row: number,
): void {
  if (ids.isId(row)) {
    resolver.openAt(ids, row);
    resolver.answer(bounds, out, row);
  } else out.miss(row, code.INVALID, code.BAD_ENTITY_ID);
}

/**
 * Copies the vectors of the rows that are present into `out`, row after row, each of
 * `vectors.vectorBytes` bytes; the bytes of the other rows are left as they are.
 */
export function gather(
  vectors: VectorPool,
  { statuses, vectorIds }: Resolution,
  out: Uint8Array,
  from = 0,
): void {
  const { vectorBytes } = vectors;
  assert(out.byteLength >= from + statuses.length * vectorBytes, 'a gather has room for every row');
  for (let row = 0; row < statuses.length; row++) {
    if (statuses[row] === code.PRESENT) {
      vectors.copyInto(vectorIds[row]!, out, from + row * vectorBytes);
    }
  }
}
