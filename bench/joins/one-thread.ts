/**
 * Does what a thread of an export does, and says where the time goes: once for each line on standard
 * input, with a line of JSON when it is done. To `write`, it writes files whose paths begin as the
 * line says.
 *
 *     node bench/joins/one-thread.ts <resolve|write> <data directory> <spine.parquet>
 */
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';

import { systemClock } from '../../src/ground/time.ts';
import { openPinned, pinVersion } from '../../src/store/pinned-version.ts';
import { openStore } from '../../src/store/store.ts';
import type { VectorColumn } from '../../src/timetravel/formats/answer.ts';
import { encodeFile } from '../../src/timetravel/formats/encodings.ts';
import { FileWriter } from '../../src/timetravel/join/file-writer.ts';
import {
  answerOf,
  type ResolvedWindow,
  resolveRows,
} from '../../src/timetravel/join/join-window.ts';
import { windowLimits } from '../../src/timetravel/join/run.ts';
import { readPiece } from '../../src/timetravel/spine/read.ts';
import { openSpineFile } from '../../src/timetravel/spine/source.ts';
import { PRESENT } from '../../src/timetravel/status.ts';
import { planOf } from '../../test/support/join-plan.ts';
import { type Stages, THREADS } from './peer.ts';

/** What an export may have by default. */
const MEMORY_BYTES = 2 ** 30;

const [what, directory = '', spine = ''] = process.argv.slice(2);
const store = openStore(directory, systemClock);
const plan = planOf(store, { format: 'parquet' });
const limits = { ...windowLimits(plan, MEMORY_BYTES, THREADS), lineBytesMax: 2 ** 20 };
let memory = new Uint8Array();

for await (const path of createInterface({ input: process.stdin })) {
  const stages = { read: 0, resolve: 0, lay_out: 0, gather: 0, sha256: 0, write: 0 };
  const winners = { count: 0, sum: 0n };
  const pin = pinVersion(store.version('job', 'v1'));
  const versions = [openPinned(pin.version)];
  const source = await openSpineFile(spine, 'parquet', limits);
  for await (const piece of source.pieces()) {
    const began = performance.now();
    const window = await readPiece(piece);
    const read = performance.now();
    const resolved = resolveRows(window, plan, versions);
    stages.read += read - began;
    stages.resolve += performance.now() - read;
    count(resolved, winners);
    if (what === 'write') write(resolved, `${path}-${piece.firstRow}`, stages);
  }
  await source.close();
  pin.release();
  console.log(JSON.stringify({ stages, found: `${winners.count} found, ${winners.sum}` }));
}
await store.close();

/** Adds the winners, and their event times, whose sum has more digits than a number. */
function count({ resolutions }: ResolvedWindow, winners: { count: number; sum: bigint }): void {
  const { statuses, events } = resolutions[0]!;
  let [high, low] = [0, 0];
  for (let row = 0; row < statuses.length; row++) {
    if (statuses[row] !== PRESENT) continue;
    winners.count++;
    const part = events[row]! % 2 ** 26;
    low += part;
    high += (events[row]! - part) / 2 ** 26;
  }
  winners.sum += BigInt(high) * 2n ** 26n + BigInt(low);
}

function write(resolved: ResolvedWindow, path: string, stages: Stages): void {
  const began = performance.now();
  let gathered = 0;
  const answer = answerOf(resolved);
  const vectors = answer.vectors.map((column): VectorColumn => {
    const gather: VectorColumn['gather'] = (out, offsets) => {
      const start = performance.now();
      column.gather(out, offsets);
      gathered += performance.now() - start;
    };
    return { ...column, gather };
  });
  const schema = { schema: answer.batch.schema, vectors };
  const chunks = encodeFile('parquet', schema, { ...answer, vectors }, '{}', room);
  const encoded = performance.now();
  const file = new FileWriter(path);
  for (const chunk of chunks) file.write(chunk);
  file.finish(resolved.window.batch.numRows);
  const written = performance.now();
  // Once more, alone: the file was hashed while it was written.
  const hash = createHash('sha256');
  for (const chunk of chunks) hash.update(chunk);
  hash.digest();
  const hashed = performance.now() - written;
  stages.lay_out += encoded - began - gathered;
  stages.gather += gathered;
  stages.sha256 += hashed;
  stages.write += written - encoded - hashed;
}

/** As a thread of an export has it: the same memory for each window. */
function room(bytes: number): Uint8Array<ArrayBuffer> {
  if (memory.byteLength < bytes) memory = new Uint8Array(bytes);
  return memory.subarray(0, bytes);
}
