import { readFile } from 'node:fs/promises';

import { TidemarkError } from '../../ground/errors.ts';
import { formatInstant, type Micros } from '../../ground/time.ts';
import type { Horizon } from '../../store/horizon.ts';
import { strangerAt } from '../../store/lineage.ts';
import { type Pin, pinVersion } from '../../store/pinned-version.ts';
import type { Store } from '../../store/store.ts';
import type { VersionStore } from '../../store/version-store.ts';
import type { AnswerFormat } from '../formats/answer.ts';
import type { SpineSource } from '../spine/source.ts';
import type { RevisionPiece, RevisionPlace, SpinePiece } from '../spine/window.ts';
import type { JoinedWindow, Numbered, WindowFiles, WindowTask } from './messages.ts';
import { type AskedRevisions, type JoinPlan, versionsOf } from './plan.ts';
import type { JoinPool } from './pool.ts';
import { decodeIds, idsPathOf } from './shard-ids.ts';
import type { Turns } from './thread.ts';
import { VectorNumbers } from './vector-numbers.ts';
import type { WindowDone } from './window-done.ts';

/** Where the files of a join go, by the numbers of windows: absolute paths. */
export interface FileTarget {
  part(index: number): string;
  shard(ref: number, index: number): string;
  shardFormat: AnswerFormat;
}

export interface Join {
  store: Store;
  pool: JoinPool;
  plan: JoinPlan;
  /** Undefined where the plan asks for revisions. */
  source: SpineSource | undefined;
  /** Files, or an answer that is sent as it is made. */
  target: FileTarget | 'stream';
  /** The windows of an earlier run that ended early: it goes on behind them. */
  done?: readonly WindowDone[];
  signal: AbortSignal;
}

/** Where the next window of revisions begins; undefined: there are no more. */
type Start = { firstRow: number; after: RevisionPlace | undefined } | undefined;

/** The windows of one join, started in their order. */
export class Windows {
  private join: Join;
  private asked: { view: string; version: string; store: VersionStore }[];
  private pieces: AsyncGenerator<SpinePiece | RevisionPiece>;
  private index: number;
  private numbered: Promise<readonly Numbered[] | undefined>;
  private start: Promise<Start>;
  private over = Promise.withResolvers<undefined>();
  private isOver = false;

  /** `done`: those of an earlier run, behind which it goes on. Throws STORE_CORRUPT. */
  static async behind(done: readonly WindowDone[], join: Join): Promise<Windows> {
    return new Windows(join, done, await takeNumbers(join, done));
  }

  private constructor(join: Join, done: readonly WindowDone[], numbered: readonly Numbered[]) {
    this.join = join;
    const { plan, store, source } = join;
    this.asked = plan.refs.flatMap((ref) =>
      versionsOf(ref).map((version) => {
        return { view: ref.view, version, store: store.version(ref.view, version) };
      }),
    );
    this.index = done.length;
    this.numbered = Promise.resolve(numbered);
    const firstRow = done.reduce((sum, { rows }) => sum + rows, 0);
    const last = done.at(-1);
    const isEnded = last !== undefined && last.next === undefined;
    this.start = Promise.resolve(isEnded ? undefined : { firstRow, after: last?.next });
    this.pieces =
      plan.revisions === undefined ? source!.pieces(firstRow) : this.scans(plan.revisions);
  }

  /**
   * Starts the next window; undefined where there is none. What is resolved is the window under way,
   * and not its end: it is wrapped, or it would be waited for.
   */
  async startNext(): Promise<{ window: Promise<JoinedWindow> } | undefined> {
    const next = await this.pieces.next();
    // A piece without rows is the only one of its spine: who goes on has its window.
    if (next.done === true || (this.index > 0 && next.value.rows === 0)) return undefined;
    const { numbered } = this;
    const afterNumbers = Promise.withResolvers<readonly Numbered[]>();
    const afterScan = Promise.withResolvers<Start>();
    this.numbered = afterNumbers.promise;
    this.start = afterScan.promise;
    const { firstRow } = next.value;
    const window = this.run(this.index++, next.value, {
      // A window that fails numbers nothing: those behind it hear when all is over.
      numbered: Promise.race([numbered, this.over.promise]),
      onNumbered: (now) => afterNumbers.resolve(now),
      onScanned: (rows, after) => afterScan.resolve(after && { firstRow: firstRow + rows, after }),
    });
    // It is waited for in its turn; a failure is not to be forgotten until then.
    window.catch(() => afterScan.resolve(undefined));
    return { window };
  }

  /** No window that is under way is wanted any more. */
  giveUp(): void {
    this.isOver = true;
    this.over.resolve(undefined);
  }

  async close(): Promise<void> {
    await this.pieces.return(undefined);
  }

  private async run(
    index: number,
    piece: SpinePiece | RevisionPiece,
    turns: Turns,
  ): Promise<JoinedWindow> {
    const { plan, pool } = this.join;
    const lent = await pool.lend(this);
    const pins: Pin[] = [];
    try {
      if (this.isOver) throw new TidemarkError('SHUTTING_DOWN', 'the join was given up');
      for (const each of this.asked) pins.push(this.pin(each));
      const versions = pins.map(({ version }) => version);
      const task: WindowTask = { index, piece, plan, versions, files: this.filesOf(index) };
      const joined = await lent.thread.join(task, turns);
      this.requireSnapshot();
      return joined;
    } finally {
      for (const { release } of pins) release();
      lent.giveBack();
    }
  }

  private pin({ view, version, store: before }: Windows['asked'][number]): Pin {
    const { store, plan } = this.join;
    const { snapshot } = plan.question;
    const now = store.version(view, version);
    if (now !== before) {
      throw new TidemarkError(
        'VERSION_NOT_FOUND',
        `the feature view ${view} was dropped, and made anew, during the join`,
      );
    }
    if (plan.revisions !== undefined) refuseBeforeHorizon(view, snapshot, now.horizon);
    return pinVersion(now);
  }

  /** A promotion goes back to the end of a commit, and the join may be of a snapshot behind it (A9). */
  private requireSnapshot(): void {
    const { store, plan } = this.join;
    const { snapshot } = plan.question;
    if (strangerAt(store.catalogue.lineage(), snapshot) === undefined) return;
    throw new TidemarkError(
      'SNAPSHOT_UNAVAILABLE',
      `the join is of the snapshot ${snapshot}, and this store was promoted meanwhile from an earlier one; ask again`,
    );
  }

  private filesOf(index: number): WindowFiles | undefined {
    const { target, plan } = this.join;
    if (target === 'stream') return undefined;
    return {
      part: target.part(index),
      shards: [...plan.refs.keys()].map((ref) => target.shard(ref, index)),
      shardFormat: target.shardFormat,
    };
  }

  /** Each begins where the one before it has ended. */
  private async *scans({ from, to, rowsMax }: AskedRevisions): AsyncGenerator<RevisionPiece> {
    for (;;) {
      const start = await this.start;
      if (start === undefined) return;
      yield { format: 'revisions', ...start, rows: rowsMax, from, to };
    }
  }
}

/** A row can say that it is INVALID, a revision that is gone cannot (A10). */
function refuseBeforeHorizon(view: string, snapshot: number, { moment, seq }: Horizon): void {
  if (snapshot >= seq) return;
  throw new TidemarkError(
    'SNAPSHOT_UNAVAILABLE',
    `the revisions of the snapshot ${snapshot} were asked for, and ${view} keeps its history from ` +
      `${formatInstant(moment as Micros)} on, which is snapshot ${seq}: the horizon of its retention`,
  );
}

/** Numbers vectors as the windows of an earlier run did. */
async function takeNumbers(
  { plan, target }: Join,
  done: readonly WindowDone[],
): Promise<readonly Numbered[]> {
  const all = plan.refs.map(() => new VectorNumbers());
  for (const { index, shards = [] } of done) {
    for (const [ref, shard] of shards.entries()) {
      if (shard === undefined || target === 'stream') continue;
      const path = idsPathOf(target.shard(ref, index));
      const ids = decodeIds(await readFile(path), shard.rows);
      if (ids === undefined) {
        throw new TidemarkError('STORE_CORRUPT', `${path} is not as it was written`);
      }
      for (const id of ids) all[ref]!.add(id);
    }
  }
  return all.map(({ slabs, next }) => ({ slabs, next }));
}
