import { extname } from 'node:path';

import type { SpineFormat } from './window.ts';

/** The content types that spines come in. */
export const SPINE_TYPES: Record<SpineFormat, string> = {
  ndjson: 'application/x-ndjson',
  csv: 'text/csv',
  arrow: 'application/vnd.apache.arrow.stream',
  parquet: 'application/vnd.apache.parquet',
};

const BY_EXTENSION: Record<string, SpineFormat> = {
  '.ndjson': 'ndjson',
  '.jsonl': 'ndjson',
  '.csv': 'csv',
  '.arrow': 'arrow',
  '.arrows': 'arrow',
  '.parquet': 'parquet',
};
/** What the names of spines end with. */
export const SPINE_EXTENSIONS = Object.keys(BY_EXTENSION);

/** The format of a file, as its name has it; undefined where that says nothing. */
export function spineFormatOf(path: string): SpineFormat | undefined {
  return BY_EXTENSION[extname(path).toLowerCase()];
}
