import type { FastifyReply, FastifyRequest } from 'fastify';

import { type AskedIds, countOfIds, readAskedIds } from './asked-ids.ts';
import { goneSignal } from './gone.ts';
import { isMsgpack } from './media.ts';
import { type AskedQuestion, maxAgeOf, resolveQuestion } from './question.ts';
import type { ReadContext } from './route.ts';

/** What a request is going to look up. */
export interface Looked extends AskedQuestion {
  lookups: readonly {
    feature_view: string;
    version?: string | undefined;
    entity_ids: AskedIds;
  }[];
}

/**
 * The `preHandler` of a route that looks vectors up: while data are colder than memory, the handler,
 * which waits for nothing, comes when what it will read has been brought there, unless nobody waits
 * for it by then. `lookedOf` throws
 * what the handler does, which then says so.
 */
export function prefetched(
  context: ReadContext,
  lookedOf: (request: FastifyRequest) => Looked,
): (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void {
  const { prefetch } = context;
  return (request, reply, done) => {
    if (prefetch?.isCold !== true) {
      done();
      return;
    }
    const gone = goneSignal(reply);
    const go = () => done(gone.aborted ? (gone.reason as Error) : undefined);
    void bring(context, request, lookedOf, gone).then(go, go);
  };
}

async function bring(
  { store, limits, prefetch }: ReadContext,
  request: FastifyRequest,
  lookedOf: (request: FastifyRequest) => Looked,
  gone: AbortSignal,
): Promise<void> {
  const looked = lookedOf(request);
  const count = looked.lookups.reduce((sum, { entity_ids }) => sum + countOfIds(entity_ids), 0);
  // The handler refuses it.
  if (count > limits.lookup_ids) return;
  const isPacked = isMsgpack(request.mediaType ?? '');
  await Promise.all(
    looked.lookups.map(async ({ feature_view, version: name, entity_ids }) => {
      const view = store.catalogue.mustGetView(feature_view);
      const version = store.catalogue.mustFindVersion(view, name);
      const question = resolveQuestion(looked, store, [version]);
      const texts = readAskedIds(entity_ids, isPacked).texts();
      const ids = texts.filter((text) => text !== '');
      const opened = store.version(view.name, version.version);
      await prefetch!.bring(opened, ids, { ...question, maxAge: maxAgeOf(looked, view) }, gone);
    }),
  );
}
