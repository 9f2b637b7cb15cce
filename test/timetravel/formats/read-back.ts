import { type Table, Vector } from 'apache-arrow';

import type { Answer, Encoding } from '../../../src/timetravel/formats/answer.ts';
import {
  isPresent,
  sampleNumbers,
  sampleRow,
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
      job__event_timestamp: present(row) ? moment : null,
      job__status: present(row) ? 'PRESENT' : 'NOT_FOUND',
      job__reason: present(row) ? null : 'DELETED',
    };
  });
}
