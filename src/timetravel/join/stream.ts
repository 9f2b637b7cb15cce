import { vectorBytes } from '../../store/dtype.ts';
import type { Store } from '../../store/store.ts';
import type { SpineSource } from '../spine/source.ts';
import type { JoinPlan } from './plan.ts';
import type { JoinPool } from './pool.ts';
import { runJoin } from './run.ts';

/** So many bytes of vectors at a time: the first rows come soon, and memory is small. */
const VECTOR_BYTES = 4 * 2 ** 20;
const ROWS_MAX = 4_096;
const PIECE_BYTES = 4 * 2 ** 20;
/** Row groups are as large as their writer likes; to read one anew for each piece would be slow. */
const GROUP_BYTES = 256 * 2 ** 20;

/** How large the pieces of a spine are whose answer is sent as it is made. */
export function streamLimits({ refs }: JoinPlan): {
  rowsMax: number;
  bytesMax: number;
  groupBytesMax: number;
} {
  const rowBytes = refs.reduce((sum, { dim, dtype }) => sum + vectorBytes(dim, dtype), 0);
  const rowsMax = Math.max(1, Math.min(ROWS_MAX, Math.floor(VECTOR_BYTES / rowBytes)));
  return { rowsMax, bytesMax: PIECE_BYTES, groupBytesMax: GROUP_BYTES };
}

/** The bytes of a join's answer, as they come to be; closes the source. */
export async function* streamJoin(join: {
  store: Store;
  pool: JoinPool;
  plan: JoinPlan;
  source: SpineSource;
  signal: AbortSignal;
}): AsyncGenerator<Uint8Array> {
  try {
    for await (const { chunks = [] } of runJoin({ ...join, target: 'stream' })) yield* chunks;
  } finally {
    await join.source.close();
  }
}
