import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import type { ReadStore } from '../store/store.ts';
import { STATUSES } from '../timetravel/status.ts';
import { gatherRows, refuseManyNumbers } from './lookup-json.ts';
import { resolveLookups } from './lookup.ts';
import { JSON_TYPE, requireBody } from './media.ts';
import { prefetched } from './prefetched.ts';
import { columnTime } from './question.ts';
import type { ApiServer, ReadContext } from './route.ts';
import { problems } from './schemas/common.ts';
import { type FeastAnswer, feastAnswer, type FeastBody, feastBody } from './schemas/feast.ts';

const DESCRIPTION =
  'What Feast’s feature server answers, so that its clients and their users’ code can ask here: the latest, columnar. ' +
  '`POST /v1/lookup` says more and is many times as fast.';

/** A time in Feast's answers where there is none. */
const EPOCH = '1970-01-01T00:00:00Z';

export async function feastRoutes(server: ApiServer, context: ReadContext): Promise<void> {
  server.post(
    '/get-online-features',
    {
      preValidation: requireBody,
      preHandler: prefetched(context, ({ body }) => ({
        ...QUESTION,
        lookups: lookupsOf(context.store, body as FeastBody),
      })),
      schema: {
        tags: ['Feast'],
        summary: 'Look vectors up as from Feast',
        description: DESCRIPTION,
        body: { content: { [JSON_TYPE]: { schema: feastBody } } },
        response: {
          200: {
            description: 'One column a feature, one value an entity row.',
            content: { [JSON_TYPE]: { schema: feastAnswer } },
          },
          ...problems(
            'BAD_REQUEST',
            'NAME_COLLISION',
            'VIEW_NOT_FOUND',
            'VERSION_NOT_FOUND',
            'LIMIT_EXCEEDED',
            'UNSUPPORTED_MEDIA_TYPE',
            'STORE_CORRUPT',
          ),
        },
      },
    },
    (request, reply) => {
      const body = request.body as FeastBody;
      const keys = Object.keys(body.entities).length;
      void reply.type(JSON_TYPE).serializer((told: FeastAnswer) => textOf(told, keys));
      return answer(context, body);
    },
  );
}

interface AskedFeature {
  /** As it is called in the answer. */
  name: string;
  view: string;
  version: string | undefined;
}

/** As JSON. `keys`: how many of the columns, the first of them, are join keys. */
function textOf({ metadata, results }: FeastAnswer, keys: number): string {
  const columns = results.map((column, at) =>
    at < keys ? JSON.stringify(column) : featureText(column),
  );
  return `{"metadata":${JSON.stringify(metadata)},"results":[${columns.join(',')}]}`;
}

/** Numbers have a point or an exponent: to Feast others are integers, which do not mix with floats. */
function featureText({ values, ...rest }: FeastAnswer['results'][0]): string {
  const vectors = (values as (number[] | null)[]).map((vector) =>
    vector === null ? 'null' : `[${vector.map(floatText).join(',')}]`,
  );
  return `{"values":[${vectors.join(',')}],${JSON.stringify(rest).slice(1)}`;
}

function floatText(value: number): string {
  if (Object.is(value, -0)) return '-0.0';
  const text = String(value);
  return Number.isInteger(value) && !text.includes('e') ? `${text}.0` : text;
}

/** Feast has no column for scales, and knows numbers of no narrower dtype. */
const QUESTION = { boundary: 'inclusive', knowledge: 'event', dtype: 'float32' } as const;

function lookupsOf({ catalogue }: ReadStore, { entities, ...body }: FeastBody) {
  return featuresOf(body).map(({ name, view, version }) => {
    const { join_key } = catalogue.mustGetView(view);
    const entity_ids = Object.hasOwn(entities, join_key) ? entities[join_key] : undefined;
    if (entity_ids === undefined) {
      throw new TidemarkError(
        'BAD_REQUEST',
        `the feature view ${view} has the join key ${join_key}, ` +
          `expected it among the entities, got ${Object.keys(entities)
            .map((key) => excerpt(key))
            .join(', ')}`,
      );
    }
    return { name, feature_view: view, version, entity_ids };
  });
}

function answer(context: ReadContext, body: FeastBody): FeastAnswer {
  const { entities, include_feature_view_version_metadata: isWithVersions } = body;
  const rows = rowsOf(entities);
  const lookups = lookupsOf(context.store, body);
  const resolved = resolveLookups(context, { ...QUESTION, lookups }, false);
  refuseManyNumbers(resolved, context.limits);
  const keys = Object.values(entities).map((values) => ({
    values,
    statuses: Array.from({ length: rows }, () => STATUSES[0]),
    event_timestamps: Array.from({ length: rows }, () => EPOCH),
  }));
  const columns = resolved.results.map((result) => ({
    values: gatherRows(result).vectors,
    statuses: Array.from(result.resolution.statuses, (status) => STATUSES[status]!),
    event_timestamps: Array.from(result.resolution.events, (time) => columnTime(time) ?? EPOCH),
  }));
  return {
    metadata: {
      feature_names: [...Object.keys(entities), ...lookups.map(({ name }) => name)],
      ...(isWithVersions && {
        feature_view_metadata: resolved.results.map(({ view, version }) => ({
          name: view.name,
          version: numberIn(version.version),
        })),
      }),
    },
    results: [...keys, ...columns],
  };
}

function featuresOf({
  features,
  feature_service,
  full_feature_names,
}: Omit<FeastBody, 'entities'>): AskedFeature[] {
  if (features === undefined || features.length === 0) {
    throw new TidemarkError(
      'BAD_REQUEST',
      feature_service
        ? `there are no feature services, such as ${excerpt(feature_service)}; name the features, as view:vector`
        : 'got no features, expected names as view:vector',
    );
  }
  const asked = features.map((reference): AskedFeature => {
    const [path = '', feature, ...rest] = reference.split(':');
    const [view = '', version, ...more] = path.split('@');
    if (!feature || view === '' || rest.length > 0 || more.length > 0) {
      throw new TidemarkError(
        'BAD_REQUEST',
        `got the feature ${excerpt(reference)}, expected view:feature or view@version:feature`,
      );
    }
    return { name: full_feature_names ? `${view}__${feature}` : feature, view, version };
  });
  const names = asked.map(({ name }) => name);
  const twin = names.find((name, at) => names.indexOf(name) < at);
  if (twin !== undefined) {
    throw new TidemarkError(
      'NAME_COLLISION',
      `two features would both be called ${twin}; ask with full_feature_names, or in two requests`,
    );
  }
  return asked;
}

/** How many rows there are. */
function rowsOf(entities: FeastBody['entities']): number {
  const lengths = Object.values(entities).map((values) => values.length);
  if (lengths.length === 0 || lengths.some((length) => length !== lengths[0])) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `got entities with ${lengths.join(', ') || 'no'} values, expected at least one join key, all with as many`,
    );
  }
  return lengths[0]!;
}

/** Feast numbers versions. */
function numberIn(version: string): number {
  return Number(/^v?(\d{1,9})$/.exec(version)?.[1] ?? 0);
}
