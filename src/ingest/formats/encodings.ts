import { type AvroReader, parseAvro } from './avro.ts';
import { parseJsonSchema } from './json-schema.ts';
import { parseJson } from './json.ts';
import { parseMsgpack } from './msgpack.ts';

/** Schemas that the registry was asked for before. */
export interface Schemas {
  /** Throws BAD_RECORD for a schema that the registry does not have, or that is no Avro. */
  avro(id: number): AvroReader;
}

/** The value that bytes hold. Throws BAD_RECORD. */
export type Encoding = (bytes: Uint8Array, schemas: Schemas) => unknown;

/** How the bytes of keys and values become values. A new encoding is a file, and a line here. */
export const ENCODINGS = {
  json: parseJson,
  msgpack: parseMsgpack,
  avro: parseAvro,
  json_schema: parseJsonSchema,
  /** A vector's bytes, as they are. */
  bytes: (bytes: Uint8Array) => bytes,
} satisfies Record<string, Encoding>;

export type EncodingName = keyof typeof ENCODINGS;

export const ENCODING_NAMES = Object.keys(ENCODINGS) as [EncodingName, ...EncodingName[]];

/** Keys and values of these name schemas, by the header that they start with. */
export function namesSchemas(encoding: EncodingName): boolean {
  return encoding === 'avro';
}
