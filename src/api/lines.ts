import { Readable } from 'node:stream';

import type { FastifyReply, FastifyRequest } from 'fastify';

import { knownError } from './failures.ts';
import type { Limits } from './limits.ts';
import { NDJSON_TYPE } from './media.ts';
import { type Problem, problemOf } from './problem.ts';

/**
 * Answers with lines of JSON as they are made. Whatever is wrong before the first of them is still
 * a plain problem.
 */
export async function sendLines(
  request: FastifyRequest,
  reply: FastifyReply,
  lines: AsyncGenerator<Buffer>,
  limits: Limits,
): Promise<FastifyReply> {
  const first = await lines.next();
  const told = tellFailure(first, lines, (error) =>
    problemOf(knownError(error, request, limits), request.id),
  );
  // One piece at a time: what has been yielded is on its way before the next is made.
  return reply.type(NDJSON_TYPE).send(Readable.from(told, { highWaterMark: 1 }));
}

/**
 * The lines, and when they break off a last one that says why. Then it throws, which cuts the
 * connection: a broken answer must not look like a whole one.
 */
async function* tellFailure(
  first: IteratorResult<Buffer, unknown>,
  lines: AsyncGenerator<Buffer>,
  describe: (error: unknown) => Problem,
): AsyncGenerator<Buffer> {
  try {
    if (!first.done) yield first.value;
    yield* lines;
  } catch (error) {
    yield Buffer.from(`${JSON.stringify({ __error: describe(error) })}\n`);
    throw error;
  }
}
