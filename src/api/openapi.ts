import { readFileSync } from 'node:fs';

import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { z } from 'zod';

type Transform = typeof jsonSchemaTransform;
type TransformObject = typeof jsonSchemaTransformObject;

const PREFIX = '#/components/schemas/';
const REFERENCE = /"#\/components\/schemas\/(\w+)"/g;

/** The parts of the document that are looked at here. */
interface OpenapiDocument {
  paths?: object;
  components?: { schemas?: Record<string, unknown> };
}

interface BodyByType {
  content: Record<string, { schema: z.ZodType }>;
}

/** Documents the routes registered after it, from their zod schemas; shows the document at /docs. */
export async function addOpenapi(server: FastifyInstance): Promise<void> {
  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Tidemark',
        description:
          'An embedding feature store with point-in-time lookups. Times are exact to the microsecond; A1 to A14 are the rules of time in the documentation. Unknown fields are refused.',
        version: packageVersion(),
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
    },
    transform: documentBodies,
    transformObject: keepUsedSchemas,
  });
  await server.register(swaggerUi, {
    routePrefix: '/docs',
    uiConfig: { validatorUrl: null },
    staticCSP: true,
  });
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** The provider's transform, and bodies that have a schema for each content type. */
const documentBodies: Transform = (document) => {
  const { body, ...rest } = document.schema ?? {};
  if (!isByType(body)) return jsonSchemaTransform(document);
  const transformed = jsonSchemaTransform({ ...document, schema: rest });
  const content = Object.entries(body.content).map(([type, { schema }]) => {
    const alone = jsonSchemaTransform({ ...document, schema: { body: schema } });
    return [type, { schema: alone.schema.body }];
  });
  return {
    ...transformed,
    schema: { ...transformed.schema, body: { content: Object.fromEntries(content) } },
  };
};

function isByType(body: unknown): body is BodyByType {
  return typeof body === 'object' && body !== null && 'content' in body;
}

/**
 * The provider's transform, less the schemas that nothing refers to, for each comes in two forms;
 * and without the `Input` that it adds to the name of one form, where the other is not used.
 */
const keepUsedSchemas: TransformObject = (document) => {
  const whole = jsonSchemaTransformObject(document) as OpenapiDocument;
  const schemas = whole.components?.schemas ?? {};
  const used = new Set<string>();
  const visit = (part: unknown): void => {
    for (const [, name] of JSON.stringify(part).matchAll(REFERENCE)) {
      if (used.has(name!)) continue;
      used.add(name!);
      visit(schemas[name!] ?? {});
    }
  };
  visit(whole.paths);
  const nameOf = (name: string): string => {
    const short = name.replace(/Input$/, '');
    return used.has(short) ? name : short;
  };
  const components = {
    schemas: Object.fromEntries([...used].map((name) => [nameOf(name), schemas[name]])),
  };
  const text = JSON.stringify({ ...whole, components });
  const renamed = text.replace(REFERENCE, (_, name: string) => `"${PREFIX}${nameOf(name)}"`);
  return JSON.parse(renamed) as ReturnType<TransformObject>;
};
