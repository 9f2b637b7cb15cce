import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import type { ModelVersion } from '../store/catalogue.ts';
import type { Store } from '../store/store.ts';
import type { JoinPlan, JoinRef } from '../timetravel/join/plan.ts';
import { withReigns } from '../timetravel/join/reigns.ts';
import { ANY_AGE } from '../timetravel/question.ts';
import type { SpineFormat, TextColumn } from '../timetravel/spine/window.ts';
import type { Limits } from './limits.ts';
import { type AskedQuestion, maxAgeOf, resolveQuestion } from './question.ts';

/** A training join as it was asked for, its defaults filled in by its schema. */
export interface AskedJoin extends Omit<AskedQuestion, 'as_of' | 'now'> {
  feature_views: string;
  id_columns?: string | undefined;
  timestamp_column: string;
  known_timestamps?: boolean | undefined;
  created_timestamps?: boolean | undefined;
  strict?: boolean | undefined;
  alias_as_of?: boolean | undefined;
}

/** Throws BAD_REQUEST, NAME_COLLISION, LIMIT_EXCEEDED, and what a question can. */
export function planJoin(
  asked: AskedJoin,
  answer: Pick<JoinPlan, 'format' | 'vectors' | 'order'>,
  store: Store,
  limits: Limits,
): JoinPlan {
  const { timestamp_column, known_timestamps, created_timestamps, strict, alias_as_of } = asked;
  const { refs, versions } = parseRefs(asked, store, limits);
  const { boundary, knowledge, knownAt, now, snapshot } = resolveQuestion(
    asked,
    store,
    alias_as_of ? [] : versions,
  );
  return {
    refs: alias_as_of
      ? refs.map((ref) => withReigns(ref, store.catalogue, snapshot, asked.at_snapshot))
      : refs,
    question: { boundary, knowledge, knownAt, now, snapshot },
    timeColumn: timestamp_column,
    columns: { known: known_timestamps ?? false, created: created_timestamps ?? false },
    strict: strict ?? false,
    ...answer,
  };
}

/** The revisions of one model version, by themselves. Throws what a question can. */
export function planRevisions(
  asked: Omit<AskedQuestion, 'as_of' | 'now'> & {
    feature_view: string;
    version?: string | undefined;
  },
  answer: Pick<JoinPlan, 'format' | 'vectors' | 'order'>,
  store: Store,
): JoinPlan {
  const view = store.catalogue.mustGetView(asked.feature_view);
  const version = store.catalogue.mustFindVersion(view, asked.version);
  const { knownAt, now, snapshot } = resolveQuestion(asked, store, [version]);
  const { dim, dtype } = version;
  const idColumn = view.join_key;
  const ref = { name: view.name, view: view.name, version: version.version, dim, dtype, idColumn };
  return {
    refs: [{ ...ref, maxAge: ANY_AGE }],
    // Each revision is an answer to itself: no knowledge keeps it out but `known_at`.
    question: { boundary: 'inclusive', knowledge: 'event', knownAt, now, snapshot },
    timeColumn: 'event_timestamp',
    columns: { known: true, created: true },
    strict: false,
    ...answer,
  };
}

/** Files of an export are called by it: few disks have longer names than 255 bytes. */
const REF_NAME_MAX = 200;
const REFERENCE = /^(?:(?<name>[A-Za-z0-9][\w@.-]*)=)?(?<view>[^@=]+)(?:@(?<version>[^@=]+))?$/;

function parseRefs(
  asked: AskedJoin,
  store: Store,
  limits: Limits,
): { refs: JoinRef[]; versions: ModelVersion[] } {
  const parts = asked.feature_views.split(',');
  const pairs = parsePairs(asked.id_columns, (pair) => pair.indexOf(':'));
  refuseTwice('id_columns', pairs);
  const idColumns = new Map(
    pairs.map(([name, column, pair]) => {
      if (column !== undefined) return [name, column];
      throw new TidemarkError(
        'BAD_REQUEST',
        `got the id column ${excerpt(pair)}, expected reference:column`,
      );
    }),
  );
  if (parts.length > limits.spine_refs) {
    throw new TidemarkError(
      'LIMIT_EXCEEDED',
      `got ${parts.length} feature views, the limit spine_refs is ${limits.spine_refs}`,
    );
  }
  const names = new Set<string>();
  const versions: ModelVersion[] = [];
  const refs = parts.map((part): JoinRef => {
    const groups = REFERENCE.exec(part.trim())?.groups;
    if (groups === undefined) {
      throw new TidemarkError(
        'BAD_REQUEST',
        `got the feature view ${excerpt(part)}, expected view, view@version or name=view@version`,
      );
    }
    if (asked.alias_as_of && groups.version !== undefined) {
      throw new TidemarkError(
        'BAD_REQUEST',
        `with alias_as_of each row has the version of its moment, and ${excerpt(part)} names one: ` +
          'leave the version out, or alias_as_of',
      );
    }
    const view = store.catalogue.mustGetView(groups.view!);
    const version = store.catalogue.mustFindVersion(view, groups.version);
    const name = groups.name ?? part.trim();
    if (name.length > REF_NAME_MAX) {
      throw new TidemarkError(
        'BAD_REQUEST',
        `the feature view ${excerpt(part)} is called by ${name.length} characters, the limit is ` +
          `${REF_NAME_MAX}; rename it, as in other=view@version`,
      );
    }
    if (names.has(name)) {
      throw new TidemarkError(
        'NAME_COLLISION',
        `two feature views would both be called ${name}; rename one, as in other=${part.trim()}`,
      );
    }
    names.add(name);
    versions.push(version);
    const idColumn = idColumns.get(name) ?? view.join_key;
    idColumns.delete(name);
    const { dim, dtype } = version;
    const maxAge = maxAgeOf(asked, view);
    return { name, view: view.name, version: version.version, dim, dtype, idColumn, maxAge };
  });
  const [unknown] = idColumns.keys();
  if (unknown !== undefined) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `id_columns maps ${unknown}, which feature_views does not have: ${[...names].join(', ')}`,
    );
  }
  return { refs, versions };
}

const TEXT_TYPES: readonly TextColumn['type'][] = [
  'int64',
  'float64',
  'bool',
  'string',
  'timestamp',
  'json',
];

/** The types that columns of a spine of text have where its values do not say. Throws BAD_REQUEST. */
export function parseColumnTypes(
  text: string | undefined,
  format: SpineFormat,
): Record<string, TextColumn['type']> {
  const pairs = parsePairs(text, (pair) => pair.lastIndexOf(':'));
  if (pairs.length > 0 && format !== 'ndjson' && format !== 'csv') {
    throw new TidemarkError(
      'BAD_REQUEST',
      `column_types is of NDJSON and CSV: in ${format} each column has its type; leave it out`,
    );
  }
  refuseTwice('column_types', pairs);
  return Object.fromEntries(
    pairs.map(([column, type, pair]) => {
      const known = TEXT_TYPES.find((each) => each === type);
      if (known !== undefined) return [column, known];
      throw new TidemarkError(
        'BAD_REQUEST',
        `got the column type ${excerpt(pair)}, expected column:type with one of ${TEXT_TYPES.join(', ')}`,
      );
    }),
  );
}

/** Throws BAD_REQUEST where two pairs say something of the same. */
function refuseTwice(parameter: string, pairs: readonly (readonly [string, ...unknown[]])[]): void {
  const known = new Set<string>();
  for (const [name] of pairs) {
    if (known.has(name)) {
      throw new TidemarkError(
        'BAD_REQUEST',
        `${parameter} has ${excerpt(name)} twice, expected it once`,
      );
    }
    known.add(name);
  }
}

/** `a:b,c:d`; a pair that is none has nothing on its right side. The third is how it was written. */
function parsePairs(
  text: string | undefined,
  colonOf: (pair: string) => number,
): [string, string | undefined, string][] {
  const pairs = (text ?? '').split(',').filter((pair) => pair.trim() !== '');
  return pairs.map((pair) => {
    const at = colonOf(pair);
    const [left, right] = [pair.slice(0, Math.max(at, 0)).trim(), pair.slice(at + 1).trim()];
    return [left, at < 0 || left === '' || right === '' ? undefined : right, pair];
  });
}
