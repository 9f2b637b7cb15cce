import { Readable } from 'node:stream';

import type { FastifyReply, FastifyRequest } from 'fastify';

import { knownError } from './failures.ts';
import type { Limits } from './limits.ts';
import { NDJSON_TYPE } from './media.ts';
import { type Problem, problemOf } from './problem.ts';

/** Answers with lines of JSON as they are made; see `sendPieces`. */
export async function sendLines(
  request: FastifyRequest,
  reply: FastifyReply,
  lines: AsyncGenerator<Uint8Array>,
  limits: Limits,
): Promise<FastifyReply> {
  return sendPieces(request, reply, lines, NDJSON_TYPE, limits);
}

/**
 * Answers with pieces as they are made. Whatever is wrong before the first of them is still a plain
 * problem.
 */
export async function sendPieces(
  request: FastifyRequest,
  reply: FastifyReply,
  pieces: AsyncGenerator<Uint8Array>,
  type: string,
  limits: Limits,
): Promise<FastifyReply> {
  const first = await pieces.next();
  const told = tellFailure(first, pieces, (error) => {
    const problem = problemOf(knownError(error, request, limits), request.id);
    return type === NDJSON_TYPE ? problem : undefined;
  });
  // One piece at a time: what has been yielded is on its way before the next is made.
  const body = Readable.from(told, { highWaterMark: 1 });
  // When the caller has left by now, it is never read: then nothing else ends the pieces.
  body.once('close', () => {
    pieces
      .return(undefined)
      .catch((error: unknown) => request.log.error({ reqId: request.id, err: error }));
  });
  return reply.type(type).send(body);
}

/**
 * The pieces, and when they break off, where the format has a place for it, a last line that says
 * why. Then it throws, which cuts the connection: a broken answer must not look like a whole one.
 */
async function* tellFailure(
  first: IteratorResult<Uint8Array, unknown>,
  pieces: AsyncGenerator<Uint8Array>,
  describe: (error: unknown) => Problem | undefined,
): AsyncGenerator<Uint8Array> {
  try {
    if (!first.done) yield first.value;
    yield* pieces;
  } catch (error) {
    const problem = describe(error);
    if (problem !== undefined) yield Buffer.from(`${JSON.stringify({ __error: problem })}\n`);
    throw error;
  }
}
