import { TidemarkError } from '../ground/errors.ts';
import { parseEntityId } from '../store/entity-id.ts';
import { type FieldPath, fieldPath, lookupField } from './field-path.ts';
import { parseJsonVector } from './json-vector.ts';
import type { SourceConfig, TimeField } from './source-config.ts';
import {
  type Fact,
  keyEntityId,
  parseUtf8,
  recordTime,
  type SourceRecord,
} from './source-record.ts';
import { parseTimeField } from './time-field.ts';

export type JsonConfig = Exclude<SourceConfig, { format: 'raw' }>;
type JsonObject = Record<string, unknown>;

/** What Confluent's serializers put before a value: this byte, then the number of a schema. */
const SCHEMA_REGISTRY_MAGIC = 0;

/**
 * Reads records of the formats `json` and `json_fields`, whose fields stand where the config says.
 * A null value, or one that is marked so, is a delete.
 */
export function jsonReader(config: JsonConfig) {
  const eventTime = timeReader(config.event_timestamp);
  const knownTime = knownReader(config.known_timestamp);
  const readContent = config.format === 'json' ? vectorReader(config) : textReader(config);
  const idPath = fieldPath(config.entity_id);

  return (record: SourceRecord, now: number): Fact => {
    if (record.value === null) return deleteOfNull(config, record, now);
    const value = parseObject(record.value);
    const id = lookupField(value, idPath);
    const entityId = id === undefined ? keyEntityId(record) : parseEntityId(id);
    const event = eventTime(record, value);
    const known = knownTime(record, value, event, now);
    return { ...readContent(value), entityId, event, known };
  };
}

function parseObject(bytes: Uint8Array): JsonObject {
  if (bytes[0] === SCHEMA_REGISTRY_MAGIC) {
    throw badRecord('the value starts with the header of a schema registry', 'plain JSON');
  }
  const text = parseUtf8(bytes, 'value');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badRecord(`the value is not JSON (${(error as SyntaxError).message})`, 'a JSON object');
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as JsonObject;
  }
  throw badRecord('the value is JSON but no object', 'a JSON object');
}

function timeReader(config: 'record' | TimeField) {
  if (config === 'record') return recordTime;
  const path = fieldPath(config.path);
  return (_record: SourceRecord, value: JsonObject) =>
    parseTimeField(lookupField(value, path), config.unit);
}

function knownReader(config: JsonConfig['known_timestamp']) {
  if (config === 'arrival') {
    return (_record: SourceRecord, _value: JsonObject, _event: number, now: number) => now;
  }
  if (config === 'event')
    return (_record: SourceRecord, _value: JsonObject, event: number) => event;
  return timeReader(config);
}

/** A null value has no fields: what would stand in one is the record's timestamp, or unknown. */
function deleteOfNull(config: JsonConfig, record: SourceRecord, now: number): Fact {
  if (config.event_timestamp !== 'record' && config.delete_timestamp === undefined) {
    throw new TidemarkError(
      'BAD_TIMESTAMP',
      `the value is null and has no ${config.event_timestamp.path}, expected a value, ` +
        'or delete_timestamp in the source to say when a null value was deleted',
    );
  }
  const event = recordTime(record);
  const known = config.known_timestamp === 'arrival' ? now : event;
  return { kind: 'delete', entityId: keyEntityId(record), event, known };
}

type Content =
  | { kind: 'delete' }
  | Pick<Extract<Fact, { kind: 'vector' }>, 'kind' | 'vector'>
  | Pick<Extract<Fact, { kind: 'text' }>, 'kind' | 'fields'>;

function vectorReader(config: Extract<JsonConfig, { format: 'json' }>) {
  const vectorPath = fieldPath(config.vector);
  const isDeleted = deleteMark(config.delete_when);
  return (value: JsonObject): Content => {
    const vector = lookupField(value, vectorPath) ?? undefined;
    const deleted = isDeleted(value);
    if (deleted !== (vector === undefined)) {
      throw badRecord(
        deleted ? 'the value is a delete and has a vector' : `the value has no ${config.vector}`,
        'exactly one of a vector and the mark of a delete',
      );
    }
    return deleted ? { kind: 'delete' } : { kind: 'vector', vector: parseJsonVector(vector) };
  };
}

function textReader(config: Extract<JsonConfig, { format: 'json_fields' }>) {
  const isDeleted = deleteMark(config.delete_when);
  const fieldsOf = fieldsReader(config.fields);
  return (value: JsonObject): Content =>
    isDeleted(value) ? { kind: 'delete' } : { kind: 'text', fields: fieldsOf(value) };
}

function deleteMark(mark: JsonConfig['delete_when']): (value: JsonObject) => boolean {
  if (mark === undefined) return () => false;
  const path = fieldPath(mark.path);
  return (value) => lookupField(value, path) === mark.equals;
}

function fieldsReader(config: string | Record<string, string> | undefined) {
  if (config === undefined) return (value: JsonObject) => value;
  if (typeof config === 'string') {
    const path = fieldPath(config);
    return (value: JsonObject): JsonObject => {
      const fields = lookupField(value, path);
      if (typeof fields === 'object' && fields !== null) return fields as JsonObject;
      throw new TidemarkError('BAD_INPUT', `the value has no object ${config}, expected one`);
    };
  }
  const paths = Object.entries(config).map(([name, text]): [string, FieldPath] => [
    name,
    fieldPath(text),
  ]);
  return (value: JsonObject): JsonObject =>
    Object.fromEntries(paths.map(([name, path]) => [name, lookupField(value, path)]));
}

function badRecord(got: string, expected: string): TidemarkError {
  return new TidemarkError('BAD_RECORD', `${got}, expected ${expected}`);
}
