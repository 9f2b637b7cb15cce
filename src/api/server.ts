import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';

import fastify, { type FastifyInstance, type HTTPMethods, LogController } from 'fastify';
import { validatorCompiler } from 'fastify-type-provider-zod';

import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import { backupRoutes } from './backup.ts';
import { changeRoutes } from './changes.ts';
import { compactRoutes } from './compact.ts';
import { deadLetterRoutes } from './dead-letters.ts';
import type { Deps } from './deps.ts';
import { diffRoutes } from './diff.ts';
import { embeddingRoutes } from './embeddings.ts';
import { entityRoutes } from './entities.ts';
import { eraseRoutes } from './erase.ts';
import { explainRoutes } from './explain.ts';
import { exportRoutes } from './exports.ts';
import { refuseUnreadable, sendProblem } from './failures.ts';
import { feastRoutes } from './feast.ts';
import { historicalRoutes } from './historical.ts';
import { lookupRoutes } from './lookup-routes.ts';
import { negotiate, refuseEncoded, takeJson } from './media.ts';
import { addCorruptAnswers, addExports, addMetrics, addSkew } from './metrics.ts';
import { addOpenapi } from './openapi.ts';
import { opsRoutes } from './ops.ts';
import { pushRoutes } from './push-routes.ts';
import { replicaRoutes } from './replica.ts';
import type { Context } from './route.ts';
import { scoreRoutes } from './score-routes.ts';
import { timelineRoutes } from './timeline.ts';
import { viewRoutes } from './views.ts';

/** An id of 1,024 bytes, each percent-encoded, with room to say that a longer one is too long. */
const PARAM_LENGTH_MAX = 16_384;

/** The HTTP server with all its routes, not yet listening. */
export async function buildServer(deps: Deps): Promise<FastifyInstance> {
  const { limits, store, registry } = deps;
  const server = fastify({
    logger: deps.logger ?? false,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: limits.body_bytes,
    requestTimeout: limits.request_seconds * 1_000,
    keepAliveTimeout: limits.keep_alive_seconds * 1_000,
    forceCloseConnections: 'idle',
    // Those that come while the server stops are answered as problems, below.
    return503OnClosing: false,
    requestIdHeader: 'x-request-id',
    genReqId: () => randomUUID(),
    routerOptions: { maxParamLength: PARAM_LENGTH_MAX },
    clientErrorHandler: refuseUnreadable,
    frameworkErrors: (error, request, reply) => {
      void sendProblem(error, request, reply, limits);
    },
  });
  const corrupt = addCorruptAnswers(registry);
  server.decorate('noteCorrupt', () => corrupt.inc());
  server.setValidatorCompiler(validatorCompiler);
  // What is answered is checked by its type, and by the tests: not once more for every answer.
  server.setSerializerCompiler(() => (data) => JSON.stringify(data));
  server.setErrorHandler((error, request, reply) => sendProblem(error, request, reply, limits));
  refuseWhileClosing(server);
  server.addHook('onRequest', async ({ routeOptions }) => {
    if (routeOptions.config.writes === true) store.requireLeading();
  });
  server.addHook('onRequest', refuseEncoded);
  answerAsAsked(server);
  refuseUnknownRoutes(server);
  server.removeAllContentTypeParsers();
  takeJson(server);

  const context: Context = { ...deps, metrics: addMetrics(registry, store, server) };
  if (deps.skew !== undefined) addSkew(registry, deps.skew);
  addExports(registry, deps.exports);
  await addOpenapi(server);
  for (const routes of [
    viewRoutes,
    pushRoutes,
    lookupRoutes,
    scoreRoutes,
    feastRoutes,
    entityRoutes,
    timelineRoutes,
    explainRoutes,
    diffRoutes,
    historicalRoutes,
    exportRoutes,
    changeRoutes,
    replicaRoutes,
    eraseRoutes,
    deadLetterRoutes,
    embeddingRoutes,
    compactRoutes,
    backupRoutes,
    opsRoutes,
  ]) {
    // Each in a scope of its own: the content types that it takes are no other's.
    await server.register(async (scope) => routes(scope.withTypeProvider(), context));
  }
  await server.ready();
  return server;
}

function refuseWhileClosing(server: FastifyInstance): void {
  let isClosing = false;
  const connections = new Set<Socket>();
  server.server.on('connection', (socket: Socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
  });
  server.addHook('preClose', async () => {
    isClosing = true;
    // Node takes one on which nothing was ever asked for one that is about to, and would wait.
    for (const socket of connections) if (socket.bytesRead === 0) socket.destroy();
  });
  server.addHook('onRequest', async () => {
    if (isClosing) throw new TidemarkError('SHUTTING_DOWN', 'the server is stopping; ask another');
  });
  // A connection that was busy when the server began to close is idle after its answer, and would
  // be waited for as long as it is kept alive.
  server.addHook('onSend', async (_request, reply) => {
    if (isClosing) void reply.header('connection', 'close');
  });
  server.addHook('onResponse', async () => {
    if (isClosing) setImmediate(() => server.server.closeIdleConnections());
  });
}

/** Settles the answer's content type before the body is read. */
function answerAsAsked(server: FastifyInstance): void {
  server.decorateRequest('answerType', '');
  server.addHook('onRequest', async (request) => {
    const { produces } = request.routeOptions.config;
    if (produces === undefined) return;
    const type = negotiate(request.headers.accept, produces);
    if (type === undefined) {
      throw new TidemarkError(
        'NOT_ACCEPTABLE',
        `${request.method} ${request.routeOptions.url} answers ${produces.join(', ')}, not ${request.headers.accept}`,
      );
    }
    request.answerType = type;
  });
}

/** Tells a path that there is not from a method that a path does not have. */
function refuseUnknownRoutes(server: FastifyInstance): void {
  const routes: { pattern: RegExp; methods: readonly HTTPMethods[] }[] = [];
  server.addHook('onRoute', ({ url, method }) => {
    if (url.includes('*')) return;
    const pattern = new RegExp(`^${url.replaceAll('.', '\\.').replaceAll(/:\w+/g, '[^/]+')}$`);
    routes.push({ pattern, methods: [method].flat() });
  });
  server.setNotFoundHandler(async ({ method, url }, reply) => {
    const [path = ''] = url.split('?');
    const methods = routes
      .filter(({ pattern }) => pattern.test(path))
      .flatMap((each) => each.methods);
    if (methods.length === 0) {
      throw new TidemarkError(
        'NOT_FOUND',
        `there is no route ${method} ${excerpt(path)}; see /docs`,
      );
    }
    const allowed = [...new Set(methods)].join(', ');
    void reply.header('allow', allowed);
    throw new TidemarkError(
      'METHOD_NOT_ALLOWED',
      `${excerpt(path)} takes ${allowed}, not ${method}`,
    );
  });
}
