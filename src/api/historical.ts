import type { Readable } from 'node:stream';

import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import type { Store } from '../store/store.ts';
import { joinNdjson, type JoinPlan, type JoinRef } from '../timetravel/join.ts';
import type { Limits } from './limits.ts';
import { sendLines } from './lines.ts';
import { NDJSON_TYPE, requireBody, streamNdjson } from './media.ts';
import { maxAgeOf, resolveQuestion } from './question.ts';
import type { ApiServer, Context } from './route.ts';
import { problems } from './schemas/common.ts';
import {
  historicalQuery,
  type HistoricalQuery,
  joinedLines,
  spineBody,
} from './schemas/historical.ts';

const DESCRIPTION =
  'Joins a spine to the vectors in force at each of its rows’ moments, without leakage: exactly one line a row, in spine order, misses as nulls with a status (A11). ' +
  'Both bodies are streamed, whatever their length. All rows are answered at one snapshot.';

export async function historicalRoutes(server: ApiServer, context: Context): Promise<void> {
  server.removeAllContentTypeParsers();
  streamNdjson(server);
  server.post(
    '/v1/get-historical-features',
    {
      config: { consumes: [NDJSON_TYPE], produces: [NDJSON_TYPE] },
      preValidation: requireBody,
      schema: {
        tags: ['training'],
        summary: 'Join a spine to vectors as of its moments',
        description: DESCRIPTION,
        querystring: historicalQuery,
        body: { content: { [NDJSON_TYPE]: { schema: spineBody } } },
        response: {
          200: {
            description: 'The spine with its vectors, then the summary.',
            content: { [NDJSON_TYPE]: { schema: joinedLines } },
          },
          ...problems(
            'BAD_REQUEST',
            'BAD_TIMESTAMP',
            'BAD_DURATION',
            'NAME_COLLISION',
            'VIEW_NOT_FOUND',
            'VERSION_NOT_FOUND',
            'SNAPSHOT_UNAVAILABLE',
            'BEFORE_RETENTION',
            'LIMIT_EXCEEDED',
            'UNSUPPORTED_MEDIA_TYPE',
            'STORE_CORRUPT',
          ),
        },
      },
    },
    async (request, reply) => {
      const plan = planJoin(context, request.query);
      const lines = joinNdjson(readBody(request.body as Readable), plan);
      return sendLines(request, reply, lines, context.limits);
    },
  );
}

/**
 * The body's bytes. One that is not read to its end stays open, for the answer that says why, and
 * what still comes of it is thrown away, or its connection would stand still for ever.
 */
async function* readBody(body: Readable): AsyncGenerator<Uint8Array> {
  try {
    yield* body.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
  } finally {
    body.resume();
  }
}

/** Throws BAD_REQUEST, NAME_COLLISION, LIMIT_EXCEEDED, and what a question can. */
function planJoin({ store, limits }: Context, query: HistoricalQuery): JoinPlan {
  const { timestamp_column, known_timestamps, created_timestamps } = query;
  const refs = parseRefs(query, store, limits);
  const versions = refs.map(({ version }) => version);
  return {
    store,
    refs,
    question: resolveQuestion(query, store, versions),
    timeColumn: timestamp_column,
    columns: { known: known_timestamps ?? false, created: created_timestamps ?? false },
    lineBytesMax: limits.spine_line_bytes,
    strict: query.strict ?? false,
  };
}

const REFERENCE = /^(?:(?<name>[A-Za-z0-9][\w@.-]*)=)?(?<view>[^@=]+)(?:@(?<version>[^@=]+))?$/;

function parseRefs(query: HistoricalQuery, store: Store, limits: Limits): JoinRef[] {
  const parts = query.feature_views.split(',');
  const idColumns = parseIdColumns(query.id_columns);
  if (parts.length > limits.spine_refs) {
    throw new TidemarkError(
      'LIMIT_EXCEEDED',
      `got ${parts.length} feature views, the limit spine_refs is ${limits.spine_refs}`,
    );
  }
  const names = new Set<string>();
  const refs = parts.map((part): JoinRef => {
    const groups = REFERENCE.exec(part.trim())?.groups;
    if (groups === undefined) {
      throw new TidemarkError(
        'BAD_REQUEST',
        `got the feature view ${excerpt(part)}, expected view, view@version or name=view@version`,
      );
    }
    const view = store.catalogue.mustGetView(groups.view!);
    const version = store.catalogue.mustGetVersion(view, groups.version);
    const name = groups.name ?? part.trim();
    if (names.has(name)) {
      throw new TidemarkError(
        'NAME_COLLISION',
        `two feature views would both be called ${name}; rename one, as in other=${part.trim()}`,
      );
    }
    names.add(name);
    const idColumn = idColumns.get(name) ?? view.join_key;
    idColumns.delete(name);
    return { name, view, version, idColumn, maxAge: maxAgeOf(query, view) };
  });
  const [unknown] = idColumns.keys();
  if (unknown !== undefined) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `id_columns maps ${unknown}, which feature_views does not have: ${[...names].join(', ')}`,
    );
  }
  return refs;
}

function parseIdColumns(text: string | undefined): Map<string, string> {
  const pairs = (text ?? '').split(',').filter((pair) => pair.trim() !== '');
  return new Map(
    pairs.map((pair): [string, string] => {
      const at = pair.indexOf(':');
      const [name, column] = [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
      if (at < 0 || name === '' || column === '') {
        throw new TidemarkError(
          'BAD_REQUEST',
          `got the id column ${excerpt(pair)}, expected reference:column`,
        );
      }
      return [name, column];
    }),
  );
}
