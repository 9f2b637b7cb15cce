import { maxHeaderSize, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';

import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';

import { type ErrorCode, TidemarkError, TryLater } from '../ground/errors.ts';
import type { Limits } from './limits.ts';
import { consumedBy } from './media.ts';
import { PROBLEM_TYPE, problemOf, SchemaMisfit, statusOf } from './problem.ts';

/** No failures of the server, and many when there are some; the metrics count them. */
const UNLOGGED: ReadonlySet<ErrorCode> = new Set([
  'SHUTTING_DOWN',
  'WRITER_UNAVAILABLE',
  'UNDER_PRESSURE',
  'DEADLINE_EXCEEDED',
]);

/** Answers any error of a request in the one shape. */
export function sendProblem(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  limits: Limits,
): FastifyReply {
  const known = settleFailure(error, request, reply, limits);
  // As bytes, or Fastify would add a charset, which this type does not have.
  const body = Buffer.from(JSON.stringify(problemOf(known, request.id)));
  return reply.type(PROBLEM_TYPE).send(body);
}

/** Settles status and headers of an answer that is an error; one that is ours goes to the log. */
export function settleFailure(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  limits: Limits,
): TidemarkError {
  const known = knownError(error, request, limits);
  const status = statusOf(known.code);
  if (status >= 500 && !UNLOGGED.has(known.code)) {
    request.log.error({ reqId: request.id, err: error, code: known.code }, known.message);
  }
  if (known instanceof TryLater) void reply.header('retry-after', known.retryAfterSeconds);
  else if (known.code === 'OVERLOADED') void reply.header('retry-after', '1');
  void reply.code(status);
  return known;
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
  if (error instanceof TidemarkError) {
    if (error.code === 'STORE_CORRUPT') request.server.noteCorrupt();
    return error;
  }
  // The caller went away in the middle of its body: nobody's defect, and nobody reads the answer.
  if (error !== null && error === request.raw.errored) {
    return new TidemarkError('BAD_REQUEST', 'the body broke off before its end');
  }
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
      `${request.method} ${request.url} does not take a body of content type ${got ?? '(none)'}, only ${consumedBy(request)}`,
    );
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new TidemarkError('BAD_REQUEST', message);
  }
  return new TidemarkError('INTERNAL', 'Tidemark failed; the log has why, by the instance given');
}

/** As Node calls it. */
const LATE = 'ERR_HTTP_REQUEST_TIMEOUT';

/** The statuses that HTTP has for what its parser refuses: none of them is of a route. */
const UNREADABLE: Record<string, { status: number; problem: TidemarkError }> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    problem: new TidemarkError('LIMIT_EXCEEDED', `the headers are over ${maxHeaderSize} bytes`),
  },
  [LATE]: {
    status: 408,
    problem: new TidemarkError('LIMIT_EXCEEDED', 'the request took too long to arrive'),
  },
};

/** The answer under way on a connection: Node keeps it there. */
export function answerOn(socket: Socket): ServerResponse | null | undefined {
  const { _httpMessage: answer } = socket as Socket & { _httpMessage?: ServerResponse | null };
  return answer;
}

/** Answers a request whose body takes too long to arrive, and closes the connection. */
export function refuseLate(socket: Socket): void {
  refuseUnreadable(Object.assign(new Error('late'), { code: LATE }), socket);
}

/** Answers what is not HTTP in the one shape, and closes the connection: no more can be read of it. */
export function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  // An answer that has begun must not get another in its middle.
  if (error.code === 'ECONNRESET' || !socket.writable || answerOn(socket)?.headersSent) {
    socket.destroy();
    return;
  }
  const { status, problem } = UNREADABLE[error.code ?? ''] ?? {
    status: 400,
    problem: new TidemarkError('BAD_REQUEST', `the request is not HTTP: ${error.message}`),
  };
  const title = STATUS_CODES[status]!;
  const body = JSON.stringify({ ...problemOf(problem), title, status });
  const head = [
    `HTTP/1.1 ${status} ${title}`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}
