import { z } from 'zod';

import { ENCODING_NAMES } from './encodings.ts';
import { ENVELOPE_NAMES, envelopeOf } from './envelopes.ts';

/** How records become facts: an encoding, an envelope, and where things stand in what they hold. */

/** Names of nested fields with dots between them, such as `address.city`. */
const path = z
  .string()
  .max(512)
  .regex(/^[^.]+(\.[^.]+)*$/, {
    error: 'expected the name of a field, such as title or after.title',
  });

const headerName = z.string().min(1).max(249);

/** `rfc3339` takes a text with an offset; the others a number, or a text of digits. */
const unit = z.enum(['s', 'ms', 'us', 'ns', 'rfc3339']);

const timeForms = [
  z.literal('record'),
  z.strictObject({ path, unit }),
  /** Without a unit, RFC 3339 or whole microseconds. */
  z.strictObject({ header: headerName, unit: unit.optional() }),
] as const;

const TIME_FORMS =
  'record, {path, unit} with the unit s, ms, us, ns or rfc3339, or {header, unit}' as const;

const time = z.union(timeForms, { error: `expected ${TIME_FORMS}` });

const knownTime = z.union([z.enum(['arrival', 'event']), ...timeForms], {
  error: `expected arrival, event, ${TIME_FORMS}`,
});

export type TimeConfig = z.infer<typeof time>;

/** Settings that each topic of a source may have of its own. None of them has its default here. */
export const mappingShape = {
  encoding: z.enum(ENCODING_NAMES).optional(),
  envelope: z.enum(ENVELOPE_NAMES).optional(),
  /** The field that holds the entity id; the record's key where the field is absent. */
  entity_id: path.optional(),
  /** The field of the key that holds the id, where keys are encoded as values are. */
  key_field: path.optional(),
  event_timestamp: time.optional(),
  known_timestamp: knownTime.optional(),
  /** What marks a record whose value is not null as a delete. */
  delete_when: z
    .strictObject({ path, equals: z.union([z.string(), z.number(), z.boolean(), z.null()]) })
    .optional(),
  /** What a null value means. `skip` suits streams that send a delete and then a null. */
  null_value: z.enum(['delete', 'skip']).optional(),
  /** When a null value's delete happened, where the event time stands in a value it does not have. */
  delete_timestamp: z.literal('record').optional(),
  /** The field that holds the vector: an array of numbers, or base64 or bytes in the dtype. */
  vector: path.optional(),
  /** The field that holds the scale of an int8 vector; `scale` unless it is said. */
  scale: path.optional(),
  /**
   * The fields that a prompt can use: the object at a path, or each by name and path. Without it,
   * those of the whole row.
   */
  fields: z
    .union([path, z.record(z.string(), path)], {
      error: 'expected a path, or a path for each name of a field',
    })
    .optional(),
  /** Which part of their entity the records are about, where the version's prompt has parts. */
  part: z.string().max(64).optional(),
};

const givenSchema = z.strictObject(mappingShape);

/** What is given of a mapping, by a source and by one of its topics over it. */
export type GivenMapping = z.infer<typeof givenSchema>;

/** What the records hold: vectors as they are, or fields of a text that the version's model reads. */
export type Content = 'vector' | 'fields';

/** What every mapping has, once it is complete. */
type Decided =
  | 'encoding'
  | 'envelope'
  | 'entity_id'
  | 'event_timestamp'
  | 'known_timestamp'
  | 'null_value'
  | 'vector';

/** The settings of one topic, complete. */
export type MappingConfig = Omit<GivenMapping, Decided> & {
  [Setting in Decided]: NonNullable<GivenMapping[Setting]>;
} & { content: Content };

/** A setting that is not there, or cannot be as it is. */
export interface MappingIssue {
  setting: keyof GivenMapping;
  message: string;
}

/** The settings with what the encoding and the envelope bring along, or what is wrong with them. */
export function completeMapping(
  given: GivenMapping,
  content: Content,
): MappingConfig | MappingIssue {
  const { encoding = 'json', envelope = 'none', known_timestamp } = given;
  const { eventTimestamp, nullValue = 'delete' } = envelopeOf(envelope);
  const isBytes = encoding === 'bytes';
  if (known_timestamp === undefined) {
    return { setting: 'known_timestamp', message: `expected arrival, event, ${TIME_FORMS}` };
  }
  if (isBytes && (content === 'fields' || !['none', 'cloudevents'].includes(envelope))) {
    return { setting: 'encoding', message: 'expected another one: bytes are a vector alone' };
  }
  const unused = content === 'vector' ? 'fields' : 'vector';
  if (given[unused] !== undefined) {
    return { setting: unused, message: `expected none, since the content is ${content}` };
  }
  if (content === 'fields' && given.scale !== undefined) {
    return { setting: 'scale', message: 'expected none, since the content is fields' };
  }
  if (content === 'vector' && given.part !== undefined) {
    return { setting: 'part', message: 'expected none, since the content is vector' };
  }
  const event_timestamp =
    given.event_timestamp ?? eventTimestamp ?? vectorTimestamp(content, isBytes);
  if (event_timestamp === undefined) {
    return { setting: 'event_timestamp', message: `expected ${TIME_FORMS}` };
  }
  const { delete_when = vectorDelete(content) } = given;
  return {
    ...given,
    ...(delete_when && { delete_when }),
    entity_id: given.entity_id ?? 'entity_id',
    vector: given.vector ?? 'vector',
    null_value: given.null_value ?? nullValue,
    encoding,
    envelope,
    event_timestamp,
    known_timestamp,
    content,
  };
}

/** Records of vectors are Tidemark's own to shape, so there are names for what stands in them. */
function vectorTimestamp(content: Content, isBytes: boolean): TimeConfig | undefined {
  if (content !== 'vector') return undefined;
  return isBytes
    ? { header: 'tidemark-event-timestamp' }
    : { path: 'event_timestamp', unit: 'rfc3339' };
}

function vectorDelete(content: Content): GivenMapping['delete_when'] {
  return content === 'vector' ? { path: 'deleted', equals: true } : undefined;
}
