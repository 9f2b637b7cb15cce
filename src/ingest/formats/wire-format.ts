import { badRecord } from '../source-record.ts';

/*
 * What Confluent's serialisers put before a value:
 *
 *   u8    0
 *   u32   number of the schema in the registry, big-endian
 */
export const SCHEMA_HEADER = 0;
const HEADER_BYTES = 5;

/** The number of the schema that a value names, or undefined where it has no such header. */
export function schemaIdOf(bytes: Uint8Array): number | undefined {
  if (bytes[0] !== SCHEMA_HEADER || bytes.byteLength < HEADER_BYTES) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
}

/** The bytes after the header. Throws BAD_RECORD where there is none. */
export function payloadOf(bytes: Uint8Array): Uint8Array {
  if (schemaIdOf(bytes) === undefined) {
    throw badRecord(
      'the value has no header of a schema registry',
      "Confluent's wire format: a zero byte and the schema's number before the value",
    );
  }
  return bytes.subarray(HEADER_BYTES);
}
