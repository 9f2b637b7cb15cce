import type { Answer, AnswerFormat, AnswerSchema, Encoding, Room } from './answer.ts';
import { arrowEncoding } from './arrow.ts';
import { ndjsonEncoding } from './ndjson-answer.ts';
import { parquetEncoding } from './parquet.ts';
import { encodeShard } from './safetensors-shard.ts';

interface Format {
  mediaType: string;
  extension: string;
  /** None where an answer is only ever whole: its first bytes need the last row. */
  encoding?: Encoding<unknown>;
}

const FORMATS: Record<AnswerFormat, Format> = {
  ndjson: {
    mediaType: 'application/x-ndjson',
    extension: '.ndjson',
    encoding: ndjsonEncoding,
  },
  arrow: {
    mediaType: 'application/vnd.apache.arrow.stream',
    extension: '.arrows',
    encoding: arrowEncoding,
  },
  parquet: {
    mediaType: 'application/vnd.apache.parquet',
    extension: '.parquet',
    encoding: parquetEncoding,
  },
  safetensors: {
    mediaType: 'application/vnd.safetensors',
    extension: '.safetensors',
  },
};

export function mediaTypeOf(format: AnswerFormat): string {
  return FORMATS[format].mediaType;
}

/** With its dot. */
export function extensionOf(format: AnswerFormat): string {
  return FORMATS[format].extension;
}

/** How an answer of any length is written; undefined for a format that has whole files only. */
export function encodingOf(format: AnswerFormat): Encoding<unknown> | undefined {
  return FORMATS[format].encoding;
}

/** One window as a whole file, whatever the format. */
export function encodeFile(
  format: AnswerFormat,
  schema: AnswerSchema,
  answer: Answer,
  summary: string,
  room?: Room,
): Uint8Array<ArrayBuffer>[] {
  const { encoding } = FORMATS[format];
  if (encoding === undefined) return encodeShard(answer, { tidemark: summary });
  const { chunks, meta } = encoding.window(answer, room);
  return [encoding.head(schema), ...chunks, encoding.tail(schema, [meta], summary)];
}
