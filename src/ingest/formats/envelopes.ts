import type { SourceRecord } from '../source-record.ts';
import { brooklin } from './brooklin.ts';
import { cloudEvents } from './cloud-events.ts';
import { debezium, debeziumFlat } from './debezium.ts';
import type { EncodingName } from './encodings.ts';
import type { TimeConfig } from './settings.ts';

/** A decoded value: an object's fields, or bytes that are no structure. */
export type Message = Record<string, unknown> | Uint8Array;

/** What a message says, without what it is wrapped in. */
export interface Opened {
  /** Where times, and the mark of a delete, are looked up. */
  message: Message;
  /** Where the id, the fields and the vector are looked up: of a delete, the row that was there. */
  row: unknown;
  isDelete?: boolean;
  /** Who it is about where the row does not say; undefined leaves that to the record's key. */
  id?: unknown;
}

/** What records are wrapped in. */
export interface Envelope {
  /** Opens a value, or a key; undefined where it is about no row. Throws BAD_RECORD. */
  open: (this: void, message: Message, record: SourceRecord) => Opened | undefined;
  /** The entity that a record is about which has no value, where a header says it. */
  idOf?(record: SourceRecord): unknown;
  /** The encoding that the record names itself. Throws BAD_RECORD. */
  encodingOf?(record: SourceRecord): EncodingName | undefined;
  /** True for what stands where there is a value that the record does not tell. */
  isUnsaid?: (this: void, value: unknown) => boolean;
  /** When things became true, unless the source is told otherwise. */
  eventTimestamp?: TimeConfig;
  /** What a null value means, unless the source is told otherwise; `delete` if not here. */
  nullValue?: 'skip';
}

/** A new envelope is a file, and a line here. */
const ENVELOPES = {
  none: { open: (message: Message): Opened => ({ message, row: message }) },
  debezium,
  debezium_flat: debeziumFlat,
  brooklin,
  cloudevents: cloudEvents,
} satisfies Record<string, Envelope>;

export type EnvelopeName = keyof typeof ENVELOPES;

export const ENVELOPE_NAMES = Object.keys(ENVELOPES) as [EnvelopeName, ...EnvelopeName[]];

export function envelopeOf(name: EnvelopeName): Envelope {
  return ENVELOPES[name];
}
