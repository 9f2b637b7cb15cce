import { randomUUID } from 'node:crypto';

import fastify, {
  type FastifyInstance,
  type HTTPMethods,
  LogController,
  type FastifyRequest,
} from 'fastify';
import { validatorCompiler } from 'fastify-type-provider-zod';

import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import { addDriftMetrics } from '../rollout/drift-metrics.ts';
import { addShadowMetrics } from '../rollout/shadow-metrics.ts';
import { backfillRoutes } from './backfills.ts';
import { backupRoutes } from './backup.ts';
import { changeRoutes } from './changes.ts';
import { compactRoutes } from './compact.ts';
import { deadLetterRoutes } from './dead-letters.ts';
import type { Deps, ReadDeps } from './deps.ts';
import { diffRoutes } from './diff.ts';
import { embeddingRoutes } from './embeddings.ts';
import { deleteRoutes, entityRoutes } from './entities.ts';
import { eraseRoutes } from './erase.ts';
import { explainRoutes } from './explain.ts';
import { exportRoutes } from './exports.ts';
import { refuseUnreadable, sendProblem } from './failures.ts';
import { feastRoutes } from './feast.ts';
import { historicalRoutes } from './historical.ts';
import { lookupRoutes } from './lookup-routes.ts';
import { negotiate, refuseEncoded, takeJson } from './media.ts';
import { addCorruptAnswers, addExports, addMetrics, addSkew, addStore } from './metrics.ts';
import { addOpenapi } from './openapi.ts';
import { openapiRoutes, opsRoutes } from './ops.ts';
import { protect } from './protection.ts';
import { pushRoutes } from './push-routes.ts';
import { replicaRoutes } from './replica.ts';
import { rolloutRoutes } from './rollout.ts';
import type { ApiServer, Context, ReadContext } from './route.ts';
import { scoreRoutes } from './score-routes.ts';
import { shadowRoutes } from './shadow.ts';
import { timelineRoutes } from './timeline.ts';
import { viewRoutes } from './views.ts';

/** An id of 1,024 bytes, each percent-encoded, with room to say that a longer one is too long. */
const PARAM_LENGTH_MAX = 16_384;

/** Between two looks of Node's for requests that take too long to arrive. */
const CHECKING_MS = 5_000;

/** The HTTP server with all its routes, not yet listening. */
export async function buildServer(deps: Deps): Promise<FastifyInstance> {
  const { store, registry } = deps;
  const server = bareServer(deps, () => store.requireLeading());
  const context: Context = { ...deps, metrics: addMetrics(registry, store, server) };
  addStore(registry, store);
  if (deps.skew !== undefined) addSkew(registry, deps.skew);
  if (deps.shadow !== undefined) addShadowMetrics(registry, deps.shadow);
  if (deps.drift !== undefined) addDriftMetrics(registry, store, deps.drift);
  addExports(registry, deps.exports);
  await addOpenapi(server);
  await addRoutes(server, context, [
    viewRoutes,
    rolloutRoutes,
    backfillRoutes,
    pushRoutes,
    ...READ_ROUTES,
    deleteRoutes,
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
    openapiRoutes,
  ]);
  await server.ready();
  return server;
}

/** What a process answers from what it can read by itself. */
const READ_ROUTES = [
  lookupRoutes,
  scoreRoutes,
  feastRoutes,
  entityRoutes,
  timelineRoutes,
  explainRoutes,
  shadowRoutes,
  opsRoutes,
];

/**
 * A server of reading alone, not yet listening. `prepare` comes before there are routes, `more` adds
 * what answers all other requests.
 */
export async function buildReader(
  deps: ReadDeps,
  prepare: (server: FastifyInstance) => void,
  more: (server: FastifyInstance) => void,
): Promise<FastifyInstance> {
  const server = bareServer(deps, () => {});
  const context: ReadContext = { ...deps, metrics: addMetrics(deps.registry, deps.store, server) };
  if (deps.shadow !== undefined) addShadowMetrics(deps.registry, deps.shadow);
  prepare(server);
  await addRoutes(server, context, READ_ROUTES);
  await server.register(async (scope) => more(scope));
  await server.ready();
  return server;
}

async function addRoutes<C>(
  server: FastifyInstance,
  context: C,
  all: readonly ((server: ApiServer, context: C) => Promise<void>)[],
): Promise<void> {
  for (const routes of all) {
    // Each in a scope of its own: the content types that it takes are no other's.
    await server.register(async (scope) => routes(scope.withTypeProvider(), context));
  }
}

/** Without routes. `requireLeading` throws where nothing is to be changed. */
function bareServer(deps: ReadDeps, requireLeading: () => void): FastifyInstance {
  const { limits, registry } = deps;
  const server = fastify({
    logger: deps.logger ?? false,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: limits.body_bytes,
    requestTimeout: limits.request_seconds * 1_000,
    http: {
      headersTimeout: Math.min(limits.body_seconds, limits.request_seconds) * 1_000,
      connectionsCheckingInterval: CHECKING_MS,
    },
    keepAliveTimeout: limits.keep_alive_seconds * 1_000,
    forceCloseConnections: 'idle',
    // Those that come while the server stops are answered as problems, by `Stopping`.
    return503OnClosing: false,
    requestIdHeader: 'x-request-id',
    genReqId: () => randomUUID(),
    // One a request is not worth it: what is logged names the request itself.
    childLoggerFactory: (logger) => logger,
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
  protect(server, limits, registry);
  server.decorateRequest('answerType', '');
  beforeBodies(server, (request) => {
    if (request.routeOptions.config.writes === true) requireLeading();
    refuseEncoded(request);
    request.answerType = answerTypeOf(request);
  });
  refuseUnknownRoutes(server);
  server.removeAllContentTypeParsers();
  takeJson(server);
  return server;
}

/** Looks at each request before its body is read; without a promise, since there is one for each. */
function beforeBodies(server: FastifyInstance, look: (request: FastifyRequest) => void): void {
  server.addHook('onRequest', (request, _reply, done) => {
    try {
      look(request);
    } catch (error) {
      done(error as Error);
      return;
    }
    done();
  });
}

/** The content type that the answer is to have; none where the route has but one. */
function answerTypeOf({ headers, method, routeOptions }: FastifyRequest): string {
  const { produces } = routeOptions.config;
  if (produces === undefined) return '';
  const type = negotiate(headers.accept, produces);
  if (type !== undefined) return type;
  throw new TidemarkError(
    'NOT_ACCEPTABLE',
    `${method} ${routeOptions.url} answers ${produces.join(', ')}, not ${headers.accept}`,
  );
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
