import { readFileSync } from 'node:fs';

import { Validator } from '@seriousme/openapi-schema-validator';
import { expect, test } from 'vitest';

import { startApi } from './harness.ts';

interface Operation {
  summary?: string;
  description?: string;
  parameters?: { name: string; description?: string }[];
  requestBody?: { content: Record<string, unknown> };
  responses: Record<string, { description: string; content?: Record<string, unknown> }>;
}
type Document = Record<string, unknown> & { paths: Record<string, Record<string, Operation>> };

const FILE = new URL('../../openapi/openapi.json', import.meta.url);
const written = JSON.parse(readFileSync(FILE, 'utf8')) as Document;
const operations = Object.entries(written.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]): [string, Operation] => [
    `${method.toUpperCase()} ${path}`,
    operation,
  ]),
);

test('the written document is what the server says; `npm run openapi` writes it', async () => {
  const api = await startApi();
  const { body } = await api.send('GET', '/openapi.json');
  expect(body).toEqual(written);
});

test('the document is OpenAPI 3.1', async () => {
  const validator = new Validator();
  const result = await validator.validate(structuredClone(written));
  expect(result).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
});

test.each(operations)('%s says what it does, takes and answers', (name, operation) => {
  expect(operation.summary).toBeTruthy();
  expect(operation.description).toBeTruthy();
  for (const parameter of operation.parameters ?? []) {
    expect(parameter).toHaveProperty('description');
  }
  const statuses = Object.keys(operation.responses);
  for (const [status, { description, content }] of Object.entries(operation.responses)) {
    expect(description).not.toBe('Default Response');
    if (status.startsWith('4')) {
      // The clients of OpenAI know errors of one kind alone.
      const type = name.endsWith('/embeddings') ? 'application/json' : 'application/problem+json';
      expect(types(content)).toEqual([type]);
    }
  }
  if (name.includes('{view}') && !name.startsWith('PUT')) expect(statuses).toContain('404');
  if (operation.requestBody !== undefined) {
    expect(statuses).toEqual(expect.arrayContaining(['413', '415', '422']));
  }
});

function of(name: string): Operation {
  return new Map(operations).get(name)!;
}

function types(content: Record<string, unknown> | undefined): string[] {
  return Object.keys(content ?? {});
}

const SPINES = [
  'application/x-ndjson',
  'text/csv',
  'application/vnd.apache.arrow.stream',
  'application/vnd.apache.parquet',
];

test('the content types of bodies and answers are all named', () => {
  const push = of('POST /v1/push');
  const msgpack = ['application/vnd.msgpack', 'application/x-msgpack'];
  expect(types(push.requestBody?.content).toSorted()).toEqual([
    'application/json',
    ...msgpack,
    'application/x-ndjson',
  ]);
  const lookup = of('POST /v1/lookup');
  expect(types(lookup.responses['200']?.content).toSorted()).toEqual([
    'application/json',
    'application/vnd.msgpack',
    'application/vnd.safetensors',
    'application/x-msgpack',
  ]);
  const join = of('POST /v1/get-historical-features');
  expect(types(join.requestBody?.content)).toEqual(SPINES);
  expect(types(join.responses['200']?.content)).toEqual(
    SPINES.filter((type) => type !== 'text/csv'),
  );
});
