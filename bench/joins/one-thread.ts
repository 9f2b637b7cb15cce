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
import {
  answerOf,
  type ResolvedWindow,
  resolveRows,
  type StagingColumn,
} from '../../src/timetravel/join/join-window.ts';
import { KeptMemory } from '../../src/timetravel/join/kept-memory.ts';
import { writePart } from '../../src/timetravel/join/part.ts';
import { windowLimits } from '../../src/timetravel/join/run.ts';
import { readPiece } from '../../src/timetravel/spine/read.ts';
import { openSpineFile } from '../../src/timetravel/spine/source.ts';
import { PRESENT } from '../../src/timetravel/status.ts';
import { planOf } from '../../test/support/join-plan.ts';
import type { Stages } from './stages.ts';
import { THREADS } from './threads.ts';

/** What an export may have by default. */
const MEMORY_BYTES = 2 ** 30;
const HASHED = Buffer.alloc(16 * 2 ** 20);

const [what, directory = '', spine = ''] = process.argv.slice(2);
const store = openStore(directory, systemClock);
// Without vectors in its rows, where none are wanted: windows are as large as they may be then.
const plan = planOf(store, {
  format: 'parquet',
  vectors: what === 'write' ? 'inline' : 'ref',
});
const limits = { ...windowLimits(plan, MEMORY_BYTES, THREADS), lineBytesMax: 2 ** 20 };
const memory = new KeptMemory();

for await (const path of createInterface({ input: process.stdin })) {
  const stages = { read: 0, resolve: 0, gather: 0, sha256: 0, write: 0 };
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
  const answer = answerOf(resolved);
  let gathered = 0;
  const timed = <Result>(work: () => Result): Result => {
    const start = performance.now();
    const result = work();
    gathered += performance.now() - start;
    return result;
  };
  const vectors = answer.vectors.map((column): StagingColumn => ({
    ...column,
    stage: (sliceRows, keep) => {
      const staged = timed(() => column.stage(sliceRows, keep));
      return { copy: (slice, out, offsets) => timed(() => staged.copy(slice, out, offsets)) };
    },
  }));
  const { bytes } = writePart(path, 'parquet', { ...answer, vectors }, '{}', memory);
  const written = performance.now();
  // As many bytes again, alone: the file was hashed while it was written.
  const hash = createHash('sha256');
  for (let left = bytes; left > 0; left -= HASHED.byteLength) {
    hash.update(left < HASHED.byteLength ? HASHED.subarray(0, left) : HASHED);
  }
  hash.digest();
  const hashed = performance.now() - written;
  stages.gather += gathered;
  stages.sha256 += hashed;
  stages.write += written - began - gathered - hashed;
}
