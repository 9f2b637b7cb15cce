import { z } from 'zod';

import { JSON_TYPE } from './media.ts';
import type { ApiServer, Context } from './route.ts';
import { answer, problems } from './schemas/common.ts';
import { liveAnswer, readyAnswer } from './schemas/ops.ts';

const tags = ['operations'];
const config = { produces: [JSON_TYPE] };

export async function opsRoutes(
  server: ApiServer,
  { readiness, registry }: Context,
): Promise<void> {
  server.get(
    '/healthz',
    {
      config,
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
      config,
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
      const { ready, checks } = readiness();
      return ready
        ? reply.code(200).send({ ready, checks })
        : reply.code(503).send({ ready, checks });
    },
  );

  server.get(
    '/metrics',
    {
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
    async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()),
  );

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
