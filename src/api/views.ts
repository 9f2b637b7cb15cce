import { isDeepStrictEqual } from 'node:util';

import { z } from 'zod';

import { formatDuration } from '../ground/duration.ts';
import { TidemarkError } from '../ground/errors.ts';
import { formatInstant, type Micros, micros } from '../ground/time.ts';
import type { FeatureView, ModelBinding, ModelVersion } from '../store/catalogue.ts';
import type { Store, ViewSettings } from '../store/store.ts';
import { countsOf, type VersionCounts } from './counts.ts';
import type { AskedModel, Deps } from './deps.ts';
import { healthOf } from './health.ts';
import { JSON_TYPE } from './media.ts';
import type { ApiServer, Context } from './route.ts';
import { answer, problems, viewName, viewRef } from './schemas/common.ts';
import {
  featureView,
  featureViews,
  type FeatureViewAnswer,
  versionBody,
  type VersionBody,
  viewBody,
} from './schemas/views.ts';

const tags = ['feature views'];
const config = { produces: [JSON_TYPE] };

export async function viewRoutes(server: ApiServer, context: Context): Promise<void> {
  const { store } = context;

  server.put(
    '/v1/feature-views/:view',
    {
      config: { ...config, writes: true },
      schema: {
        tags,
        summary: 'Create a feature view',
        description:
          'Creates the view with its first model version, which becomes `current`. Repeating it is fine; `max_age` and `retention` may be others then, and what else differs from the view as it is is refused.',
        params: z.strictObject({ view: viewName }),
        body: viewBody,
        response: {
          200: answer('The view was there already, just so.', featureView),
          201: answer('The view was created.', featureView),
          ...problems(
            'BAD_REQUEST',
            'BAD_DURATION',
            'BAD_CONFIG',
            'MODEL_INVALID',
            'VIEW_CONFLICT',
            'READ_ONLY_REPLICA',
            'MODEL_CHANGED',
            'UNSUPPORTED_MEDIA_TYPE',
            'LIMIT_EXCEEDED',
            'STORE_UNAVAILABLE',
          ),
        },
      },
    },
    async (request, reply) => {
      const { view: name } = request.params;
      const { entity, join_key, max_age, retention, history, ...asked } = request.body;
      const version = await newVersion(context, asked);
      const existing = store.catalogue.view(name);
      if (existing !== undefined) {
        const differences = [
          ...differenceOf('entity', existing.entity, entity),
          ...differenceOf('join_key', existing.join_key, join_key),
        ];
        requireSame(existing, version, differences, 'POST /v1/feature-views/{view}/versions');
        const settings = settingsOf(existing, max_age, retention, history);
        if (!isDeepStrictEqual(settings, settingsOf(existing))) store.changeView(name, settings);
        if (settings.retention !== existing.retention) await holdRetention(store, name);
        return reply.code(200).send(showView(context, store.catalogue.mustGetView(name)));
      }
      const view: FeatureView = {
        name,
        entity,
        join_key,
        created_timestamp: version.created_timestamp,
        versions: { [version.version]: version },
        aliases: { current: version.version },
        ...settingsOf({}, max_age, retention, history),
      };
      store.createView(view);
      await holdRetention(store, name);
      return reply.code(201).send(showView(context, store.catalogue.mustGetView(name)));
    },
  );

  server.post(
    '/v1/feature-views/:view/versions',
    {
      config: { ...config, writes: true },
      schema: {
        tags,
        summary: 'Add a model version',
        description:
          'Adds a model version to the view, as its `candidate`; `current` stays what it is. Repeating it is fine; what differs from the version as it is is refused.',
        params: z.strictObject({ view: viewRef }),
        body: versionBody,
        response: {
          200: answer('The version was there already, just so.', featureView),
          201: answer('The version was added.', featureView),
          ...problems(
            'BAD_REQUEST',
            'BAD_CONFIG',
            'MODEL_INVALID',
            'VIEW_NOT_FOUND',
            'VIEW_CONFLICT',
            'READ_ONLY_REPLICA',
            'MODEL_CHANGED',
            'UNSUPPORTED_MEDIA_TYPE',
            'LIMIT_EXCEEDED',
            'STORE_UNAVAILABLE',
          ),
        },
      },
    },
    async (request, reply) => {
      const { view: name } = request.params;
      store.catalogue.mustGetView(name);
      const version = await newVersion(context, request.body);
      const view = store.catalogue.mustGetView(name);
      if (Object.hasOwn(view.versions, version.version)) {
        requireSame(view, version, [], 'another name for another version');
        return reply.code(200).send(showView(context, view));
      }
      store.addVersion(name, version);
      return reply.code(201).send(showView(context, store.catalogue.mustGetView(name)));
    },
  );

  server.get(
    '/v1/feature-views',
    {
      config,
      schema: {
        tags,
        summary: 'List the feature views',
        description: 'All feature views with their model versions and what these hold.',
        response: { 200: answer('By name.', featureViews), ...problems() },
      },
    },
    async () => ({ feature_views: store.catalogue.views().map((view) => showView(context, view)) }),
  );

  server.get(
    '/v1/feature-views/:view',
    {
      config,
      schema: {
        tags,
        summary: 'Show a feature view',
        description: 'One feature view with its model versions and what these hold.',
        params: z.strictObject({ view: viewRef }),
        response: { 200: answer('The view as it is.', featureView), ...problems('VIEW_NOT_FOUND') },
      },
    },
    async ({ params }) => showView(context, store.catalogue.mustGetView(params.view)),
  );

  server.delete(
    '/v1/feature-views/:view',
    {
      config: { ...config, writes: true },
      schema: {
        tags,
        summary: 'Drop a feature view',
        description:
          'Drops the view with all that it holds, for good: every model version, every revision.',
        params: z.strictObject({ view: viewRef }),
        response: {
          204: z.undefined().describe('The view is gone.'),
          ...problems('VIEW_NOT_FOUND', 'READ_ONLY_REPLICA', 'STORE_UNAVAILABLE'),
        },
      },
    },
    async (request, reply) => {
      await store.dropView(request.params.view);
      return reply.code(204).send();
    },
  );
}

/** A view's settings when others are asked for: undefined leaves one as it is, null takes it away. */
function settingsOf(
  before: ViewSettings,
  maxAge?: number | null,
  retention?: number | null,
  history: 'all' | 'latest_only' = before.history ?? 'all',
): ViewSettings {
  const settings = {
    max_age: maxAge === undefined ? before.max_age : (maxAge ?? undefined),
    retention: retention === undefined ? before.retention : (retention ?? undefined),
  };
  return {
    ...(settings.max_age !== undefined && { max_age: settings.max_age }),
    ...(settings.retention !== undefined && { retention: settings.retention }),
    ...(history === 'latest_only' && { history }),
  };
}

/** From the answer on, and not from the next round of maintenance on (A10). */
async function holdRetention(store: Store, name: string): Promise<void> {
  const { retention } = store.catalogue.mustGetView(name);
  if (retention !== undefined) await store.advanceHorizon(name, store.clock() - retention);
}

/** A version as asked, created now, its model bound. Throws BAD_REQUEST when the dims differ. */
async function newVersion(deps: Deps, asked: VersionBody): Promise<ModelVersion> {
  const { version, dim, dtype, model } = asked;
  const created_timestamp: Micros = deps.store.clock();
  if (model === undefined) return { version, dim, dtype, created_timestamp };
  const bound = await deps.bindModel(model as AskedModel);
  if (bound.dim !== dim) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `the model ${model.name} makes vectors of dim ${bound.dim}, got the dim ${dim}`,
    );
  }
  return { version, dim, dtype, created_timestamp, model: bound.binding };
}

/** Throws VIEW_CONFLICT naming all that differs, MODEL_CHANGED when only the fingerprint does. */
function requireSame(
  view: FeatureView,
  asked: ModelVersion,
  differences: readonly string[],
  remedy: string,
): void {
  const existing = Object.hasOwn(view.versions, asked.version)
    ? view.versions[asked.version]
    : undefined;
  const all = [...differences];
  if (existing === undefined) {
    all.push(`it has no model version ${asked.version}, add it with ${remedy}`);
  } else {
    all.push(
      ...differenceOf('dim', existing.dim, asked.dim),
      ...differenceOf('dtype', existing.dtype, asked.dtype),
      ...differenceOf('model', modelOf(existing.model), modelOf(asked.model)),
    );
  }
  if (all.length > 0) {
    throw new TidemarkError(
      'VIEW_CONFLICT',
      `the feature view ${view.name} is there and differs: ${all.join('; ')}`,
    );
  }
  if (existing?.model?.fingerprint !== asked.model?.fingerprint) {
    throw new TidemarkError(
      'MODEL_CHANGED',
      `the model ${asked.model?.name} or its prompt is not what it was when ${view.name}@${asked.version} was made; ` +
        'add a new version for it, or put the model back',
    );
  }
}

function modelOf(model: ModelBinding | undefined): Omit<ModelBinding, 'fingerprint'> | null {
  if (model === undefined) return null;
  const { fingerprint: _comparedApart, ...asked } = model;
  return asked;
}

function differenceOf(what: string, existing: unknown, asked: unknown): string[] {
  if (isDeepStrictEqual(existing, asked)) return [];
  return [`its ${what} is ${JSON.stringify(existing)}, not ${JSON.stringify(asked)}`];
}

/** Of a version that is being dropped. */
const NOTHING: VersionCounts = {
  entities: 0,
  revisions: 0,
  vectors: 0,
  kept_input_bytes: 0,
  file_bytes: 0,
};

function showView({ store, drift }: Deps, view: FeatureView): FeatureViewAnswer {
  const versions = Object.values(view.versions).map((version) => [
    version.version,
    {
      dim: version.dim,
      dtype: version.dtype,
      created_timestamp: formatInstant(version.created_timestamp),
      kept_until: version.kept_until === undefined ? null : formatInstant(version.kept_until),
      model: version.model ?? null,
      ...(countsOf(store, view.name, version.version) ?? NOTHING),
      health: healthOf(drift, view.name, version),
    },
  ]);
  return {
    feature_view: view.name,
    entity: view.entity,
    join_key: view.join_key,
    created_timestamp: formatInstant(view.created_timestamp),
    max_age: view.max_age === undefined ? null : formatDuration(view.max_age),
    retention: view.retention === undefined ? null : formatDuration(view.retention),
    history: view.history ?? 'all',
    horizon: view.horizon === undefined ? null : formatInstant(micros(view.horizon.moment)),
    aliases: view.aliases,
    versions: Object.fromEntries(versions) as FeatureViewAnswer['versions'],
  };
}
