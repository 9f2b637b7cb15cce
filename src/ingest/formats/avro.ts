import avro, { type Schema, type Type, type types } from 'avsc';

import { assert } from '../../ground/assert.ts';
import { badRecord } from '../source-record.ts';
import { Cursor } from './cursor.ts';
import type { Schemas } from './encodings.ts';
import { exact, setField } from './value.ts';
import { payloadOf, schemaIdOf } from './wire-format.ts';

type Read = (cursor: Cursor) => unknown;

/** Reads the values that one schema writes. */
export type AvroReader = (bytes: Uint8Array) => unknown;

/**
 * Avro in Confluent's wire format. Records and maps are objects, a union is the value that it
 * holds, a long that no number holds is a bigint, bytes and fixed are bytes. Logical types are what
 * is below them: a timestamp is a number in the unit that its schema says.
 */
export function parseAvro(bytes: Uint8Array, schemas: Schemas): unknown {
  const payload = payloadOf(bytes);
  return schemas.avro(schemaIdOf(bytes)!)(payload);
}

/**
 * avsc reads the schema; the values are read here, because avsc notices the end of the bytes only
 * when it has read everything, and five bytes that announce a long array take all the memory there
 * is. `references` are the schemas that this one uses names of. Throws what avsc does for a schema
 * that is none.
 */
export function compileAvro(schema: string, references: readonly string[] = []): AvroReader {
  const registry: Record<string, Type> = {};
  const typeOf = (text: string): Type =>
    avro.Type.forSchema(parseSchema(text), {
      registry,
      wrapUnions: 'always',
    });
  for (const text of references) typeOf(text);
  const read = compile(typeOf(schema), new Map());
  return (bytes) => {
    const cursor = new Cursor(bytes);
    const value = read(cursor);
    cursor.end();
    return value;
  };
}

/**
 * A schema that is only a name may stand bare. Defaults are for reading by another schema than the
 * writer's, and serialisers let wrong ones pass, which avsc does not.
 */
function parseSchema(text: string): Schema {
  if (!/^\s*[[{"]/.test(text)) return text;
  return JSON.parse(text, (name, value: unknown) =>
    name === 'default' ? undefined : value,
  ) as Schema;
}

/** `known` has the readers of records, which may hold themselves. */
function compile(type: Type, known: Map<Type, Read>): Read {
  const { typeName } = type;
  if (typeName in PRIMITIVES) return PRIMITIVES[typeName as keyof typeof PRIMITIVES];
  switch (typeName) {
    case 'record':
    case 'error':
      return compileRecord(type as types.RecordType, known);
    case 'array':
      return compileArray(compile((type as types.ArrayType).itemsType, known));
    case 'map':
      return compileMap(compile((type as types.MapType).valuesType as Type, known));
    case 'enum':
      return choice((type as types.EnumType).symbols.map((symbol) => () => symbol));
    case 'fixed': {
      const { size } = type as types.FixedType;
      return (cursor) => cursor.take(size);
    }
    default: {
      if (typeName.startsWith('union:')) {
        const branches = (type as types.WrappedUnionType).types;
        return choice(branches.map((branch) => compile(branch, known)));
      }
      assert(typeName.startsWith('logical:'), `${typeName} is a type of Avro`);
      return compile((type as types.LogicalType).underlyingType, known);
    }
  }
}

const PRIMITIVES = {
  null: () => null,
  boolean: (cursor: Cursor) => cursor.byte() !== 0,
  int: readLong,
  long: readLong,
  float: (cursor: Cursor) => cursor.view.getFloat32(cursor.skip(4), true),
  double: (cursor: Cursor) => cursor.view.getFloat64(cursor.skip(8), true),
  bytes: (cursor: Cursor) => cursor.take(readCount(cursor)),
  string: (cursor: Cursor) => cursor.text(readCount(cursor)),
};

function compileRecord(type: types.RecordType, known: Map<Type, Read>): Read {
  const found = known.get(type);
  if (found !== undefined) return found;
  const fields: { name: string; read: Read }[] = [];
  const read: Read = (cursor) => {
    const row: Record<string, unknown> = {};
    for (const field of fields) setField(row, field.name, field.read(cursor));
    return row;
  };
  known.set(type, read);
  for (const field of type.fields) {
    fields.push({ name: field.name, read: compile(field.type, known) });
  }
  return read;
}

function compileArray(item: Read): Read {
  return (cursor) => {
    const items: unknown[] = [];
    for (let count = readBlock(cursor); count > 0; count = readBlock(cursor)) {
      for (let at = 0; at < count; at++) items.push(item(cursor));
    }
    return items;
  };
}

function compileMap(value: Read): Read {
  return (cursor) => {
    const fields: Record<string, unknown> = {};
    for (let count = readBlock(cursor); count > 0; count = readBlock(cursor)) {
      for (let at = 0; at < count; at++) {
        setField(fields, cursor.text(readCount(cursor)), value(cursor));
      }
    }
    return fields;
  };
}

/** An enum's symbol, or a union's value: which one it is stands before it. */
function choice(branches: readonly Read[]): Read {
  return (cursor) => {
    const index = readLong(cursor);
    const branch = branches[Number(index)];
    if (branch !== undefined) return branch(cursor);
    throw badRecord(`the value has the branch ${index}`, `one of ${branches.length}`);
  };
}

/** How many items the next block of an array or a map has: 0 at its end. */
function readBlock(cursor: Cursor): number {
  let count = Number(readLong(cursor));
  if (count < 0) {
    count = -count;
    // The bytes of the block, for readers that want none of it.
    readLong(cursor);
  }
  cursor.checkCount(count);
  return count;
}

function readCount(cursor: Cursor): number {
  const count = Number(readLong(cursor));
  if (count >= 0) return count;
  throw badRecord(`the value has something ${count} bytes long`, 'no less than 0');
}

/** Zigzag, seven bits a byte, the lowest first. */
function readLong(cursor: Cursor): number | bigint {
  let value = 0;
  for (let scale = 1; scale <= 2 ** 42; scale *= 128) {
    const byte = cursor.byte();
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
  // 49 bits are exact in a number; what is longer is rare.
  let long = BigInt(value);
  for (let shift = 49n; shift <= 63n; shift += 7n) {
    const byte = cursor.byte();
    long |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return exact(BigInt.asIntN(64, (long >> 1n) ^ -(long & 1n)));
  }
  throw badRecord('the value has a number longer than ten bytes', 'an Avro long');
}
