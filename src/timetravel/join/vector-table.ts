import { numberBytes } from '../../store/dtype.ts';
import { radixOrder } from '../../store/radix-order.ts';
import type { Answer, AnswerFormat } from '../formats/answer.ts';
import { encodingOf } from '../formats/encodings.ts';
import { planSafetensors, TENSOR_DTYPES } from '../formats/safetensors.ts';
import * as code from '../status.ts';
import { floatColumn, rowColumn } from './columns.ts';
import { FileWriter } from './file-writer.ts';
import { batchOf, type ResolvedWindow } from './join-window.ts';
import type { KeptMemory } from './kept-memory.ts';
import type { Numbered } from './messages.ts';
import type { JoinRef } from './plan.ts';
import type { VectorReads } from './reigning.ts';
import { readScales } from './scales.ts';
import { encodeIds, idsPathOf } from './shard-ids.ts';
import { VectorNumbers } from './vector-numbers.ts';
import type { WrittenFile } from './window-done.ts';

/** Vectors of a table that are in memory at a time. */
const SLICE_BYTES = 32 * 2 ** 20;

/** The vectors of a window by their rows in the table of distinct ones. */
export interface NumberedVectors {
  numbers: VectorNumbers;
  /** One a row of the window; −1 where it has no vector. */
  rows: Int32Array;
  /** Those that no window before had. */
  fresh: FreshVectors;
}

interface FreshVectors {
  /** Vector ids, in the order of their rows. */
  ids: Float64Array;
  /** The row of the first of them. */
  first: number;
}

/** Gives each vector of the window its row, those that are new the next ones. */
export function numberVectors(
  { resolutions }: ResolvedWindow,
  numbered: readonly Numbered[],
): NumberedVectors[] {
  return resolutions.map(({ statuses, vectorIds }, at) => {
    const numbers = new VectorNumbers([...numbered[at]!.slabs], numbered[at]!.next);
    const first = numbers.next;
    const present = new Int32Array(statuses.length);
    let count = 0;
    for (let row = 0; row < statuses.length; row++) {
      if (statuses[row] === code.PRESENT) present[count++] = row;
    }
    const ids = Float64Array.from(present.subarray(0, count), (row) => vectorIds[row]!);
    const rows = new Int32Array(statuses.length).fill(-1);
    const fresh = new Float64Array(count);
    // In the order of ids, which is about that of the file.
    for (const place of radixOrder(ids)) {
      const id = ids[place]!;
      let number = numbers.rowOf(id);
      if (number < 0) {
        number = numbers.add(id);
        fresh[number - first] = id;
      }
      rows[present[place]!] = number;
    }
    return { numbers, rows, fresh: { ids: fresh.slice(0, numbers.next - first), first } };
  });
}

/**
 * Writes the window's share of a table of distinct vectors; undefined where none of them is new.
 * Beside it, in a file with `.ids` behind its name, the vector ids, for a join that goes on after a
 * crash.
 */
export function writeShard(
  path: string,
  format: AnswerFormat,
  ref: JoinRef,
  { ids, first }: FreshVectors,
  vectors: VectorReads,
  memory: KeptMemory,
): WrittenFile | undefined {
  if (ids.length === 0) return undefined;
  writeRows(idsPathOf(path), ids.length, (file) => file.write(encodeIds(ids)));
  return writeRows(path, ids.length, (file) => {
    if (format === 'safetensors') writeTensor(file, ref, ids, vectors, memory);
    else writeTable(file, format, ref, { ids, first }, vectors, memory);
  });
}

function writeRows(path: string, rows: number, write: (file: FileWriter) => void): WrittenFile {
  const file = new FileWriter(path);
  try {
    write(file);
    return file.finish(rows);
  } catch (error) {
    file.abandon();
    throw error;
  }
}

/**
 * One matrix: its first row is the table's row `first`, which the manifest tells. Of int8 the scales
 * stand before it.
 */
function writeTensor(
  file: FileWriter,
  { dim, dtype }: JoinRef,
  ids: Float64Array,
  vectors: VectorReads,
  memory: KeptMemory,
): void {
  const rows = ids.length;
  const vector = { name: 'vector', dtype: TENSOR_DTYPES[dtype], shape: [rows, dim] };
  if (dtype === 'int8') {
    const scale = { name: 'scale', dtype: 'F32' as const, shape: [rows] };
    file.write(planSafetensors([scale, vector], {}).header);
    const all = Int32Array.from(ids, (_, row) => row);
    const scales = readScales(vectors, dim, ids, all);
    file.write(new Uint8Array(scales.buffer));
  } else file.write(planSafetensors([vector], {}).header);
  const bytes = numberBytes(dim, dtype);
  const step = Math.max(1, Math.floor(SLICE_BYTES / bytes));
  for (let from = 0; from < ids.length; from += step) {
    const slice = ids.subarray(from, from + step);
    const own = Int32Array.from(slice, (_, at) => at);
    const out = memory.take(0, slice.length * bytes);
    const offsets = Uint32Array.from(own, (row) => row * bytes);
    vectors.copy(slice, own, out, offsets, bytes);
    file.write(out);
  }
}

function writeTable(
  file: FileWriter,
  format: AnswerFormat,
  { dim, dtype }: JoinRef,
  { ids, first }: FreshVectors,
  vectors: VectorReads,
  memory: KeptMemory,
): void {
  const bytes = numberBytes(dim, dtype);
  const encoding = encodingOf(format)!;
  const step = Math.max(1, Math.floor(SLICE_BYTES / bytes));
  const metas: unknown[] = [];
  for (let from = 0; from < ids.length; from += step) {
    const slice = ids.subarray(from, from + step);
    const rows = Int32Array.from(slice, (_, at) => at);
    const numbers = rowColumn(
      'vector_row',
      rows.map((row) => first + from + row),
    );
    const scales =
      dtype === 'int8' ? [floatColumn('scale', readScales(vectors, dim, slice, rows))] : [];
    const answer: Answer = {
      firstRow: first + from,
      batch: batchOf([numbers, ...scales], slice.length),
      vectors: [
        {
          name: 'vector',
          at: 1,
          dim,
          dtype,
          valid: new Uint8Array(slice.length).fill(1),
          gather: (out, offsets) => vectors.copy(slice, rows, out, offsets, bytes),
        },
      ],
      spineColumns: 0,
    };
    const schema = { schema: answer.batch.schema, vectors: answer.vectors };
    if (from === 0) file.write(encoding.head(schema));
    const { chunks, meta } = encoding.window(answer, (size) => memory.take(0, size));
    for (const chunk of chunks) file.write(chunk);
    metas.push(meta);
    if (from + step >= ids.length) file.write(encoding.tail(schema, metas, '{}'));
  }
}
