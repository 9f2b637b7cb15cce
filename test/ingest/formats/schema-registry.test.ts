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
const ELSEWHERE = Buffer.from([0, 0, 0, 0x27, 0x0f, 0]);

test('a schema is asked for once, with the user and the password of the settings', async () => {
  const stub = await stubRegistry();
  const password_file = join(tempDirectory(), 'password');
  writeFileSync(password_file, 'hunter2\n');
  const registry = new SchemaRegistry({ url: `${stub.url}/`, username: 'me', password_file }, [
    't',
  ]);
  await Promise.all([registry.load([record(CHANGE)]), registry.load([record(CHANGE)])]);
  await registry.load([record(CHANGE)]);
  expect(stub.asked.map(({ path }) => path)).toEqual([`/schemas/ids/${SCHEMA_OF_CHANGE}`]);
  const { authorization } = stub.asked[0]!.headers;
  expect(authorization).toBe(`Basic ${Buffer.from('me:hunter2').toString('base64')}`);
  expect(registry.avro(SCHEMA_OF_CHANGE)(CHANGE.subarray(5))).toMatchObject({ op: 'c' });
});

test('keys name schemas too, and topics of other encodings name none', async () => {
  const stub = await stubRegistry();
  const registry = new SchemaRegistry({ url: stub.url }, ['t']);
  await registry.load([record(null, recordedBytes('key')), record(CHANGE, null, 'other')]);
  expect(stub.asked).toHaveLength(1);
  const key = recordedBytes('key');
  expect(registry.avro(key.readUInt32BE(1))(key.subarray(5))).toEqual({ id: 7 });
});

test('the schemas that a schema refers to are asked for', async () => {
  const stub = await stubRegistry();
  const registry = new SchemaRegistry({ url: stub.url }, ['t']);
  const member = recordedBytes('member');
  await registry.load([record(member)]);
  expect(stub.asked.map(({ path }) => path)).toContain('/subjects/shop.Address/versions/1');
  expect(registry.avro(member.readUInt32BE(1))(member.subarray(5))).toMatchObject({ id: 'm1' });
});

test('a schema that the registry does not know is a bad record, until it is registered', async () => {
  const stub = await stubRegistry();
  const registry = new SchemaRegistry({ url: stub.url }, ['t']);
  stub.broken = { status: 404, body: '{"error_code": 40403, "message": "Schema not found"}' };
  await registry.load([record(CHANGE), record(ELSEWHERE)]);
  for (const id of [SCHEMA_OF_CHANGE, 9_999]) {
    expect(() => registry.avro(id)).toThrow(expect.objectContaining({ code: 'BAD_RECORD' }));
  }
  stub.broken = undefined;
  await registry.load([record(CHANGE), record(ELSEWHERE)]);
  expect(registry.avro(SCHEMA_OF_CHANGE)).toBeTypeOf('function');
  expect(() => registry.avro(9_999)).toThrow('the schema 9999');
});

test('a schema of another kind is a bad record', async () => {
  const stub = await stubRegistry();
  const registry = new SchemaRegistry({ url: stub.url }, ['t']);
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
  const registry = new SchemaRegistry(config, ['t']);
  stub.broken = broken;
  const failed = await registry.load([record(CHANGE)]).catch(String);
  expect(failed).toContain(why);
  expect(failed).not.toContain('hunter2');
  stub.broken = undefined;
  await registry.load([record(CHANGE)]);
  expect(registry.avro(SCHEMA_OF_CHANGE)).toBeTypeOf('function');
});

test('a registry that is not there is asked again', async () => {
  const registry = new SchemaRegistry({ url: 'http://127.0.0.1:1' }, ['t']);
  await expect(registry.load([record(CHANGE)])).rejects.toThrow(
    'the schema registry did not answer',
  );
});
