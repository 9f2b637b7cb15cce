import { Readable } from 'node:stream';

import type { FastifyReply } from 'fastify';

import { TidemarkError } from '../ground/errors.ts';
import { changeLines } from './change-lines.ts';
import { changeFrames } from './change-stream.ts';
import { knownError } from './failures.ts';
import { sendLines } from './lines.ts';
import { CHANGES_TYPE, NDJSON_TYPE } from './media.ts';
import { problemOf } from './problem.ts';
import { requireOwnPast } from './question.ts';
import type { ApiServer, Context } from './route.ts';
import { changeFramesText, changeLinesText, changesQuery } from './schemas/changes.ts';
import { problems } from './schemas/common.ts';

const DESCRIPTION =
  'Everything that changes an answer, of all views or of one, in the order in which it was committed, and only what is durable. ' +
  'Ask with the last `seq` that was seen, or the last watermark’s `snapshot`, as `after`, and nothing is missed or told twice. ' +
  'What retention has dropped and what was erased is no longer told: whoever comes back after that misses just what cannot be asked any more.';

/** An answer under way is cut when its reader has not taken the rest of it so long after the stop. */
const STOP_MS = 1_000;

export async function changeRoutes(server: ApiServer, context: Context): Promise<void> {
  const { store, limits } = context;
  const stopping = new AbortController();
  server.addHook('preClose', async () => stopping.abort());

  server.get(
    '/v1/changes',
    {
      exposeHeadRoute: false,
      config: { produces: [NDJSON_TYPE, CHANGES_TYPE] },
      schema: {
        tags: ['data'],
        summary: 'Follow the changes',
        description: DESCRIPTION,
        querystring: changesQuery,
        response: {
          200: {
            description: 'The changes, as long as they are asked for.',
            content: {
              [NDJSON_TYPE]: { schema: changeLinesText },
              [CHANGES_TYPE]: { schema: changeFramesText },
            },
          },
          ...problems('BAD_REQUEST', 'VIEW_NOT_FOUND', 'SNAPSHOT_UNAVAILABLE', 'STORE_CORRUPT'),
        },
      },
    },
    async (request, reply) => {
      const { feature_view, after = 0, follow = false, limit, vectors = false } = request.query;
      if (after > store.snapshot) {
        throw new TidemarkError(
          'SNAPSHOT_UNAVAILABLE',
          `got the seq ${after} to go on after, the newest snapshot here is ${store.snapshot}`,
        );
      }
      requireOwnPast(store, after);
      const view =
        feature_view === undefined ? undefined : store.catalogue.mustGetView(feature_view);
      const about = view && { name: view.name, entity: view.entity };
      if (request.answerType === CHANGES_TYPE) {
        if (limit !== undefined || vectors) {
          throw new TidemarkError(
            'BAD_REQUEST',
            `${CHANGES_TYPE} is whole and with vectors: ask with after, follow and feature_view alone`,
          );
        }
        const signal = signalOf(stopping.signal, reply);
        const frames = changeFrames(store, { after, follow, about }, signal, (error) =>
          problemOf(knownError(error, request, limits), request.id),
        );
        // One frame at a time: what has been yielded is on its way before the next is made.
        return reply.type(CHANGES_TYPE).send(Readable.from(frames, { highWaterMark: 1 }));
      }
      const question = {
        after,
        follow,
        limit: limit ?? Number.POSITIVE_INFINITY,
        about,
        vectors,
      };
      const signal = signalOf(stopping.signal, reply);
      return sendLines(request, reply, changeLines(store, question, signal), limits);
    },
  );
}

/**
 * Ends an answer when its reader goes away or the server stops. A reader that takes nothing more
 * must not keep the server from stopping.
 */
function signalOf(stopping: AbortSignal, { raw }: FastifyReply): AbortSignal {
  const gone = new AbortController();
  raw.once('close', () => gone.abort());
  stopping.addEventListener('abort', () => setTimeout(() => raw.destroy(), STOP_MS).unref(), {
    signal: gone.signal,
  });
  return AbortSignal.any([stopping, gone.signal]);
}
