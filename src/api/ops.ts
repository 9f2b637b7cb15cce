import { z } from 'zod';

import { JSON_TYPE } from './media.ts';
import type { ApiServer, ReadContext } from './route.ts';
import { answer, problems } from './schemas/common.ts';
import { liveAnswer, readyAnswer } from './schemas/ops.ts';

const tags = ['operations'];
const config = { produces: [JSON_TYPE] };
const vital = { ...config, vital: true };

export async function opsRoutes(
  server: ApiServer,
  { readiness, registry, scrape = async () => registry.metrics() }: ReadContext,
): Promise<void> {
  server.get(
    '/healthz',
    {
      config: vital,
      schema: {
        tags,
        summary: 'Whether the process lives',
        description: 'Answers as long as the process can; restart it when it does not.',
        response: { 200: answer('It lives.', liveAnswer), ...problems() },
      },
    },
    () => ({ status: 'ok' as const }),
  );

  server.get(
    '/readyz',
    {
      config: vital,
      schema: {
        tags,
        summary: 'Whether to send requests here',
        description: 'Checks what the process needs; send it nothing while one is not ok.',
        response: {
          ...problems(),
          200: answer('All checks are ok.', readyAnswer),
          503: answer('A check is not ok; or, as a problem, the server is stopping.', readyAnswer),
        },
      },
    },
    async (_request, reply) => {
      const { ready, checks } = await readiness();
      if (server.stopping.isAnnounced) {
        const stop = { ok: false, message: 'the server is about to stop' };
        return reply.code(503).send({ ready: false, checks: { ...checks, stop } });
      }
      return ready
        ? reply.code(200).send({ ready, checks })
        : reply.code(503).send({ ready, checks });
    },
  );

  server.get(
    '/metrics',
    {
      config: { vital: true },
      schema: {
        tags,
        summary: 'Metrics for Prometheus',
        description: 'Counters, gauges and histograms in the Prometheus text format.',
        response: {
          200: {
            description: 'One metric a line.',
            content: { 'text/plain': { schema: z.string() } },
          },
        },
      },
    },
    async (_request, reply) => reply.type(registry.contentType).send(await scrape()),
  );
}

export async function openapiRoutes(server: ApiServer): Promise<void> {
  server.get(
    '/openapi.json',
    {
      config,
      schema: {
        tags,
        summary: 'This document',
        description: 'OpenAPI 3.1, as this server speaks it.',
        response: {
          200: answer('The document.', z.record(z.string(), z.unknown())),
          ...problems(),
        },
      },
    },
    () => server.swagger() as unknown as Record<string, unknown>,
  );
}
