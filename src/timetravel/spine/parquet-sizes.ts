import type { AsyncBuffer, ColumnMetaData, FileMetaData, SchemaElement } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';

import { TidemarkError } from '../../ground/errors.ts';

/** A page's header is some dozen bytes, and what its statistics take. */
const HEADER_BYTES = 2 ** 16;
/** Decimals are as wide in memory whatever they are in the file. */
const DECIMAL_BYTES = 16;
const OFFSET_BYTES = 4;
const WIDTHS: Partial<Record<ColumnMetaData['type'], number>> = {
  BOOLEAN: 1,
  INT32: 4,
  INT64: 8,
  INT96: 8,
  FLOAT: 4,
  DOUBLE: 8,
};

/** A row group's rows and their bytes once they are decoded. */
export interface GroupSize {
  rows: number;
  bytes: number;
}

/**
 * How large the row groups of a file become. What they are encoded in tells little: a text that a
 * dictionary has once may stand in a million rows.
 *
 * To read any rows of a group takes the bytes of all of it, and of every column the dictionary and
 * a page. Throws LIMIT_EXCEEDED where that is more than `leastBytesMax`.
 */
export async function groupSizes(
  file: AsyncBuffer,
  { row_groups, schema }: FileMetaData,
  leastBytesMax: number,
): Promise<GroupSize[]> {
  const leaves = schema.filter((element) => (element.num_children ?? 0) === 0);
  const sizes: GroupSize[] = [];
  for (const [at, group] of row_groups.entries()) {
    const columns = group.columns.map(({ meta_data }) => meta_data!);
    if (group.num_rows < 0 || columns.some((column) => column.num_values < group.num_rows)) {
      throw new Error(`its row group ${at + 1} has other numbers of rows than its columns`);
    }
    // A group at a time: files have thousands of them.
    // oxlint-disable-next-line no-await-in-loop
    await refuseLargeGroup(file, columns, at, leastBytesMax);
    // oxlint-disable-next-line no-await-in-loop
    const bytes = await Promise.all(
      columns.map(async (column, leaf) => decodedBytes(file, column, leaves[leaf]!)),
    );
    sizes.push({ rows: Number(group.num_rows), bytes: sumOf(bytes) });
  }
  return sizes;
}

/** Of all values of a column in a row group. */
async function decodedBytes(
  file: AsyncBuffer,
  column: ColumnMetaData,
  { converted_type, type_length }: SchemaElement,
): Promise<number> {
  const values = Number(column.num_values);
  if (converted_type === 'DECIMAL') return values * DECIMAL_BYTES;
  const width = column.type === 'FIXED_LEN_BYTE_ARRAY' ? type_length : WIDTHS[column.type];
  if (width !== undefined) return values * width;
  const told = column.size_statistics?.unencoded_byte_array_data_bytes;
  const texts = told === undefined ? await textBytes(file, column) : Number(told);
  return values * OFFSET_BYTES + texts;
}

/** Of texts whose writer does not say: of those of a dictionary, as if all stood there as often. */
async function textBytes(file: AsyncBuffer, column: ColumnMetaData): Promise<number> {
  const encoded = Number(column.total_uncompressed_size);
  const dictionaryAt = Number(column.dictionary_page_offset ?? 0);
  if (dictionaryAt <= 0) return encoded;
  const { bytes, entries } = await readPage(file, dictionaryAt);
  return Math.max(encoded, Number(column.num_values) * (bytes / Math.max(1, entries)));
}

async function refuseLargeGroup(
  file: AsyncBuffer,
  columns: readonly ColumnMetaData[],
  group: number,
  leastBytesMax: number,
): Promise<void> {
  let least = columns.map(
    (column) => Number(column.total_compressed_size) + Number(column.total_uncompressed_size),
  );
  if (sumOf(least) <= leastBytesMax) return;
  least = await Promise.all(columns.map(async (column) => leastBytes(file, column)));
  const bytes = sumOf(least);
  if (bytes <= leastBytesMax) return;
  const largest = columns[least.indexOf(Math.max(...least))]!.path_in_schema.join('.');
  throw new TidemarkError(
    'LIMIT_EXCEEDED',
    `any row of row group ${group + 1} of the spine takes ${bytes} bytes to read, ` +
      `${Math.max(...least)} of them for the column ${largest}, the limit is ${leastBytesMax}: ` +
      'write smaller row groups and pages, leave the column out, or make an export with more ' +
      'exports.memory_bytes',
  );
}

/** What of a column is in memory while a row of it is read. */
async function leastBytes(file: AsyncBuffer, column: ColumnMetaData): Promise<number> {
  const packed = Number(column.total_compressed_size);
  const dictionaryAt = Number(column.dictionary_page_offset ?? 0);
  let at = Number(column.data_page_offset);
  if (dictionaryAt > 0) at = Math.min(at, dictionaryAt);
  const end = at + packed;
  let [dictionary, largest] = [0, 0];
  while (at < end) {
    // oxlint-disable-next-line no-await-in-loop
    const page = await readPage(file, at);
    if (page.isDictionary) dictionary = page.bytes;
    else largest = Math.max(largest, page.bytes);
    at = page.end;
  }
  return packed + dictionary + largest;
}

interface Page {
  isDictionary: boolean;
  entries: number;
  /** Decompressed. */
  bytes: number;
  /** Where the next one begins. */
  end: number;
}

async function readPage(file: AsyncBuffer, at: number): Promise<Page> {
  const bytes = await file.slice(at, Math.min(file.byteLength, at + HEADER_BYTES));
  const reader = { view: new DataView(bytes), offset: 0 };
  const header = parquetHeader(reader);
  const { compressed_page_size, uncompressed_page_size, dictionary_page_header } = header;
  if (!(compressed_page_size >= 0) || !(uncompressed_page_size >= 0)) {
    throw new Error(`the page at byte ${at} is damaged`);
  }
  return {
    isDictionary: dictionary_page_header !== undefined,
    entries: dictionary_page_header?.num_values ?? 0,
    bytes: uncompressed_page_size,
    end: at + reader.offset + compressed_page_size,
  };
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
