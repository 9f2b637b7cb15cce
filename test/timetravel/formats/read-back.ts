import { type Table, Vector } from 'apache-arrow';

import type { Dtype } from '../../../src/store/dtype.ts';
import type { Answer, Encoding } from '../../../src/timetravel/formats/answer.ts';
import {
  isPresent,
  sampleAnswer,
  sampleNumbers,
  sampleRow,
  sampleScale,
  type SampleShape,
  schemaOf,
} from './sample-answer.ts';

/** The windows as one file. */
export function wholeOf<Meta>(
  encoding: Encoding<Meta>,
  windows: readonly Answer[],
  schema = schemaOf(windows[0]!),
  summary = '{}',
): Buffer {
  const written = windows.map((answer) => encoding.window(answer));
  return Buffer.concat([
    encoding.head(schema),
    ...written.flatMap(({ chunks }) => chunks),
    encoding.tail(
      schema,
      written.map(({ meta }) => structuredClone(meta)),
      summary,
    ),
  ]);
}

/** Rows of an answer that may well be there: none, or rows that are all misses, or all hits. */
export const EDGES: [string, number, SampleShape['present']][] = [
  ['no row', 0, undefined],
  ['no vector', 9, () => false],
  ['a vector in each row', 9, () => true],
];

/** A window's bytes in new memory, and in memory that was used before. */
export function writtenTwice(encoding: Encoding<unknown>, dtype: Dtype) {
  const answer = sampleAnswer(0, 51, { dim: 3, dtype });
  const fresh = encoding.window(answer).chunks[0]!;
  const used = new Uint8Array(2 * fresh.byteLength).fill(0xee);
  const again = encoding.window(answer, (bytes) => used.subarray(0, bytes)).chunks[0]!;
  return { fresh, used, again };
}

/** A table's rows, each as an object; moments in milliseconds, as apache-arrow has them. */
export function rowsOf(table: Table): Record<string, unknown>[] {
  const names = table.schema.names as string[];
  const columns = names.map((_, at) => Array.from(table.getChildAt(at)!, plain));
  return Array.from({ length: table.numRows }, (_, row) =>
    Object.fromEntries(names.map((name, at) => [name, columns[at]![row]])),
  );
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  return value instanceof Vector ? Array.from(value as Iterable<unknown>, plain) : value;
}

/** What the rows of a sample answer are read as. */
export function sampleRows(
  firstRow: number,
  rows: number,
  { dim, dtype, present = isPresent }: SampleShape,
): Record<string, unknown>[] {
  return Array.from({ length: rows }, (_, at) => {
    const row = firstRow + at;
    const moment = 1_772_323_200_000 + (row * 1_000_001) / 1_000;
    return {
      ...sampleRow(row),
      moment,
      job__vector: present(row) ? sampleNumbers(row, dim, dtype) : null,
      ...(dtype === 'int8' && { job__scale: present(row) ? sampleScale(row) : null }),
      job__event_timestamp: present(row) ? moment : null,
      job__status: present(row) ? 'PRESENT' : 'NOT_FOUND',
      job__reason: present(row) ? null : 'DELETED',
    };
  });
}
