import type { IncomingMessage, ServerResponse } from 'node:http';

import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';

import type { Deps } from './deps.ts';
import type { ApiMetrics } from './metrics.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The content types of the bodies that the route takes; JSON where it does not say. */
    consumes?: readonly string[];
    /** The content types that the route answers with, the best liked first. */
    produces?: readonly string[];
    /** It changes the store: a read replica refuses it. */
    writes?: boolean;
  }
  interface FastifyInstance {
    /** Counts an answer that damage of the store kept from being given. */
    noteCorrupt: () => void;
  }
  interface FastifyRequest {
    /** Of those the one that the request's Accept asks for. */
    answerType: string;
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
