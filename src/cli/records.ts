import { readLines } from '../timetravel/formats/ndjson.ts';

/** Records of one request. */
export interface RecordBatch {
  /** NDJSON as it was written: a number that JavaScript would round arrives as it was. */
  body: Buffer<ArrayBuffer>;
  /** The input's line of each record, from 1. */
  lines: number[];
  /** Bytes of the input up to the batch's end. */
  bytesRead: number;
}

/** One transaction of the server's, answered within a moment. */
const RECORDS_PER_BATCH = 1_000;
/** Vectors as JSON are long; a server takes bodies of 64 MiB unless it is told otherwise. */
const BATCH_BYTES_MAX = 16 * 2 ** 20;
/** Far above a record of 8,192 numbers: a longer line is no record. */
const LINE_BYTES_MAX = 2 ** 20;

const NEWLINE = Buffer.from('\n');

/**
 * Cuts NDJSON into batches, of which it holds one at a time; blank lines are passed over.
 * Throws LIMIT_EXCEEDED for a line that is too long to be a record.
 */
export async function* readBatches(input: AsyncIterable<Uint8Array>): AsyncGenerator<RecordBatch> {
  let pieces: Buffer[] = [];
  let lines: number[] = [];
  let batchBytes = 0;
  let bytesRead = 0;
  for await (const { number, bytes } of readLines(input, LINE_BYTES_MAX)) {
    pieces.push(bytes, NEWLINE);
    lines.push(number);
    batchBytes += bytes.byteLength + 1;
    bytesRead += bytes.byteLength + 1;
    if (lines.length === RECORDS_PER_BATCH || batchBytes >= BATCH_BYTES_MAX) {
      yield { body: Buffer.concat(pieces), lines, bytesRead };
      [pieces, lines, batchBytes] = [[], [], 0];
    }
  }
  if (lines.length > 0) yield { body: Buffer.concat(pieces), lines, bytesRead };
}
