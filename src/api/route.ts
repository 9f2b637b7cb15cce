import type { IncomingMessage, ServerResponse } from 'node:http';

import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';

import type { Deps, ReadDeps } from './deps.ts';
import type { ApiMetrics } from './metrics.ts';
import type { Stopping } from './stopping.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The content types of the bodies that the route takes; JSON where it does not say. */
    consumes?: readonly string[];
    /** The content types that the route answers with, the best liked first. */
    produces?: readonly string[];
    /** It changes the store: a read replica refuses it. */
    writes?: boolean;
    /** It is answered whatever else there is to do. */
    vital?: boolean;
  }
  interface FastifyInstance {
    /** Counts an answer that damage of the store kept from being given. */
    noteCorrupt: () => void;
    stopping: Stopping;
  }
  interface FastifyRequest {
    /** Of those the one that the request's Accept asks for. */
    answerType: string;
    /** When nobody waits for the answer any more, as `performance.now` counts; undefined: never. */
    deadline: number | undefined;
  }
}

/** A server whose routes take their types from their zod schemas. */
export type ApiServer = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** What the routes share. */
export interface Context extends Deps {
  metrics: ApiMetrics;
}

/** What of it those share that only read. */
export interface ReadContext extends ReadDeps {
  metrics: ApiMetrics;
}
