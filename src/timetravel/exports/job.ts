import { stat } from 'node:fs/promises';

import { TidemarkError } from '../../ground/errors.ts';
import type { Micros } from '../../ground/time.ts';
import { requireReserve } from '../../store/folders.ts';
import { strangerAt } from '../../store/lineage.ts';
import type { Store } from '../../store/store.ts';
import { type JoinPlan, versionsOf } from '../join/plan.ts';
import { addCounts, firstInvalid, noCounts } from '../join/summary.ts';
import type { WindowDone } from '../join/window-done.ts';
import type { FileTarget } from '../join/windows.ts';
import { openSpineFile, type SpineSource } from '../spine/source.ts';
import type { ExportFolder } from './folder.ts';
import { manifestOf } from './manifest.ts';
import { partPath, shardPath } from './paths.ts';
import type { ExportRecord, ExportTotals } from './record.ts';

/** Joins a spine from behind `done` on, and writes the files of one window after another. */
export type RunWindows = (job: {
  plan: JoinPlan;
  /** Undefined: the plan asks for revisions. */
  source: SpineSource | undefined;
  target: FileTarget;
  done: readonly WindowDone[];
  signal: AbortSignal;
}) => AsyncGenerator<WindowDone>;

/**
 * Runs an export from where it is to its manifest; `record` is kept up to date. After a crash it
 * goes on behind the last window that was noted, at the same snapshot. Throws what keeps it from
 * that, and the signal's reason.
 */
export async function runExport(
  record: ExportRecord,
  folder: ExportFolder,
  store: Store,
  runWindows: RunWindows,
  signal: AbortSignal,
): Promise<void> {
  requireSameStore(record, store);
  folder.make();
  const { plan, vectorFormat } = record;
  const windows = await folder.recoverWindows(plan, vectorFormat, signal);
  record.done = noTotals(plan);
  for (const window of windows) addWindow(record.done, window);
  const source = await openSource(record, folder);
  try {
    if (source?.rows !== undefined) record.rowsTotal = source.rows;
    const target = {
      part: (index: number) => folder.file(partPath(index, plan.format)),
      shard: (ref: number, index: number) =>
        folder.file(shardPath(plan.refs[ref]!.name, index, vectorFormat)),
      shardFormat: vectorFormat,
    };
    signal.throwIfAborted();
    const done = [...windows];
    for await (const window of runWindows({ plan, source, target, done, signal })) {
      await folder.addWindow(window);
      windows.push(window);
      addWindow(record.done, window);
      requireReserve(folder.path);
    }
  } finally {
    await source?.close();
  }
  signal.throwIfAborted();
  // Rows of one file and of another, which came to its place meanwhile, are no spine.
  await requireSameSpine(record, folder);
  record.rowsTotal = record.done.rows;
  await folder.writeManifest(manifestOf(record, windows, store.clock()));
}

export function noTotals(plan: Pick<JoinPlan, 'refs'>): ExportTotals {
  return { rows: 0, bytes: 0, files: 0, counts: noCounts(plan), invalid: [] };
}

function addWindow(totals: ExportTotals, window: WindowDone): void {
  const { rows, part, shards = [], counts, invalid } = window;
  totals.rows += rows;
  for (const file of [part, ...shards]) {
    if (file === undefined) continue;
    totals.files++;
    totals.bytes += file.bytes;
  }
  addCounts(totals.counts, counts);
  totals.invalid = firstInvalid(totals.invalid, invalid);
}

/** When each version that the plan asks was made. Throws VIEW_NOT_FOUND, VERSION_NOT_FOUND. */
export function madeOf({ refs }: Pick<JoinPlan, 'refs'>, { catalogue }: Store): Micros[] {
  return askedOf({ refs }).map(({ view, version }) => {
    return catalogue.mustGetVersion(catalogue.mustGetView(view), version).created_timestamp;
  });
}

/** The model versions that it reads. */
export function askedOf({ refs }: Pick<JoinPlan, 'refs'>): { view: string; version: string }[] {
  return refs.flatMap((ref) => versionsOf(ref).map((version) => ({ view: ref.view, version })));
}

/** Between its parts an export may have waited for another start, perhaps of a restored store. */
function requireSameStore({ plan, made }: ExportRecord, store: Store): void {
  const found = madeOf(plan, store);
  const other = askedOf(plan).find((_, at) => found[at] !== made[at]);
  if (other !== undefined) {
    throw new TidemarkError(
      'VERSION_NOT_FOUND',
      `the model version ${other.view}@${other.version} was dropped, and made anew, since the export was asked for`,
    );
  }
  const { snapshot } = plan.question;
  const stranger = strangerAt(store.catalogue.lineage(), snapshot);
  if (snapshot > store.snapshot || stranger !== undefined) {
    throw new TidemarkError(
      'SNAPSHOT_UNAVAILABLE',
      `the export is of the snapshot ${snapshot}, which this store has not: another one has taken its place`,
    );
  }
}

/** The spine, where there is one; throws BAD_REQUEST for a file that is another one by now. */
async function openSource(
  record: ExportRecord,
  folder: ExportFolder,
): Promise<SpineSource | undefined> {
  const { spine, limits } = record;
  if (spine === undefined) return undefined;
  await requireSameSpine(record, folder);
  const { path = folder.spine, format, columnTypes } = spine;
  return openSpineFile(path, format, { ...limits, columnTypes });
}

async function requireSameSpine({ spine }: ExportRecord, folder: ExportFolder): Promise<void> {
  if (spine === undefined) return;
  const { path = folder.spine, bytes, modified } = spine;
  const found = await stat(path).catch(() => undefined);
  const isSame = found?.size === bytes && (modified === undefined || found.mtimeMs === modified);
  if (!isSame) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `the spine ${path} ${found === undefined ? 'is gone' : 'was changed'} since the export was asked for`,
    );
  }
}
