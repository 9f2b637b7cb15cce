import { Message } from 'apache-arrow';

import { TidemarkError } from '../../ground/errors.ts';
import { FIXED_SIZE_MAX, isSaneMetadata } from './arrow-metadata.ts';
import { joined } from './records.ts';

const CONTINUATION = 0xff_ff_ff_ff;
const ALIGNMENT = 8;
/** The least that describes a message: where its table is. */
const OFFSET_BYTES = 4;
/** What the file format begins with. */
export const MAGIC = Buffer.from('ARROW1\0\0');
/** What describes a batch is some dozen bytes a column. */
const METADATA_BYTES_MAX = 64 * 2 ** 20;
/** A batch is held whole in memory, however few of its rows a piece may have. */
const BODY_BYTES_MAX = 2 ** 30;

/** One message of an Arrow stream. */
export interface ArrowMessage {
  message: Message;
  /** As it stands in a stream: its length, its metadata, its body. */
  parts: readonly Uint8Array[];
  body: Uint8Array;
  bytes: number;
}

/**
 * The messages of an Arrow IPC stream, without decoding what they hold. The file format is such a
 * stream between its magic and its footer, as most write it. Throws BAD_REQUEST for what is none, or is cut short, and
 * LIMIT_EXCEEDED for a batch that is too large.
 */
export async function* readMessages(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<ArrowMessage> {
  const reader = new ExactReader(source);
  try {
    let first = await reader.read(8, true);
    if (first === undefined) throw noArrow('it is empty');
    if (first !== undefined && MAGIC.equals(first)) first = await reader.read(8, true);
    for (let prefix = first; prefix !== undefined; prefix = await reader.read(8, true)) {
      const view = new DataView(prefix.buffer, prefix.byteOffset, prefix.byteLength);
      // Until 0.15 a message began with its length alone.
      const isOld = view.getUint32(0, true) !== CONTINUATION;
      const length = view.getInt32(isOld ? 0 : 4, true);
      if (length === 0) return;
      if (length < OFFSET_BYTES || length > METADATA_BYTES_MAX) {
        throw noArrow('its first bytes are no message');
      }
      const rest = await reader.read(isOld ? length - OFFSET_BYTES : length);
      const metadata = isOld ? Buffer.concat([prefix.subarray(4), rest]) : rest;
      const message = decode(metadata);
      if (message.bodyLength < 0) throw noArrow('a message of it is damaged');
      refuseLargeBatch(message.bodyLength);
      const body = await reader.read(message.bodyLength);
      yield framed(message, metadata, body);
    }
  } finally {
    await reader.close();
  }
}

/** Throws LIMIT_EXCEEDED. `bytes`: of its columns, decompressed. */
export function refuseLargeBatch(bytes: number): void {
  if (bytes <= BODY_BYTES_MAX) return;
  throw new TidemarkError(
    'LIMIT_EXCEEDED',
    `the spine has a record batch of ${bytes} bytes, the limit is ${BODY_BYTES_MAX}: write it in ` +
      'smaller batches, as in pyarrow max_chunksize=65536',
  );
}

/** A message as it stands in a stream, whatever it was read from. */
export function framed(message: Message, metadata: Uint8Array, body: Uint8Array): ArrowMessage {
  const padding = -(8 + metadata.length) & (ALIGNMENT - 1);
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32LE(CONTINUATION);
  prefix.writeInt32LE(metadata.length + padding, 4);
  const tail = new Uint8Array(-body.length & (ALIGNMENT - 1));
  const parts = [prefix, metadata, new Uint8Array(padding), body, tail];
  return { message, parts, body, bytes: parts.reduce((sum, part) => sum + part.length, 0) };
}

function decode(metadata: Uint8Array): Message {
  if (!isSaneMetadata(metadata)) {
    throw noArrow(
      `a message of it is damaged, or has a type with more than ${FIXED_SIZE_MAX} values a row`,
    );
  }
  try {
    return Message.decode(metadata);
  } catch (error) {
    throw noArrow('a message of it is damaged', error);
  }
}

export function noArrow(why: string, cause?: unknown): TidemarkError {
  return new TidemarkError(
    'BAD_REQUEST',
    `the spine is no Arrow IPC stream: ${why}; expected a schema and record batches`,
    { cause },
  );
}

/** Reads so many bytes at a time of what comes in chunks of any size. */
class ExactReader {
  private readonly chunks: AsyncIterator<Uint8Array>;
  private chunk: Uint8Array = new Uint8Array(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.chunks = source[Symbol.asyncIterator]();
  }

  /** Undefined where `isBorder` and nothing more comes. */
  async read(length: number): Promise<Uint8Array<ArrayBuffer>>;
  async read(length: number, isBorder: true): Promise<Uint8Array<ArrayBuffer> | undefined>;
  async read(length: number, isBorder = false): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const parts: Uint8Array[] = [];
    let missing = length;
    while (missing > 0) {
      if (this.chunk.length === 0) {
        // oxlint-disable-next-line no-await-in-loop
        const next = await this.chunks.next();
        if (next.done) {
          if (isBorder && missing === length) return undefined;
          throw noArrow('it is cut short');
        }
        this.chunk = next.value;
      }
      const part = this.chunk.subarray(0, missing);
      parts.push(part);
      this.chunk = this.chunk.subarray(part.length);
      missing -= part.length;
    }
    return joined(parts, length);
  }

  async close(): Promise<void> {
    await this.chunks.return?.();
  }
}
