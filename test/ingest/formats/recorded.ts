import { readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { onTestFinished } from 'vitest';

import { type AvroReader, compileAvro } from '../../../src/ingest/formats/avro.ts';
import type { Schemas } from '../../../src/ingest/formats/encodings.ts';
import { badRecord } from '../../../src/ingest/source-record.ts';

interface Answer {
  schema: string;
  schemaType?: string;
  references?: { subject: string; version: number }[];
}

/**
 * What `npm run fixtures:formats` recorded: records by Python's confluent-kafka, fastavro and
 * msgpack, and the schemas that their registry gave numbers to.
 */
const recorded = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../fixtures/serialised.json'), 'utf8'),
) as {
  schemas: Record<string, Answer>;
  versions: Record<string, Answer>;
  records: { name: string; bytes: string }[];
};

/** The bytes of a recorded key or value. */
export function recordedBytes(name: string): Buffer {
  const found = recorded.records.find((record) => record.name === name);
  if (found === undefined) throw new Error(`nothing called ${name} was recorded`);
  return Buffer.from(found.bytes, 'base64');
}

export const RECORDED_NAMES = recorded.records.map(({ name }) => name);

const compiled = new Map<number, AvroReader>();

/** The recorded schemas, as they are once the registry was asked for them. */
export const recordedSchemas: Schemas = {
  avro(id) {
    const known = compiled.get(id);
    if (known !== undefined) return known;
    const { schema, schemaType, references = [] } = recorded.schemas[id]!;
    if (schemaType !== undefined) throw badRecord(`the schema ${id} is ${schemaType}`, 'Avro');
    const reader = compileAvro(
      schema,
      references.map(({ subject, version }) => recorded.versions[`${subject}/${version}`]!.schema),
    );
    compiled.set(id, reader);
    return reader;
  },
};

interface Asked {
  path: string;
  headers: IncomingHttpHeaders;
}

/**
 * A stub in place of a schema registry: it answers what the recorded one did, and 404 with its
 * error code for anything else. `broken` has it answer something else first.
 */
export async function stubRegistry(): Promise<{
  url: string;
  asked: Asked[];
  broken: { status: number; body: string } | undefined;
  /** Paths that it does not have, though the recorded one did. */
  gone: Set<string>;
  /** What an answer waits for. */
  held: Promise<void> | undefined;
}> {
  const stub = {
    gone: new Set<string>(),
    held: undefined as Promise<void> | undefined,
    url: '',
    asked: [] as Asked[],
    broken: undefined as { status: number; body: string } | undefined,
  };
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    stub.asked.push({ path, headers: request.headers });
    const [, kind, name, , version] = path.split('/').map(decodeURIComponent);
    const known =
      kind === 'schemas'
        ? recorded.schemas[path.split('/').at(-1)!]
        : recorded.versions[`${name}/${version}`];
    const found = stub.gone.has(path) ? undefined : known;
    const missing = { error_code: 40_403, message: 'Schema not found' };
    response.statusCode = stub.broken?.status ?? (found ? 200 : 404);
    response.setHeader('content-type', 'application/vnd.schemaregistry.v1+json');
    const body = stub.broken?.body ?? JSON.stringify(found ?? missing);
    void Promise.resolve(stub.held).then(() => response.end(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  stub.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return stub;
}
