import { TidemarkError } from '../../ground/errors.ts';
import { parseEntityId } from '../../store/entity-id.ts';
import { fieldPath, lookupField } from '../field-path.ts';
import { badRecord, type Fact, keyEntityId, type SourceRecord } from '../source-record.ts';
import { ENCODINGS, type EncodingName, type Schemas } from './encodings.ts';
import { envelopeOf, type Message } from './envelopes.ts';
import { fieldsReader } from './fields.ts';
import type { MappingConfig } from './settings.ts';
import { timesReader } from './times.ts';
import { type MappingTarget, vectorReader } from './vector.ts';
import { SCHEMA_HEADER } from './wire-format.ts';

/** What a record says, or undefined where it says nothing to note. Throws TidemarkError. */
export type ReadRecord = (record: SourceRecord, now: number) => Fact | undefined;

/** Reads records through their encoding and their envelope: `config` says where things stand. */
export function recordReader(
  config: MappingConfig,
  target: MappingTarget,
  schemas: Schemas,
): ReadRecord {
  const envelope = envelopeOf(config.envelope);
  const times = timesReader(config);
  const readContent = contentReader(config, target);
  const isMarked = deleteMark(config.delete_when);
  const idPath = fieldPath(config.entity_id);
  const readKey = keyReader(config, schemas);

  const decode = (record: SourceRecord, value: Uint8Array): Message => {
    const encoding = envelope.encodingOf?.(record) ?? config.encoding;
    return mustBeMessage(ENCODINGS[encoding](value, schemas));
  };

  const entityIdOf = (row: unknown, given: unknown, record: SourceRecord): string => {
    const inRow = lookupField(row, idPath);
    if (inRow !== undefined) return entityId(inRow);
    if (given === undefined) return readKey(record);
    return entityId(typeof given === 'object' ? lookupField(given, idPath) : given);
  };

  const readNull = (record: SourceRecord, now: number): Fact | undefined => {
    if (config.null_value === 'skip') return undefined;
    const event = times.event(record, undefined);
    const known = times.known(record, undefined, event, now);
    const id = entityIdOf(undefined, envelope.idOf?.(record), record);
    return { kind: 'delete', entityId: id, event, known };
  };

  return (record, now) => {
    if (record.value === null) return readNull(record, now);
    const opened = envelope.open(decode(record, record.value), record);
    if (opened === undefined) return undefined;
    const { message, row } = opened;
    const id = entityIdOf(row, opened.id, record);
    const event = times.event(record, message);
    const known = times.known(record, message, event, now);
    const at = { entityId: id, event, known };
    if (opened.isDelete === true) return { kind: 'delete', ...at };
    return { ...readContent(row, record, isMarked(message)), ...at };
  };
}

type Content =
  | { kind: 'delete' }
  | Pick<Extract<Fact, { kind: 'vector' }>, 'kind' | 'vector'>
  | Pick<Extract<Fact, { kind: 'text' }>, 'kind' | 'fields'>;

function contentReader(config: MappingConfig, target: MappingTarget) {
  const { isUnsaid } = envelopeOf(config.envelope);
  if (config.content === 'fields') {
    const fieldsOf = fieldsReader(config, isUnsaid);
    return (row: unknown, _record: SourceRecord, isDelete: boolean): Content =>
      isDelete ? { kind: 'delete' } : { kind: 'text', fields: fieldsOf(row) };
  }
  const vectorOf = vectorReader(config, target, isUnsaid ?? (() => false));
  return (row: unknown, record: SourceRecord, isDelete: boolean): Content => {
    const vector = vectorOf(row, record);
    if (isDelete !== (vector === undefined)) {
      throw badRecord(
        isDelete ? 'the value is a delete and has a vector' : `the value has no ${config.vector}`,
        'exactly one of a vector and the mark of a delete',
      );
    }
    return vector === undefined ? { kind: 'delete' } : { kind: 'vector', vector };
  };
}

function deleteMark(mark: MappingConfig['delete_when']): (message: Message) => boolean {
  if (mark === undefined) return () => false;
  const path = fieldPath(mark.path);
  return (message) => lookupField(message, path) === mark.equals;
}

/**
 * The id that the key is: its text, or a field of what is encoded in it. A key with the header of a
 * schema registry is no text anybody meant.
 */
function keyReader(config: MappingConfig, schemas: Schemas): (record: SourceRecord) => string {
  const { key_field, encoding } = config;
  const { open } = envelopeOf(config.envelope === 'debezium' ? 'debezium_flat' : 'none');
  const path = key_field === undefined ? undefined : fieldPath(key_field);
  const hasHeader = isWireFormat(encoding);
  return (record) => {
    const { key } = record;
    const isEncoded = path !== undefined || (hasHeader && key?.[0] === SCHEMA_HEADER);
    if (key === null || !isEncoded) return keyEntityId(record);
    const value = decodeKey(encoding, key, schemas);
    if (typeof value !== 'object' || value === null) return entityId(value);
    const row = open(value as Message, record)?.row;
    return entityId(path === undefined ? row : lookupField(row, path));
  };
}

function decodeKey(encoding: EncodingName, key: Uint8Array, schemas: Schemas): unknown {
  try {
    return ENCODINGS[encoding](key, schemas);
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    throw new TidemarkError('BAD_ENTITY_ID', `of the record's key: ${error.message}`);
  }
}

function isWireFormat(encoding: EncodingName): boolean {
  return encoding === 'avro' || encoding === 'json_schema';
}

function mustBeMessage(value: unknown): Message {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Message;
  throw badRecord('the value is well-formed but no object', 'one');
}

/** An integer that no number holds is the id that its decimal digits are, as any other. */
function entityId(value: unknown): string {
  return parseEntityId(typeof value === 'bigint' ? String(value) : value);
}
