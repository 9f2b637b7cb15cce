import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { SchemaRegistry } from '../../../src/ingest/formats/schema-registry.ts';
import type { SourceRecord } from '../../../src/ingest/source-record.ts';
import { tempDirectory } from '../../support/temp.ts';
import { recordedBytes, stubRegistry } from './recorded.ts';

function record(value: Uint8Array | null, key: Uint8Array | null = null, topic = 't') {
  const rest: SourceRecord = {
    topic,
    partition: 0,
    offset: 0,
    key,
    value,
    headers: {},
    timestamp: 0,
  };
  return rest;
}

const CHANGE = recordedBytes('change');
const SCHEMA_OF_CHANGE = CHANGE.readUInt32BE(1);
const ELSEWHERE = naming(9_999);

let time = 0;
const now = (): number => time;

/** A value that names a schema. */
function naming(id: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt32BE(id, 1);
  return bytes;
}

test('a schema is asked for once, with the user and the password of the settings', async () => {
  const stub = await stubRegistry();
  const password_file = join(tempDirectory(), 'password');
  writeFileSync(password_file, 'hunter2\n');
  const registry = new SchemaRegistry(
    { url: `${stub.url}/`, username: 'me', password_file },
    ['t'],
    now,
  );
  await Promise.all([registry.load([record(CHANGE)]), registry.load([record(CHANGE)])]);
  await registry.load([record(CHANGE)]);
  expect(stub.asked.map(({ path }) => path)).toEqual([`/schemas/ids/${SCHEMA_OF_CHANGE}`]);
  const { authorization } = stub.asked[0]!.headers;
  expect(authorization).toBe(`Basic ${Buffer.from('me:hunter2').toString('base64')}`);
  expect(registry.avro(SCHEMA_OF_CHANGE)(CHANGE.subarray(5))).toMatchObject({ op: 'c' });
});

test('keys name schemas too, and topics of other encodings name none', async () => {
  const stub = await stubRegistry();
  const registry = new SchemaRegistry({ url: stub.url }, ['t'], now);
  await registry.load([record(null, recordedBytes('key')), record(CHANGE, null, 'other')]);
  expect(stub.asked).toHaveLength(1);
  const key = recordedBytes('key');
  expect(registry.avro(key.readUInt32BE(1))(key.subarray(5))).toEqual({ id: 7 });
});

test('the schemas that a schema refers to are asked for', async () => {
  const stub = await stubRegistry();
  const registry = new SchemaRegistry({ url: stub.url }, ['t'], now);
  const member = recordedBytes('member');
  await registry.load([record(member)]);
  expect(stub.asked.map(({ path }) => path)).toContain('/subjects/shop.Address/versions/1');
  expect(registry.avro(member.readUInt32BE(1))(member.subarray(5))).toMatchObject({ id: 'm1' });
});

test('a schema that the registry does not know is a bad record, until it is registered', async () => {
  const stub = await stubRegistry();
  const registry = new SchemaRegistry({ url: stub.url }, ['t'], now);
  stub.broken = { status: 404, body: '{"error_code": 40403, "message": "Schema not found"}' };
  await registry.load([record(CHANGE), record(ELSEWHERE)]);
  for (const id of [SCHEMA_OF_CHANGE, 9_999]) {
    expect(() => registry.avro(id)).toThrow(expect.objectContaining({ code: 'BAD_RECORD' }));
  }
  stub.broken = undefined;
  time += 59_000;
  await registry.load([record(CHANGE), record(ELSEWHERE)]);
  expect(stub.asked).toHaveLength(2);
  expect(() => registry.avro(SCHEMA_OF_CHANGE)).toThrow('one that the registry has');
  time += 1_000;
  await registry.load([record(CHANGE), record(ELSEWHERE)]);
  expect(stub.asked).toHaveLength(4);
  expect(registry.avro(SCHEMA_OF_CHANGE)).toBeTypeOf('function');
  expect(() => registry.avro(9_999)).toThrow('the schema 9999');
});

test('a number that no schema can have is a bad record, and nobody is asked', async () => {
  const stub = await stubRegistry();
  const registry = new SchemaRegistry({ url: stub.url }, ['t'], now);
  await registry.load([record(naming(0xffff_ffff)), record(naming(2 ** 31))]);
  expect(stub.asked).toEqual([]);
  expect(() => registry.avro(0xffff_ffff)).toThrow(expect.objectContaining({ code: 'BAD_RECORD' }));
});

test.each([
  [400, 400],
  [404, 404],
  [404, 40_403],
  [422, 42_201],
])(
  'a registry that refuses a number with %i and the code %i does not know it',
  async (status, error_code) => {
    const stub = await stubRegistry();
    const registry = new SchemaRegistry({ url: stub.url }, ['t'], now);
    stub.broken = { status, body: JSON.stringify({ error_code, message: 'no' }) };
    await registry.load([record(ELSEWHERE)]);
    expect(() => registry.avro(9_999)).toThrow(expect.objectContaining({ code: 'BAD_RECORD' }));
  },
);

test('a schema that refers to one that is gone is a bad record, until that is registered', async () => {
  const stub = await stubRegistry();
  const registry = new SchemaRegistry({ url: stub.url }, ['t'], now);
  const member = recordedBytes('member');
  stub.gone.add('/subjects/shop.Address/versions/1');
  await registry.load([record(member)]);
  expect(() => registry.avro(member.readUInt32BE(1))).toThrow('refers to subjects/shop.Address');
  stub.gone.clear();
  time += 60_000;
  await registry.load([record(member)]);
  expect(registry.avro(member.readUInt32BE(1))).toBeTypeOf('function');
});

test('of many unknown numbers a few are asked for at once, each once', async () => {
  const stub = await stubRegistry();
  const registry = new SchemaRegistry({ url: stub.url }, ['t'], now);
  const ids = Array.from({ length: 50 }, (_, at) => 5_000 + at);
  const held = Promise.withResolvers<void>();
  stub.held = held.promise;
  const loading = registry.load(ids.map((id) => record(naming(id))));
  await expect.poll(() => stub.asked.length).toBe(4);
  held.resolve();
  await loading;
  expect(stub.asked.map(({ path }) => path).toSorted()).toEqual(
    ids.map((id) => `/schemas/ids/${id}`),
  );
  for (const id of ids) expect(() => registry.avro(id)).toThrow(`the schema ${id}`);
});

test('when the registry fails, a batch of many numbers is given up', async () => {
  const stub = await stubRegistry();
  const registry = new SchemaRegistry({ url: stub.url }, ['t'], now);
  stub.broken = { status: 500, body: '{"error_code": 50001}' };
  const records = Array.from({ length: 50 }, (_, at) => record(naming(5_000 + at)));
  await expect(registry.load(records)).rejects.toThrow('answered 500');
  // A load that comes after it is answered when those before it are.
  await expect(registry.load([record(ELSEWHERE)])).rejects.toThrow('answered 500');
  expect(stub.asked.length).toBeLessThan(10);
});

test('a schema of another kind is a bad record', async () => {
  const stub = await stubRegistry();
  const registry = new SchemaRegistry({ url: stub.url }, ['t'], now);
  const json = recordedBytes('json-schema');
  await registry.load([record(json)]);
  expect(() => registry.avro(json.readUInt32BE(1))).toThrow('which is JSON, expected Avro');
});

test.each([
  [{ status: 500, body: '{"error_code": 50001}' }, 'answered 500'],
  [{ status: 404, body: 'no such page' }, 'answered 404'],
  [{ status: 401, body: '{"error_code": 40101}' }, 'username or password are not right'],
  [{ status: 200, body: '<html>' }, 'answered 200 to schemas/ids/1, expected a schema'],
])('a registry that answers %j is asked again, and no record is to blame', async (broken, why) => {
  const stub = await stubRegistry();
  const config = { url: stub.url, username: 'me', password: 'hunter2' };
  const registry = new SchemaRegistry(config, ['t'], now);
  stub.broken = broken;
  const failed = await registry.load([record(CHANGE)]).catch(String);
  expect(failed).toContain(why);
  expect(failed).not.toContain('hunter2');
  stub.broken = undefined;
  await registry.load([record(CHANGE)]);
  expect(registry.avro(SCHEMA_OF_CHANGE)).toBeTypeOf('function');
});

test('a registry that is not there is asked again', async () => {
  const registry = new SchemaRegistry({ url: 'http://127.0.0.1:1' }, ['t'], now);
  await expect(registry.load([record(CHANGE)])).rejects.toThrow(
    'the schema registry did not answer',
  );
});
