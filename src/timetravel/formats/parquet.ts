import {
  type Data,
  DataType,
  type Field,
  makeData,
  RecordBatch,
  Schema,
  Struct,
} from 'apache-arrow';
import {
  Compression,
  EnabledStatistics,
  Table,
  writeParquet,
  type WriterProperties,
  WriterPropertiesBuilder,
} from 'parquet-wasm/node';

import { assert } from '../../ground/assert.ts';
import { TidemarkError } from '../../ground/errors.ts';
import { numberBytes } from '../../store/dtype.ts';
import type { Answer, AnswerSchema, Encoding } from './answer.ts';
import { emptyBatch } from './arrow-message.ts';
import { arrowEncoding, arrowStreamOf } from './arrow.ts';
import { isOfCodes, planCodes } from './parquet-codes.ts';
import {
  type ColumnChunk,
  encodeFooter,
  extentOf,
  type Footer,
  MAGIC,
  moved,
  parseFooter,
  type RowGroup,
} from './parquet-footer.ts';
import type { PlannedPages } from './parquet-pages.ts';
import { plainOf, planPlain } from './parquet-plain.ts';
import { batchInMillis, schemaInMillis } from './parquet-times.ts';
import { type PlannedVectors, planVectors, vectorSchema, writePages } from './parquet-vectors.ts';

/** Of a window: its row groups, whose places count from the window's start. */
export interface ParquetMeta {
  bytes: number;
  rowGroups: readonly RowGroup[];
}

const GROUP_VECTOR_BYTES = 24 * 2 ** 20;
const GROUP_ROWS_MIN = 1_024;
const GROUP_ROWS_MAX = 131_072;
/** Texts that differ more than this are written as they are: a larger dictionary costs more than it saves. */
const DICTIONARY_BYTES_MAX = 128 * 2 ** 10;
/** Under this key readers look for the Arrow types that the columns had. */
const ARROW_SCHEMA_KEY = 'ARROW:schema';
const SUMMARY_KEY = 'tidemark';

/**
 * Parquet. Vectors, codes, numbers and texts are written here. A library writes the columns that take
 * more than a copy; its row groups are taken apart, and each is put together again with the other
 * columns of the same rows behind it.
 */
export const parquetEncoding: Encoding<ParquetMeta> = {
  head() {
    return new Uint8Array(MAGIC);
  },

  window(answer, room) {
    const groups = planGroups(answer);
    const bytes = groups.reduce((sum, group) => sum + group.bytes, 0);
    assert(bytes < 2 ** 32, 'places in a window have 32 bits');
    // No byte of it is left as it was: headers, levels and numbers follow each other without gaps.
    const out = room?.(bytes) ?? Buffer.allocUnsafeSlow(bytes);
    const offsets = answer.vectors.map(() => new Uint32Array(answer.batch.numRows));
    const rowGroups: RowGroup[] = [];
    let at = 0;
    for (const group of groups) {
      rowGroups.push(writeGroup(group, answer, out, at, offsets));
      at += group.bytes;
    }
    answer.vectors.forEach((column, index) => column.gather(out, offsets[index]!));
    return { chunks: [out], meta: { bytes, rowGroups } };
  },

  tail({ schema, vectors }, windows, summary) {
    const whole = { schema: schemaInMillis(schema), vectors };
    const rowGroups: RowGroup[] = [];
    let start = MAGIC.byteLength;
    for (const window of windows) {
      for (const { rows, columns } of window.rowGroups) {
        rowGroups.push({ rows, columns: columns.map((chunk) => moved(chunk, start)) });
      }
      start += window.bytes;
    }
    const { columns, keyValues } = schemaFooter(whole);
    const told = new Map(keyValues)
      .set(ARROW_SCHEMA_KEY, Buffer.from(arrowEncoding.head(whole)).toString('base64'))
      .set(SUMMARY_KEY, summary);
    return encodeFooter({ columns, rowGroups, keyValues: told });
  },
};

/** One row group of a window, laid out. */
interface PlannedGroup {
  from: number;
  to: number;
  bytes: number;
  /** Of the columns that are no vectors: their pages, and how each of them is described. */
  pages: readonly Pick<PlannedPages, 'bytes' | 'write'>[];
  columns: readonly ColumnChunk[][];
  /** One a vector column. */
  vectors: readonly PlannedVectors[];
}

function planGroups({ batch, vectors }: Answer): PlannedGroup[] {
  const rowsMax = groupRows(vectors);
  const { others, own } = apart(batchInMillis(batch));
  const file = others.numCols === 0 ? undefined : encodeOthers(others, rowsMax);
  const footer = file && parseFooter(file);
  const leaves = footer?.columns.map(({ orders }) => orders.length) ?? [];
  const groups: PlannedGroup[] = [];
  for (let from = 0; from < batch.numRows; from += rowsMax) {
    const to = Math.min(batch.numRows, from + rowsMax);
    const group = footer?.rowGroups[groups.length];
    const { start, end } = group ? extentOf(group) : { start: 0, end: 0 };
    let leaf = 0;
    const columns = leaves.map((count) =>
      group!.columns.slice(leaf, (leaf += count)).map((chunk) => moved(chunk, -start)),
    );
    const pages: PlannedGroup['pages'][number][] = [];
    if (file) {
      pages.push({
        bytes: end - start,
        write: (out, at) => out.set(file.subarray(start, end), at),
      });
    }
    let bytes = end - start;
    for (const { at, plan } of own) {
      const planned = plan(from, to);
      columns.splice(at, 0, [moved(planned.chunk, bytes)]);
      pages.push(planned);
      bytes += planned.bytes;
    }
    const planned = vectors.map((column) => planVectors(column, column.valid.subarray(from, to)));
    for (const each of planned) bytes += each.bytes;
    groups.push({ from, to, bytes, pages, columns, vectors: planned });
  }
  return groups;
}

/** Lays out rows of a column. */
type Plan = (from: number, to: number) => PlannedPages;

/** The columns that are written here, by their places, and those that the library writes. */
function apart({ schema, data }: RecordBatch): {
  others: RecordBatch;
  own: { at: number; plan: Plan }[];
} {
  const own: { at: number; plan: Plan }[] = [];
  const fields: Field[] = [];
  const children: Data[] = [];
  schema.fields.forEach((field, at) => {
    const column = data.children[at]!;
    const plan = planOf(field, column);
    if (plan) own.push({ at, plan });
    else {
      fields.push(field);
      children.push(column);
    }
  });
  const type = new Struct(fields);
  const rest = makeData({ type, length: data.length, nullCount: 0, children });
  return { others: new RecordBatch(new Schema(fields, schema.metadata), rest), own };
}

function planOf(field: Field, data: Data): Plan | undefined {
  if (isOfCodes(field, data)) return (from, to) => planCodes(field, data.slice(from, to - from));
  const column = plainOf(field, data);
  return column && ((from, to) => planPlain(field, column, from, to));
}

function writeGroup(
  { from, to, pages, columns, vectors }: PlannedGroup,
  answer: Answer,
  out: Uint8Array<ArrayBuffer>,
  start: number,
  offsets: readonly Uint32Array[],
): RowGroup {
  let at = start;
  for (const { bytes, write } of pages) {
    write(out, at);
    at += bytes;
  }
  const placed = vectors.map((planned, index) => {
    const { dim, dtype, valid } = answer.vectors[index]!;
    const rows = valid.subarray(from, to);
    writePages(planned, rows, numberBytes(dim, dtype), out, at, offsets[index]!.subarray(from, to));
    const chunk = moved(planned.chunk, at);
    at += planned.bytes;
    return [chunk];
  });
  const own = columns.map((chunks) => chunks.map((chunk) => moved(chunk, start)));
  return { rows: to - from, columns: inOrder(own, placed, answer.vectors).flat() };
}

/** The columns of the answer: the others with those of vectors at their places. */
function inOrder<Column>(
  others: readonly Column[],
  ofVectors: readonly Column[],
  vectors: AnswerSchema['vectors'],
): Column[] {
  const columns = [...others];
  vectors.forEach(({ at }, index) => columns.splice(at, 0, ofVectors[index]!));
  return columns;
}

function groupRows(vectors: AnswerSchema['vectors']): number {
  const bytes = vectors.reduce((sum, { dim, dtype }) => sum + numberBytes(dim, dtype), 0);
  const rows = Math.floor(GROUP_VECTOR_BYTES / bytes);
  return Math.max(GROUP_ROWS_MIN, Math.min(GROUP_ROWS_MAX, rows));
}

/** The schema of a whole answer, and what the library tells beside it. */
function schemaFooter(schema: AnswerSchema): Pick<Footer, 'columns' | 'keyValues'> {
  const batch = emptyBatch(schema.schema);
  const others =
    batch.numCols === 0
      ? { columns: [], keyValues: new Map<string, string>() }
      : parseFooter(encodeOthers(batch, GROUP_ROWS_MAX));
  const ofVectors = schema.vectors.map(({ name, dtype }) => vectorSchema(name, dtype));
  return {
    columns: inOrder(others.columns, ofVectors, schema.vectors),
    keyValues: others.keyValues,
  };
}

/** The batch as a Parquet file of the library's. */
function encodeOthers(batch: RecordBatch, groupRowsMax: number): Uint8Array {
  try {
    return writeParquet(
      Table.fromIPCStream(arrowStreamOf(batch)),
      propertiesOf(batch, groupRowsMax),
    );
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new TidemarkError(
      'BAD_REQUEST',
      `the columns ${batch.schema.names.join(', ')} cannot be written as Parquet: ${why}; ` +
        'leave out the one that it names, or ask for another format',
      { cause: error },
    );
  }
}

function propertiesOf({ schema }: RecordBatch, groupRowsMax: number): WriterProperties {
  let properties = new WriterPropertiesBuilder()
    .setCompression(Compression.UNCOMPRESSED)
    .setMaxRowGroupSize(groupRowsMax)
    .setStatisticsEnabled(EnabledStatistics.Chunk)
    .setDictionaryPageSizeLimit(DICTIONARY_BYTES_MAX);
  // Numbers mostly differ: a dictionary of them is larger than they are, and slow.
  for (const { name, type } of schema.fields) {
    if (DataType.isInt(type) || DataType.isFloat(type)) {
      properties = properties.setColumnDictionaryEnabled(name, false);
    }
  }
  return properties.build();
}
