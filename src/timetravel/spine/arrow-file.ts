import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

import { Message } from 'apache-arrow';
import { Footer } from 'apache-arrow/ipc/metadata/file';

import { framed, MAGIC, noArrow, refuseLargeBatch } from './arrow-messages.ts';
import { isSaneFooter } from './arrow-metadata.ts';

const CHUNK_BYTES = 2 ** 20;
/** The length of the footer, and the magic again without its padding. */
const TAIL_BYTES = 10;
const END = new Uint8Array([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

/**
 * A file of Arrow IPC as a stream: one that is a stream as it is, or one of the file format, whose
 * batches stand where its footer says. (Polars and JavaScript write no schema in front of them.)
 * Throws BAD_REQUEST for a footer that is damaged.
 */
export async function* readArrowFile(path: string): AsyncGenerator<Uint8Array> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const magic = await readAt(file, 0, Math.min(size, MAGIC.length));
    if (!MAGIC.equals(magic)) {
      yield* createReadStream(path, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Uint8Array>;
      return;
    }
    const footer = await readFooter(file, size);
    const schema = Message.from(footer.schema);
    yield* framed(schema, Message.encode(schema), new Uint8Array(0)).parts;
    for (const block of [...footer.dictionaryBatches(), ...footer.recordBatches()]) {
      const length = block.metaDataLength + block.bodyLength;
      if (block.offset < 0 || length < 0 || block.offset + length > size) {
        throw noArrow('its footer names what lies outside of the file');
      }
      refuseLargeBatch(length);
      // oxlint-disable-next-line no-await-in-loop
      yield await readAt(file, block.offset, length);
    }
    yield END;
  } finally {
    await file.close();
  }
}

async function readFooter(file: FileHandle, size: number): Promise<Footer> {
  const from = Math.max(0, size - TAIL_BYTES);
  const tail = await readAt(file, from, size - from);
  const length = tail.length === TAIL_BYTES ? tail.readInt32LE() : -1;
  const start = from - length;
  if (!tail.subarray(4).equals(MAGIC.subarray(0, 6)) || length <= 0 || start < MAGIC.length) {
    throw noArrow('it is cut short');
  }
  try {
    const footer = await readAt(file, start, length);
    if (!isSaneFooter(footer)) throw new Error('its footer is damaged');
    return Footer.decode(footer);
  } catch (error) {
    throw noArrow(error instanceof Error ? error.message : String(error), error);
  }
}

async function readAt(file: FileHandle, from: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, from);
  if (bytesRead < length) throw noArrow('it is cut short');
  return buffer;
}
