import { Agent, type IncomingHttpHeaders, type IncomingMessage, request as ask } from 'node:http';
import { json } from 'node:stream/consumers';

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import type { Readiness } from '../api/deps.ts';
import { TryLater } from '../ground/errors.ts';

export const EVERY_PATH = '/*';

const RETRY_SECONDS = 1;
const READINESS_MS = 2_000;
/** They change nothing, or have a snapshot in their answers by which to ask for what they changed. */
const READS = new Set(['GET', 'HEAD', 'OPTIONS']);
const PUSH = '/v1/push';
/** Of a connection, not of what is sent over it. */
const OF_CONNECTIONS = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/**
 * Has the writer answer what no other route does: bytes pass both ways as they come, and who leaves
 * early is left by the other side. `settle` resolves when all processes have taken in what the writer
 * has done; what changes views or erases is answered after that.
 */
export function answerByWriter(
  server: FastifyInstance,
  socket: string,
  settle: () => Promise<void>,
): void {
  const agent = new Agent({ keepAlive: true });
  server.addHook('onClose', async () => agent.destroy());
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', (_request, _body, done) => done(null));
  server.route({
    method: server.supportedMethods,
    url: EVERY_PATH,
    exposeHeadRoute: false,
    // The writer was lost after the head of its answer, and no byte of it was passed on yet.
    errorHandler: (error) => {
      throw error.code === 'ECONNRESET' ? writerAway(error) : error;
    },
    handler: async (request, reply) => {
      const answer = await forward(request, reply, agent, socket);
      const [path] = request.url.split('?');
      if (!READS.has(request.method) && path !== PUSH) await settle();
      return reply.code(answer.statusCode!).headers(passedOn(answer.headers)).send(answer);
    },
  });
}

async function forward(
  { raw, id, method, url }: FastifyRequest,
  { raw: response }: FastifyReply,
  agent: Agent,
  socketPath: string,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  // Said anew, whatever the method: the bytes of a body without an end would be requests of their own.
  const coding = raw.headers['transfer-encoding'];
  const headers = {
    ...passedOn(raw.headers),
    'x-request-id': id,
    ...(coding !== undefined && { 'transfer-encoding': coding }),
  };
  const sent = ask({ socketPath, agent, method, path: url, headers });
  sent.once('response', resolve);
  sent.on('error', (error) => {
    raw.unpipe(sent);
    // What nobody reads would keep the connection from its next request.
    raw.resume();
    reject(writerAway(error));
  });
  response.once('close', () => sent.destroy());
  raw.pipe(sent);
  return promise;
}

function writerAway(cause: Error): TryLater {
  return new TryLater(
    'WRITER_UNAVAILABLE',
    'the process that writes is being started again: lookups go on, and all else is possible after ' +
      'a moment; what was just sent may have been stored, and to send it again stores nothing twice',
    RETRY_SECONDS,
    { cause },
  );
}

function passedOn(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !OF_CONNECTIONS.has(name)));
}

/** The readiness of the whole: the writer's. Without a writer lookups go on, where files are open. */
export async function readinessOf(socketPath: string, isOpen: boolean): Promise<Readiness> {
  const reads = {
    ok: isOpen,
    ...(!isOpen && { message: 'the files of the store are being opened anew' }),
  };
  try {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const signal = AbortSignal.timeout(READINESS_MS);
    ask({ socketPath, path: '/readyz', signal }, resolve).on('error', reject).end();
    const told = (await json(await promise)) as Partial<Readiness>;
    if (told.checks === undefined) throw new Error('it is stopping');
    return { ready: told.ready === true && isOpen, checks: { ...told.checks, reads } };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const message = `the process that writes is being started again, and lookups go on: ${why}`;
    return { ready: isOpen, checks: { writer: { ok: false, message }, reads } };
  }
}
