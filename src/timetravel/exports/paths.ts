import type { AnswerFormat } from '../formats/answer.ts';
import { extensionOf } from '../formats/encodings.ts';

/** The folders of an export's files, as their paths begin. */
export const PARTS = 'parts';
export const VECTORS = 'vectors';

/** `parts/part-00007.parquet`. */
export function partPath(index: number, format: AnswerFormat): string {
  return `${PARTS}/part-${numbered(index)}${extensionOf(format)}`;
}

/** `vectors/job-00007.safetensors`. */
export function shardPath(ref: string, index: number, format: AnswerFormat): string {
  return `${VECTORS}/${ref}-${numbered(index)}${extensionOf(format)}`;
}

function numbered(index: number): string {
  return String(index).padStart(5, '0');
}
