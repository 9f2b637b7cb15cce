import type { z } from 'zod';

import { type ErrorCode, TidemarkError } from '../ground/errors.ts';
import { formatInstant } from '../ground/time.ts';
import { EntityIds } from '../store/entity-ids.ts';
import { resolveMany } from '../timetravel/lookup.ts';
import { ANY_AGE } from '../timetravel/question.ts';
import { REASONS, STATUSES } from '../timetravel/status.ts';
import { gatherRows } from './lookup-json.ts';
import { pendingRows } from './lookup.ts';
import { JSON_TYPE } from './media.ts';
import { prefetched } from './prefetched.ts';
import { push } from './push.ts';
import { columnTime, echoQuestion, maxAgeOf, maxAgeText, resolveQuestion } from './question.ts';
import type { ApiServer, Context, ReadContext } from './route.ts';
import { answer, problems } from './schemas/common.ts';
import { entityAnswer, type EntityAnswer, entityPath, entityQuery } from './schemas/lookup.ts';
import { deleteAnswer, deleteQuery } from './schemas/push.ts';

const config = { produces: [JSON_TYPE] };

export async function entityRoutes(server: ApiServer, context: ReadContext): Promise<void> {
  const { store, metrics } = context;

  server.get(
    '/v1/feature-views/:view/entities/:entity_id',
    {
      config,
      preHandler: prefetched(context, ({ params, query }) => {
        const { view, entity_id } = params as z.output<typeof entityPath>;
        const { version, ...asked } = query as z.output<typeof entityQuery>;
        return { ...asked, lookups: [{ feature_view: view, version, entity_ids: [entity_id] }] };
      }),
      schema: {
        tags: ['time travel'],
        summary: 'Look one entity up',
        description:
          'The lookup of one id. An entity that has no vector in force is an answer like any other: 200, with its status and reason, and null for the vector.',
        params: entityPath,
        querystring: entityQuery,
        response: {
          200: answer('The vector, or why there is none.', entityAnswer),
          ...problems(
            'BAD_REQUEST',
            'BAD_ENTITY_ID',
            'BAD_TIMESTAMP',
            'BAD_DURATION',
            'VIEW_NOT_FOUND',
            'VERSION_NOT_FOUND',
            'SNAPSHOT_UNAVAILABLE',
            'STORE_CORRUPT',
          ),
        },
      },
    },
    (request): EntityAnswer => {
      const { version: versionName, dtype: askedDtype, ...asked } = request.query;
      const { view: viewName, entity_id } = request.params;
      const view = store.catalogue.mustGetView(viewName);
      const version = store.catalogue.mustFindVersion(view, versionName);
      const question = resolveQuestion(asked, store, [version]);
      const opened = store.version(view.name, version.version);
      const maxAge = maxAgeOf(asked, view);
      const ids = EntityIds.of([entity_id]);
      const resolution = resolveMany(opened, ids, { ...question, maxAge });
      metrics.lookedUp(view.name, resolution);
      const [pending] = pendingRows(context, asked, view, version, ids, resolution);
      const { vectors: pool } = opened;
      const dtype = askedDtype ?? version.dtype;
      const { vectors, scales } = gatherRows({ version, dtype, vectors: pool, resolution });
      const [seq] = resolution.seqs as unknown as [number];
      return {
        feature_view: view.name,
        version: version.version,
        entity_id,
        snapshot: question.snapshot,
        question: echoQuestion(question, maxAge !== ANY_AGE),
        max_age: maxAgeText(maxAge),
        status: STATUSES[resolution.statuses[0]!]!,
        reason: REASONS[resolution.reasons[0]!] ?? null,
        ...(pending !== undefined && { pending: true }),
        event_timestamp: columnTime(resolution.events[0]!),
        known_timestamp: columnTime(resolution.knowns[0]!),
        created_timestamp: columnTime(resolution.createds[0]!),
        seq: Number.isNaN(seq) ? null : seq,
        dim: version.dim,
        dtype,
        vector: vectors[0]!,
        ...(scales && { scale: scales[0]! }),
      };
    },
  );
}

export async function deleteRoutes(server: ApiServer, context: Context): Promise<void> {
  const { store } = context;

  server.delete(
    '/v1/feature-views/:view/entities/:entity_id',
    {
      config: { ...config, writes: true },
      schema: {
        tags: ['data'],
        summary: 'Delete an entity as of a moment',
        description:
          'Writes a tombstone: from its event time on the entity is NOT_FOUND, DELETED; before it the old vectors still answer (A7).',
        params: entityPath,
        querystring: deleteQuery,
        response: {
          200: answer('The tombstone is durable.', deleteAnswer),
          ...problems(
            'BAD_REQUEST',
            'BAD_ENTITY_ID',
            'BAD_TIMESTAMP',
            'FUTURE_TIMESTAMP',
            'ENTITY_ERASED',
            'READ_ONLY_REPLICA',
            'VIEW_NOT_FOUND',
            'VERSION_NOT_FOUND',
            'STORE_UNAVAILABLE',
          ),
        },
      },
    },
    async ({ params, query }) => {
      const { entity_id } = params;
      const { event_timestamp = store.clock(), version } = query;
      const { feature_view, snapshot, versions, rejected } = await push(context, {
        feature_view: params.view,
        version,
        records: [{ entity_id, event_timestamp: formatInstant(event_timestamp), deleted: true }],
        isPacked: false,
      });
      const [refused] = rejected;
      if (refused !== undefined)
        throw new TidemarkError(refused.code as ErrorCode, refused.message);
      return { feature_view, entity_id, snapshot, versions };
    },
  );
}
