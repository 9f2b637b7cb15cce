import { stat } from 'node:fs/promises';

import type { RecordBatch } from 'apache-arrow';
import type { ParquetFile, ReaderOptions, RecordBatch as WasmBatch } from 'parquet-wasm/node';

import { TidemarkError } from '../../ground/errors.ts';
import { decodeBatches, hasDictionary } from './arrow.ts';
import { type ParquetPart, partOf } from './parquet-part.ts';
import type { ParquetPiece, SpineWindow } from './window.ts';

/**
 * Opens a file and uses it. Throws BAD_REQUEST for what is no Parquet file.
 *
 * Only for threads beside the main one: damaged pages may make parquet-wasm panic, in a callback of
 * its own that nobody can catch, which would end the process. Here it fails the file.
 */
async function withParquet<Result>(
  blob: Blob,
  use: (file: ParquetFile) => Promise<Result>,
): Promise<Result> {
  // Imported on first use: it is megabytes of code that most servers never need.
  const { ParquetFile: File } = await import('parquet-wasm/node');
  const panic = Promise.withResolvers<never>();
  const onUncaught = (error: Error) => {
    // WebAssembly's own error, of which the types do not know.
    if (error.name !== 'RuntimeError') throw error;
    const why = `its reader broke off (${error.message}): it is damaged, or needs over 4 GiB`;
    panic.reject(new Error(why, { cause: error }));
  };
  process.on('uncaughtException', onUncaught);
  try {
    return await Promise.race([openAndUse(), panic.promise]);
  } catch (error) {
    if (error instanceof TidemarkError) throw error;
    throw noParquet(error);
  } finally {
    process.off('uncaughtException', onUncaught);
  }

  async function openAndUse(): Promise<Result> {
    using file = await File.fromFile(blob);
    return await use(file);
  }
}

export function noParquet(cause: unknown): TidemarkError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new TidemarkError('BAD_REQUEST', `the spine cannot be read as Parquet: ${why}`, { cause });
}

const FEW_PIECES = 4;

/**
 * The row group that was decoded last in this thread. To read some rows of a group is to decompress
 * most of it, and writers like groups of a million rows.
 */
let held: { key: string; batch: RecordBatch } | undefined;

/** Reads a piece: of the row groups that it lies in, its rows. Throws LIMIT_EXCEEDED. */
export async function readParquet(piece: ParquetPiece): Promise<SpineWindow> {
  const { firstRow } = piece;
  const nameOf = (row: number) => `row ${firstRow + row + 1}`;
  return { firstRow, batch: await batchOf(piece), nameOf };
}

async function batchOf(piece: ParquetPiece): Promise<RecordBatch> {
  const { path, rows, isHeld } = piece;
  const { size, mtimeMs } = await stat(path);
  const { offset, groupRows, firstGroup, blob, close } = open(piece);
  const read = withParquet(blob, async (file) => {
    const [first = 0] = groupRows;
    if (first === 0) return decodeBatches(file.schema().intoIPCStream());
    const key = `${path} ${size} ${mtimeMs} ${firstGroup}`;
    const isPart = groupRows.length === 1 && rows < first;
    if (!isPart || held?.key !== key) {
      held = undefined;
      // Other threads take most of the few pieces, and behind the last there is none.
      const isAlone = !isPart || rows > first / FEW_PIECES || offset + rows === first;
      if (isAlone || !isHeld) return decode(file, piece, { offset, limit: rows });
      held = { key, batch: await decode(file, piece, { limit: first }) };
    }
    const { batch } = held;
    if (offset + rows === first) held = undefined;
    return batch.slice(offset, offset + rows);
  });
  return read.finally(close);
}

function open({ path, firstRow, rows }: ParquetPiece): ParquetPart {
  try {
    return partOf(path, firstRow, rows);
  } catch (error) {
    throw noParquet(error);
  }
}

const STEPS = 16;
const STEP_ROWS_MIN = 1_024;
const STEP_ROWS_MAX = 8_192;

/**
 * Reads rows step by step: what they become is known once they are decoded, for long texts may stand
 * close together, and footers may lie.
 */
async function decode(
  file: ParquetFile,
  { firstRow, rows, bytesMax }: ParquetPiece,
  options: ReaderOptions & { limit: number },
): Promise<RecordBatch> {
  const { schema } = decodeBatches(file.schema().intoIPCStream());
  const { limit } = options;
  if (hasDictionary(schema.fields)) {
    // Each step would bring a dictionary of its own.
    const table = await file.read({ ...options, batchSize: limit });
    return decodeBatches(table.intoIPCStream());
  }
  const batchSize = Math.min(STEP_ROWS_MAX, Math.max(STEP_ROWS_MIN, Math.ceil(limit / STEPS)));
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const steps = await file.stream({ ...options, batchSize });
  for await (const step of steps as ReadableStream<WasmBatch>) {
    const part = step.intoIPCStream();
    bytes += part.length;
    if (bytes > bytesMax) {
      const where = `from row ${firstRow + 1} to ${firstRow + rows}`;
      throw new TidemarkError(
        'LIMIT_EXCEEDED',
        `the spine takes more than ${bytesMax} bytes in memory ${where}, far more than its footer ` +
          'promised or its other rows do: write smaller row groups, leave out columns of long ' +
          'texts, or make an export with more exports.memory_bytes',
      );
    }
    parts.push(part);
  }
  return decodeBatches(...parts);
}
