import { numberBytes } from '../../store/dtype.ts';
import type { Answer, AnswerFormat } from '../formats/answer.ts';
import { encodeFile, encodingOf } from '../formats/encodings.ts';
import { FileWriter } from './file-writer.ts';
import type { StagingColumn, WindowAnswer } from './join-window.ts';
import type { KeptMemory } from './kept-memory.ts';
import type { StagedVectors } from './staged-vectors.ts';
import type { WrittenFile } from './window-done.ts';

/** Vectors of a slice: as much memory as a processor knows its way about in. */
const SLICE_BYTES = 16 * 2 ** 20;
const SLICE_ROWS_MAX = 131_072;

/** Writes the answer of a window as a file. Throws STORE_CORRUPT, STORE_UNAVAILABLE. */
export function writePart(
  path: string,
  format: AnswerFormat,
  answer: WindowAnswer,
  summary: string,
  memory: KeptMemory,
): WrittenFile {
  const file = new FileWriter(path);
  try {
    const rows = answer.batch.numRows;
    if (encodingOf(format) === undefined) {
      const schema = { schema: answer.batch.schema, vectors: answer.vectors };
      for (const chunk of encodeFile(format, schema, answer, summary)) file.write(chunk);
    } else {
      writeSlices(file, format, answer, summary, memory);
    }
    return file.finish(rows);
  } catch (error) {
    file.abandon();
    throw error;
  }
}

function writeSlices(
  file: FileWriter,
  format: AnswerFormat,
  answer: WindowAnswer,
  summary: string,
  memory: KeptMemory,
): void {
  const encoding = encodingOf(format)!;
  const { vectors, batch } = answer;
  const schema = { schema: batch.schema, vectors };
  const sliceRows = rowsOf(vectors);
  const staged = vectors.map((column, at) =>
    column.stage(sliceRows, (bytes) => memory.take(at + 1, bytes)),
  );
  file.write(encoding.head(schema));
  const metas: unknown[] = [];
  for (let slice = 0; slice * sliceRows < batch.numRows || slice === 0; slice++) {
    const part = sliceOf(answer, slice, sliceRows, staged);
    const { chunks, meta } = encoding.window(part, (bytes) => memory.take(0, bytes));
    for (const chunk of chunks) file.write(chunk);
    metas.push(meta);
  }
  file.write(encoding.tail(schema, metas, summary));
}

function rowsOf(vectors: readonly StagingColumn[]): number {
  const bytes = vectors.reduce((sum, { dim, dtype }) => sum + numberBytes(dim, dtype), 0);
  return Math.max(1, Math.min(SLICE_ROWS_MAX, Math.floor(SLICE_BYTES / bytes)));
}

function sliceOf(
  { batch, vectors, firstRow, lines, spineColumns }: WindowAnswer,
  slice: number,
  sliceRows: number,
  staged: readonly Pick<StagedVectors, 'copy'>[],
): Answer {
  const from = slice * sliceRows;
  const to = from + sliceRows;
  return {
    firstRow: firstRow + from,
    batch: batch.slice(from, to),
    vectors: vectors.map((column, at) => ({
      ...column,
      valid: column.valid.subarray(from, to),
      gather: (out, offsets) => staged[at]!.copy(slice, out, offsets),
    })),
    spineColumns,
    ...(lines !== undefined && { lines: lines.slice(from, to) }),
  };
}
