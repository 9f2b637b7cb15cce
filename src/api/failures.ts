import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';

import { type ErrorCode, TidemarkError } from '../ground/errors.ts';
import type { Limits } from './limits.ts';
import { PROBLEM_TYPE, problemOf, SchemaMisfit, statusOf } from './problem.ts';

/** Answers any error of a request in the one shape; those that are ours go to the log. */
export function sendProblem(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  limits: Limits,
): FastifyReply {
  const known = knownError(error, request, limits);
  const status = statusOf(known.code);
  if (status >= 500 && known.code !== 'SHUTTING_DOWN') {
    request.log.error({ err: error, code: known.code }, known.message);
  }
  if (known.code === 'OVERLOADED') void reply.header('retry-after', '1');
  // As bytes, or Fastify would add a charset, which this type does not have.
  const body = Buffer.from(JSON.stringify(problemOf(known, request.id)));
  return reply.code(status).type(PROBLEM_TYPE).send(body);
}

/** The part of Fastify's validation errors that is read here; `params` are those of the zod issue. */
interface SchemaIssue {
  instancePath: string;
  message?: string;
  params?: { params?: { code?: ErrorCode } };
}

const PARTS: Record<string, string> = { querystring: 'query', params: 'path' };

function schemaMisfit(issues: readonly SchemaIssue[], context = ''): TidemarkError {
  const part = PARTS[context] ?? context;
  const errors = issues.map(({ instancePath, message = 'is not as expected' }) => ({
    path: instancePath === '/' ? part : `${part}${instancePath}`,
    message,
  }));
  const codes = new Set(issues.map((issue) => issue.params?.params?.code ?? 'BAD_REQUEST'));
  return new SchemaMisfit(codes.size === 1 ? [...codes][0]! : 'BAD_REQUEST', errors);
}

/** The error as one that a caller can read; what is ours is told as INTERNAL. */
export function knownError(error: unknown, request: FastifyRequest, limits: Limits): TidemarkError {
  if (error instanceof TidemarkError) return error;
  const { code, message, statusCode, validation, validationContext } = error as FastifyError;
  if (validation !== undefined) {
    return schemaMisfit(validation, validationContext);
  }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new TidemarkError(
      'LIMIT_EXCEEDED',
      `the body is larger than the limit body_bytes of ${limits.body_bytes} bytes; send less at once`,
    );
  }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    const got = request.headers['content-type'];
    return new TidemarkError(
      'UNSUPPORTED_MEDIA_TYPE',
      `${request.method} ${request.url} does not take a body of content type ${got ?? '(none)'}`,
    );
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new TidemarkError('BAD_REQUEST', message);
  }
  return new TidemarkError('INTERNAL', 'Tidemark failed; the log has why, by the instance given');
}
