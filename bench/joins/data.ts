import { join } from 'node:path';

import type { RecordBatch } from 'apache-arrow';

import { RevisionBatch } from '../../src/store/batch.ts';
import { readPiece } from '../../src/timetravel/spine/read.ts';
import { openSpineFile } from '../../src/timetravel/spine/source.ts';
import { pythonWith, runPython } from '../../test/python.ts';
import { TRAINER_PACKAGES } from '../../test/support/trainers.ts';
import { withFolder } from '../harness/folder.ts';
import { openJobs } from '../harness/jobs.ts';
import { entitiesOf, type Shape, shapeText } from './shape.ts';

/** The same vectors twice, as Parquet and in a store, and a spine. */
export interface JoinData {
  shape: Shape;
  /** All of it lies in here. */
  folder: string;
  history: string;
  spine: string;
  /** The data directory of the store. */
  store: string;
  /** How long the store took to take the history in, durably. */
  ingestSeconds: number;
  python: string;
}

const GENERATOR = join(import.meta.dirname, 'generate.py');
const BATCH = 5_000;
const ROWS_READ = 131_072;

/** Makes it, gives it to `work`, and removes it. Where: in the folder for temporary files. */
export async function withData(
  shape: Shape,
  work: (data: JoinData) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => work(await makeData(folder, shape)));
}

async function makeData(folder: string, shape: Shape): Promise<JoinData> {
  console.error(`making ${shapeText(shape)}`);
  const python = await pythonWith(TRAINER_PACKAGES);
  const { rows, revisions, dim } = shape;
  const [history, spine] = [join(folder, 'history.parquet'), join(folder, 'spine.parquet')];
  const generate = async (what: string, path: string, ...numbers: number[]) =>
    runPython(python, [GENERATOR, what, path, ...numbers.map(String)]);
  await generate('history', history, revisions, entitiesOf(shape), dim);
  await generate('spine', spine, rows, entitiesOf(shape));
  const store = join(folder, 'data');
  const ingestSeconds = await ingest(store, history, dim);
  return { shape, folder, history, spine, store, ingestSeconds, python };
}

/** Commits the history to a new store, each batch flushed; seconds from file to closed store. */
async function ingest(directory: string, history: string, dim: number): Promise<number> {
  const start = performance.now();
  const store = openJobs(directory, dim);
  const limits = { rowsMax: ROWS_READ, bytesMax: 2 ** 26, lineBytesMax: 2 ** 20 };
  const source = await openSpineFile(history, 'parquet', limits);
  // One batch is put together while the one before is on its way to the disk.
  let committed: Promise<unknown> = Promise.resolve();
  for await (const piece of source.pieces()) {
    const { batch } = await readPiece(piece);
    for (let from = 0; from < batch.numRows; from += BATCH) {
      const rows = rowsOf(batch.slice(from, from + BATCH), dim);
      await committed;
      committed = store.commit('job', 'v1', { rows });
    }
  }
  await committed;
  await store.close();
  return (performance.now() - start) / 1_000;
}

function rowsOf(batch: RecordBatch, dim: number): RevisionBatch {
  const rows = new RevisionBatch(dim * 4, batch.numRows);
  const ids = batch.getChild('job_id')!;
  const events = batch.getChild('event_timestamp')!.data[0]!.values as BigInt64Array;
  const vectors = batch.getChild('vector')!.data[0]!;
  const numbers = vectors.children[0]!.values as Float32Array;
  for (let at = 0; at < batch.numRows; at++) {
    rows.nextPayload().set(bytesOf(numbers, at * dim, dim));
    const event = Number(events[at]);
    rows.addRow(ids.get(at) as string, event, event, rows.addFilled());
  }
  return rows;
}

function bytesOf(numbers: Float32Array, from: number, count: number): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset + from * 4, count * 4);
}
