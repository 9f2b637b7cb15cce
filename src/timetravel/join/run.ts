import { tableFromIPC } from 'apache-arrow';

import { vectorBytes } from '../../store/dtype.ts';
import { encodingOf } from '../formats/encodings.ts';
import type { JoinedWindow, SentSchema } from './messages.ts';
import type { JoinPlan } from './plan.ts';
import { addCounts, firstInvalid, noCounts, summaryOf } from './summary.ts';
import type { InvalidRow, WindowDone } from './window-done.ts';
import { type Join, Windows } from './windows.ts';

/** What a row takes in a thread beside its vectors, as measured: its columns, twice, its id, its answers. */
const ROW_BYTES = 700;
/** What a thread has however small its windows are: code, and memory that is kept or not yet collected. */
const THREAD_BYTES = 64 * 2 ** 20;
/** More than this at once gains nothing. */
const ROWS_MAX = 524_288;

/** How large the pieces of a spine may be, where all threads together have so much memory. */
export function windowLimits(
  { refs, vectors }: Pick<JoinPlan, 'refs' | 'vectors'>,
  memoryBytes: number,
  threads: number,
): { rowsMax: number; bytesMax: number; threads: number } {
  const inline = refs.reduce((sum, { dim, dtype }) => sum + vectorBytes(dim, dtype), 0);
  const rowBytes = ROW_BYTES * refs.length + (vectors === 'inline' ? inline : 0);
  const share = memoryBytes / threads;
  const bytes = Math.max(share / 2, share - THREAD_BYTES);
  return {
    rowsMax: Math.max(1, Math.min(ROWS_MAX, Math.floor(bytes / rowBytes))),
    // Text is several times as large when it is read.
    bytesMax: Math.max(2 ** 20, Math.floor(bytes / 8)),
    threads,
  };
}

/**
 * Joins a spine window by window on the threads of the pool; tells of the windows in their order, and
 * of an answer that is sent also of its tail. Memory is that of a window a thread. All rows are
 * answered at the plan's snapshot, whatever is written meanwhile (A9); the pages that a window reads
 * are kept while it does, and no longer.
 * Throws what a spine and a window can, VERSION_NOT_FOUND for a view that is dropped meanwhile, and
 * the signal's reason.
 */
export async function* runJoin(join: Join): AsyncGenerator<WindowDone> {
  const { plan, target, pool, signal, done = [] } = join;
  const windows = await Windows.behind(done, join);
  const end = new StreamEnd(plan);
  const started: Promise<JoinedWindow>[] = [];
  let next: ReturnType<Windows['startNext']> | undefined;
  let isEnded = false;
  try {
    for (;;) {
      signal.throwIfAborted();
      if (!isEnded && started.length < pool.threads) next ??= windows.startNext();
      if (next === undefined && started.length === 0) break;
      // More of a spine may be long in coming: what is answered is told meanwhile.
      const came = await Promise.race([
        ...(next === undefined ? [] : [next.then((window) => ({ window }))]),
        ...started.slice(0, 1).map(async (joined) => ({ joined: await joined })),
      ]);
      if ('joined' in came) {
        void started.shift();
        if (target === 'stream') end.add(came.joined);
        yield came.joined.done;
        continue;
      }
      next = undefined;
      if (came.window === undefined) isEnded = true;
      else started.push(came.window.window);
    }
    if (target === 'stream') yield end.tail();
  } finally {
    windows.giveUp();
    const last = await next?.catch(() => undefined);
    await Promise.allSettled([...started, last?.window]);
    await windows.close();
  }
}

/** What the end of an answer that is sent is made of. */
class StreamEnd {
  private plan: JoinPlan;
  private metas: unknown[] = [];
  private rows = 0;
  private schema: SentSchema | undefined;
  private counts;
  private invalid: InvalidRow[] = [];

  constructor(plan: JoinPlan) {
    this.plan = plan;
    this.counts = noCounts(plan);
  }

  add({ done, meta, schema }: JoinedWindow): void {
    this.metas.push(meta);
    this.schema ??= schema;
    this.rows += done.rows;
    addCounts(this.counts, done.counts);
    this.invalid = firstInvalid(this.invalid, done.invalid);
  }

  tail(): WindowDone {
    const { plan, rows, counts, invalid, metas } = this;
    const { batch, vectors } = this.schema!;
    const { schema } = tableFromIPC(batch);
    const summary = JSON.stringify(summaryOf(plan, rows, counts, invalid));
    const chunks = [encodingOf(plan.format)!.tail({ schema, vectors }, metas, summary)];
    return { index: metas.length, firstRow: rows, rows: 0, counts: [], invalid: [], chunks };
  }
}
