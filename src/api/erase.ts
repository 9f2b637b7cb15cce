import { z } from 'zod';

import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import { formatInstant } from '../ground/time.ts';
import type { Erasure } from '../store/catalogue.ts';
import { parseEntityId } from '../store/entity-id.ts';
import type { ErasureScope } from '../store/erasures.ts';
import { JSON_TYPE } from './media.ts';
import type { ApiServer, Context } from './route.ts';
import { answer, problems } from './schemas/common.ts';
import {
  eraseBody,
  type EraseBody,
  erasure,
  type ErasureAnswer,
  erasures,
  liftAnswer,
  liftBody,
} from './schemas/erase.ts';

const config = { produces: [JSON_TYPE] };
const tags = ['data'];
const refusals = [
  'BAD_REQUEST',
  'BAD_ENTITY_ID',
  'VIEW_NOT_FOUND',
  'READ_ONLY_REPLICA',
  'LIMIT_EXCEEDED',
  'UNSUPPORTED_MEDIA_TYPE',
  'STORE_UNAVAILABLE',
] as const;

export async function eraseRoutes(server: ApiServer, context: Context): Promise<void> {
  const { store, sinkTopics } = context;
  const showErasure = (receipt: Erasure): ErasureAnswer => show(receipt, sinkTopics);

  server.post(
    '/v1/erase',
    {
      config: { ...config, writes: true },
      schema: {
        tags,
        summary: 'Erase entities for good',
        description:
          'Erasing is not deleting (A8): from now on every read of the entities, at every moment and snapshot, says ERASED, and nothing about them is stored, in any model version, present or future, until that is lifted. ' +
          'Then their timelines, log entries, inputs and dead letters are removed, and the next compaction leaves no byte of them in the files: the receipt has both stages.',
        body: eraseBody,
        response: { 200: answer('The receipt.', erasure), ...problems(...refusals) },
      },
    },
    async ({ body }) => {
      const { scope, ids } = parseScope(context, body);
      return showErasure(await store.erase(scope, ids));
    },
  );

  server.post(
    '/v1/erase/lift',
    {
      config: { ...config, writes: true },
      schema: {
        tags,
        summary: 'Allow erased entities again',
        description:
          'What was erased stays gone; from now on the entities may be stored again. The scope must be that of the erasure: with the same `feature_view`, or without one.',
        body: liftBody,
        response: {
          200: answer('They may be stored again.', liftAnswer),
          ...problems(...refusals),
        },
      },
    },
    async ({ body }) => {
      const { scope, ids } = parseScope(context, body);
      const entities = await store.liftErasure(scope, ids);
      return { entity: scope.entity, feature_view: scope.view ?? null, entities };
    },
  );

  server.get(
    '/v1/erasures',
    {
      config,
      schema: {
        tags,
        summary: 'List the erasures',
        description: 'The receipts of all erasures that were asked of this store.',
        response: { 200: answer('The newest first.', erasures), ...problems() },
      },
    },
    () => ({
      erasures: store.catalogue
        .receipts()
        .toSorted((a, b) => b.seq - a.seq)
        .map(showErasure),
    }),
  );

  server.get(
    '/v1/erasures/:erasure_id',
    {
      config,
      schema: {
        tags,
        summary: 'Show an erasure',
        description: 'The receipt, with the stage that the erasure has come to.',
        params: z.strictObject({
          erasure_id: z.string().meta({ description: 'As its receipt has it.' }),
        }),
        response: { 200: answer('The receipt.', erasure), ...problems('ERASURE_NOT_FOUND') },
      },
    },
    ({ params }) => showErasure(store.catalogue.mustGetReceipt(params.erasure_id)),
  );
}

/** Throws BAD_REQUEST for an entity type that no view has: nothing would be erased by a typing error. */
function parseScope(
  { store, limits }: Context,
  { entity, feature_view: view, entity_ids }: EraseBody,
): { scope: ErasureScope; ids: string[] } {
  const { catalogue } = store;
  if (entity_ids.length > limits.erase_ids) {
    throw new TidemarkError(
      'LIMIT_EXCEEDED',
      `got ${entity_ids.length} entity ids, the limit erase_ids is ${limits.erase_ids}; send several requests`,
    );
  }
  const types = new Set(catalogue.views().map((each) => each.entity));
  if (view !== undefined && catalogue.mustGetView(view).entity !== entity) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `the feature view ${view} is of the entity type ${catalogue.mustGetView(view).entity}, not ${entity}`,
    );
  }
  if (!types.has(entity)) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `no feature view has the entity type ${excerpt(entity)}; there are ${[...types].join(', ') || 'none'}`,
    );
  }
  const scope = { entity, ...(view !== undefined && { view }) };
  return { scope, ids: entity_ids.map((id) => parseEntityId(id)) };
}

function show(receipt: Erasure, sinkTopics: readonly string[]): ErasureAnswer {
  const { id, scope, entities, seq, erased_at, removed_at, removed, compacted_at } = receipt;
  return {
    erasure_id: id,
    entity: scope.entity,
    feature_view: scope.view ?? null,
    entities,
    seq,
    stages: {
      erased: {
        at: formatInstant(erased_at),
        removed_at: removed_at === undefined ? null : formatInstant(removed_at),
        removed: removed ?? null,
      },
      compacted: { at: compacted_at === undefined ? null : formatInstant(compacted_at) },
    },
    out_of_reach: [
      `backups made before ${formatInstant(erased_at)}: \`tidemark restore\` re-applies the erased set; delete them when they are not needed`,
      'answers and training sets that were handed out',
      'files of exports, on this server until they expire: `DELETE /v1/exports/{id}` removes one before',
      'what backfills keep to themselves, as events that they rejected: `DELETE /v1/backfills/{id}` removes it',
      'lakes, until `tidemark lake export` runs again: it removes the entities',
      'the Kafka topics that the entities came from',
      ...(sinkTopics.length === 0
        ? []
        : [
            `what was published to ${sinkTopics.join(', ')}, and those who read it: nothing more of the entities is published`,
          ]),
      `read replicas that have not followed up to seq ${seq}, and the files of those that have, until their own compaction`,
    ],
  };
}
