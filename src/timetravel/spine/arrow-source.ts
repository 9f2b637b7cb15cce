import type { Message, MessageHeader } from 'apache-arrow';

import { arrowStreamOf } from '../formats/arrow.ts';
import { LENGTH_BYTES } from './arrow-buffers.ts';
import { type ArrowMessage, noArrow, readMessages, refuseLargeBatch } from './arrow-messages.ts';
import { decodeBatches } from './arrow.ts';
import { refuseTwins } from './column.ts';
import { joined, type PieceLimits } from './records.ts';
import type { SpinePiece } from './window.ts';

type RecordBatchHeader = ReturnType<Message<MessageHeader.RecordBatch>['header']>;
type ArrowPiece = Extract<SpinePiece, { format: 'arrow' }>;

/**
 * The pieces of a spine in Arrow IPC, in order. Each is a stream by itself, with the schema and the
 * dictionaries in front. Batches are put together as they are; only one that is larger than a piece
 * may be is taken apart.
 */
export async function* arrowPieces(
  source: AsyncIterable<Uint8Array>,
  limits: PieceLimits,
): AsyncGenerator<ArrowPiece> {
  const front = new Front();
  let batches: ArrowMessage[] = [];
  let [rows, bytes, firstRow] = [0, 0, 0];
  const cut = (): ArrowPiece => {
    const piece = pieceOf(front.messages, batches, firstRow, rows);
    firstRow += rows;
    [batches, rows, bytes] = [[], 0, 0];
    return piece;
  };
  for await (const next of readMessages(source)) {
    const { message } = next;
    if (!message.isRecordBatch()) {
      // Within a piece a dictionary is one and the same.
      if (rows > 0) yield cut();
      front.add(next);
      continue;
    }
    front.requireSchema();
    const header = decoded(() => message.header());
    const { length } = header;
    const size = unpackedBytes(next, header);
    if (rows > 0 && (rows + length > limits.rowsMax || bytes + size > limits.bytesMax)) yield cut();
    if (length > limits.rowsMax || size > limits.bytesMax) {
      for (const piece of taken(front.messages, next, size, { firstRow, rows: length }, limits)) {
        yield piece;
        firstRow += piece.rows;
      }
    } else if (length > 0) {
      batches.push(next);
      rows += length;
      bytes += size;
    }
  }
  front.requireSchema();
  if (rows > 0 || firstRow === 0) yield cut();
}

/** What stands in front of every piece: the schema, and the dictionaries as they are now. */
class Front {
  private schema: ArrowMessage | undefined;
  private dictionaries: { id: number; isDelta: boolean; message: ArrowMessage; bytes: number }[] =
    [];

  get messages(): ArrowMessage[] {
    return [this.schema!, ...this.dictionaries.map(({ message }) => message)];
  }

  add(next: ArrowMessage): void {
    const { message } = next;
    if (message.isSchema()) {
      if (this.schema !== undefined) throw noArrow('it has two schemas');
      refuseTwins(decoded(() => message.header()).names as string[]);
      this.schema = next;
    } else if (message.isDictionaryBatch()) {
      this.requireSchema();
      const { id, isDelta, data } = decoded(() => message.header());
      const bytes = unpackedBytes(next, data);
      if (!isDelta) this.dictionaries = this.dictionaries.filter((other) => other.id !== id);
      this.dictionaries.push({ id, isDelta, message: next, bytes });
      // Every piece has all of them.
      refuseLargeBatch(this.dictionaries.reduce((sum, each) => sum + each.bytes, 0));
    } else {
      throw noArrow('it has a message that is neither schema nor batch');
    }
  }

  requireSchema(): void {
    if (this.schema === undefined) throw noArrow('it does not begin with a schema');
  }
}

/** Throws BAD_REQUEST for a batch that says it has more rows, in any column, than bytes for them. */
function requireRoom({ length, nodes }: RecordBatchHeader, bytes: number): void {
  // Each row has a bit at least, in some column.
  const rows = nodes.reduce((most, node) => Math.max(most, node.length), length);
  if (rows > bytes * 8 || nodes.some((node) => node.length < 0)) {
    throw noArrow(`a batch of it has ${rows} rows, more than its bytes can hold`);
  }
}

/** What apache-arrow makes of it; it throws for types that it does not know, and for damage. */
function decoded<Header>(decode: () => Header): Header {
  try {
    return decode();
  } catch (error) {
    throw noArrow(error instanceof Error ? error.message : String(error), error);
  }
}

function pieceOf(
  front: readonly ArrowMessage[],
  batches: readonly ArrowMessage[],
  firstRow: number,
  rows: number,
): ArrowPiece {
  return { format: 'arrow', firstRow, rows, bytes: streamOf([...front, ...batches]) };
}

function streamOf(messages: readonly ArrowMessage[]): Uint8Array<ArrayBuffer> {
  const bytes = messages.reduce((sum, message) => sum + message.bytes, 0);
  return joined(
    messages.flatMap(({ parts }) => parts),
    bytes,
  );
}

/**
 * The bytes of a batch when it is decompressed, as its buffers say at their beginnings: what reads
 * them holds them to it. Throws LIMIT_EXCEEDED: few bytes may become any number of them.
 */
function unpackedBytes({ message, body, bytes }: ArrowMessage, header: RecordBatchHeader): number {
  if (header.compression === null) {
    requireRoom(header, message.bodyLength);
    return bytes;
  }
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  let sum = 0;
  for (const { offset, length } of header.buffers) {
    if (length === 0) continue;
    if (length < LENGTH_BYTES || offset < 0 || offset + LENGTH_BYTES > body.byteLength) {
      throw noArrow('a batch of it names what lies outside of it');
    }
    const unpacked = Number(view.getBigInt64(offset, true));
    if (unpacked < -1) throw noArrow('a batch of it is damaged');
    // A buffer that compression would not make smaller is as it is.
    sum += unpacked === -1 ? length : unpacked;
  }
  refuseLargeBatch(sum);
  requireRoom(header, sum);
  return sum;
}

/** One batch as several pieces. */
function* taken(
  front: readonly ArrowMessage[],
  batch: ArrowMessage,
  size: number,
  { firstRow, rows }: { firstRow: number; rows: number },
  { rowsMax, bytesMax }: PieceLimits,
): Generator<ArrowPiece> {
  const whole = decodeBatches(streamOf([...front, batch]));
  const count = Math.max(Math.ceil(rows / rowsMax), Math.ceil(size / bytesMax));
  const step = Math.max(1, Math.ceil(rows / count));
  for (let from = 0; from < rows; from += step) {
    const slice = whole.slice(from, Math.min(rows, from + step));
    const bytes = decoded(() => arrowStreamOf(slice));
    yield {
      format: 'arrow',
      firstRow: firstRow + from,
      rows: slice.numRows,
      bytes,
    };
  }
}
