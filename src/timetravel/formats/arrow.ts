import { type Data, type RecordBatch, type Vector, vectorFromArray } from 'apache-arrow';

import { assert } from '../../ground/assert.ts';
import { numberBytes } from '../../store/dtype.ts';
import { joined } from '../spine/records.ts';
import type { Answer, AnswerSchema, Encoding, VectorColumn } from './answer.ts';
import {
  batchMessage,
  dictionaryMessage,
  emptyBatch,
  END_OF_STREAM,
  MessageBody,
  type PlannedMessage,
  schemaMessage,
  writeMessage,
} from './arrow-message.ts';
import { wholeSchema } from './arrow-schema.ts';
import { sliceOf } from './arrow-slice.ts';

/** A reader holds a message at a time. */
const MESSAGE_ROWS_MAX = 65_536;
const MESSAGE_VECTOR_BYTES_MAX = 64 * 2 ** 20;
/** The last message has no rows; by this key it tells the summary. */
const SUMMARY_KEY = 'tidemark';

/**
 * The Arrow stream format, uncompressed. Each window begins with the dictionaries of its columns,
 * which take the place of those of the window before.
 */
export const arrowEncoding: Encoding<undefined> = {
  head(schema) {
    const message = schemaMessage(wholeSchema(schema));
    return written([message], new Uint8Array(message.bytes));
  },

  window(answer, room) {
    const rows = answer.batch.numRows;
    const messages = dictionariesOf(answer.batch.data.children);
    const step = messageRows(answer.vectors);
    const offsets = answer.vectors.map(() => new Uint32Array(rows));
    let at = bytesOf(messages);
    // A window without rows is a message without rows.
    for (let from = 0; from === 0 || from < rows; from += step) {
      const to = Math.min(rows, from + step);
      const { body, places } = bodyOf(answer, from, to);
      const message = batchMessage(to - from, body);
      answer.vectors.forEach(({ dim, dtype }, index) => {
        const bytes = numberBytes(dim, dtype);
        let place = at + message.bodyAt + places[index]!;
        for (let row = from; row < to; row++, place += bytes) offsets[index]![row] = place;
      });
      messages.push(message);
      at += message.bytes;
    }
    assert(at < 2 ** 32, 'places in a window have 32 bits');
    // Between buffers, and where there is no vector, are zeros.
    const out = written(messages, room?.(at).fill(0) ?? new Uint8Array(at));
    answer.vectors.forEach((column, index) => column.gather(out, offsets[index]!));
    return { chunks: [out], meta: undefined };
  },

  tail(schema, windows, summary) {
    return encodeTail(schema, windows.length === 0, new Map([[SUMMARY_KEY, summary]]));
  },
};

/**
 * A batch as a stream by itself, in memory of its own, which can be handed to another thread.
 * apache-arrow's own writer gets slices of some types wrong.
 */
export function arrowStreamOf(batch: RecordBatch): Uint8Array<ArrayBuffer> {
  const schema = { schema: batch.schema, vectors: [] };
  const answer = { firstRow: 0, batch, vectors: [], spineColumns: batch.numCols };
  const { chunks } = arrowEncoding.window(answer);
  const parts = [arrowEncoding.head(schema), ...chunks, Uint8Array.from(END_OF_STREAM)];
  return joined(
    parts,
    parts.reduce((sum, { length }) => sum + length, 0),
  );
}

/** The last message and the end. A stream without a window has not told its dictionaries yet. */
function encodeTail(
  schema: AnswerSchema,
  isFirst: boolean,
  told: Map<string, string>,
): Uint8Array<ArrayBuffer> {
  const batch = emptyBatch(schema.schema);
  const none = { valid: new Uint8Array(), gather: () => {} };
  const vectors = schema.vectors.map((column) => ({ ...column, ...none }));
  const { body } = bodyOf({ firstRow: 0, batch, vectors, spineColumns: 0 }, 0, 0);
  const messages = isFirst ? dictionariesOf(batch.data.children) : [];
  messages.push(batchMessage(0, body, told));
  const end = bytesOf(messages);
  const out = new Uint8Array(end + END_OF_STREAM.length);
  out.set(END_OF_STREAM, end);
  return written(messages, out);
}

/** The body of the message with these rows, and where in it each vector column's numbers go. */
function bodyOf(
  { batch, vectors }: Answer,
  from: number,
  to: number,
): { body: MessageBody; places: number[] } {
  const body = new MessageBody();
  const places: number[] = [];
  const columns = batch.data.children;
  const count = columns.length + vectors.length;
  for (let at = 0, own = 0; at < count; at++) {
    const vector = vectors[places.length];
    if (vector?.at === at) {
      const bytes = numberBytes(vector.dim, vector.dtype);
      places.push(body.addVectors(vector.valid.subarray(from, to), vector.dim, bytes));
    } else {
      body.addColumn(sliceOf(columns[own++]!, from, to));
    }
  }
  return { body, places };
}

function messageRows(vectors: readonly VectorColumn[]): number {
  const bytes = vectors.reduce((sum, { dim, dtype }) => sum + numberBytes(dim, dtype), 0);
  return Math.max(1, Math.min(MESSAGE_ROWS_MAX, Math.floor(MESSAGE_VECTOR_BYTES_MAX / bytes)));
}

/** The dictionaries of the columns, numbered as in `wholeSchema`. */
function dictionariesOf(columns: readonly Data[]): PlannedMessage[] {
  const messages: PlannedMessage[] = [];
  let ids = 0;
  const visit = (data: Data): void => {
    if (data.dictionary === undefined) {
      data.children.forEach(visit);
      return;
    }
    const values = valuesOf(data.dictionary);
    values.children.forEach(visit);
    messages.push(dictionaryMessage(ids++, values));
  };
  columns.forEach(visit);
  return messages;
}

/** The values of a dictionary as one piece: not every reader takes one that comes piece by piece. */
function valuesOf(dictionary: Vector): Data {
  const [first, ...more] = dictionary.data;
  return more.length === 0 ? first! : vectorFromArray([...dictionary], dictionary.type).data[0]!;
}

function written(
  messages: readonly PlannedMessage[],
  out: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  let at = 0;
  for (const message of messages) {
    writeMessage(message, out, at);
    at += message.bytes;
  }
  return out;
}

function bytesOf(messages: readonly PlannedMessage[]): number {
  return messages.reduce((sum, { bytes }) => sum + bytes, 0);
}
