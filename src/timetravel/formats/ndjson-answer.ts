import { numberBytes, numbersOf } from '../../store/dtype.ts';
import type { Answer, Encoding, VectorColumn } from './answer.ts';
import { type JsonColumn, jsonColumn } from './json-cell.ts';

/** Lines are put together for so many bytes of vectors at a time: a text cannot be of any length. */
const CHUNK_BYTES = 4 * 2 ** 20;
const CHUNK_ROWS_MAX = 4_096;
/** By this key readers tell how the answer ended. */
const SUMMARY_KEY = '__summary';

/** One object a row, and a last line `{"__summary": …}` without which the answer is not whole. */
export const ndjsonEncoding: Encoding<undefined> = {
  head() {
    return new Uint8Array();
  },

  window(answer) {
    const { batch, vectors } = answer;
    const columns = columnsOf(answer);
    const rowBytes = vectors.reduce((sum, { dim, dtype }) => sum + numberBytes(dim, dtype), 0);
    const step = Math.max(1, Math.min(CHUNK_ROWS_MAX, Math.floor(CHUNK_BYTES / rowBytes)));
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    for (let from = 0; from < batch.numRows; from += step) {
      const to = Math.min(batch.numRows, from + step);
      let text = '';
      for (let row = from; row < to; row++) text += lineOf(answer, columns, row);
      chunks.push(new TextEncoder().encode(text));
    }
    return { chunks, meta: undefined };
  },

  tail(_schema, _windows, summary) {
    return new TextEncoder().encode(`{"${SUMMARY_KEY}":${summary}}\n`);
  },
};

/** A column of the lines: its name as a key, with the colon, and its values. */
interface LineColumn {
  key: string;
  value: JsonColumn;
}

/** The columns that a line has besides the spine's own text, where it has one. */
function columnsOf({ batch, vectors, lines, spineColumns }: Answer): LineColumn[] {
  const columns = batch.data.children.map((data, at) => ({
    key: keyOf(batch.schema.fields[at]!.name),
    value: jsonColumn(data),
  }));
  for (const column of vectors) {
    columns.splice(column.at, 0, { key: keyOf(column.name), value: jsonVectors(column) });
  }
  return lines === undefined ? columns : columns.slice(spineColumns);
}

function keyOf(name: string): string {
  return `${JSON.stringify(name)}:`;
}

function jsonVectors(column: VectorColumn): JsonColumn {
  const { dim, dtype, valid } = column;
  const bytes = numberBytes(dim, dtype);
  const vectors = new Uint8Array(valid.length * bytes);
  column.gather(
    vectors,
    Uint32Array.from(valid.keys(), (row) => row * bytes),
  );
  return (row) => {
    if (valid[row] === 0) return null;
    return Array.from(numbersOf(vectors.subarray(row * bytes, (row + 1) * bytes), dtype));
  };
}

function lineOf({ lines }: Answer, columns: readonly LineColumn[], row: number): string {
  let line = lines === undefined ? '{' : lines[row]!.toString('utf8');
  // An empty object is a row too; there is nothing before its first comma.
  let comma = line === '{' ? '' : ',';
  for (const { key, value } of columns) {
    line += `${comma}${key}${JSON.stringify(value(row))}`;
    comma = ',';
  }
  return `${line}}\n`;
}
