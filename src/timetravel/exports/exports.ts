import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';

import { TidemarkError, TryLater } from '../../ground/errors.ts';
import { type Micros, MICROS_PER_SECOND } from '../../ground/time.ts';
import type { AskedExport, AskedRows, ExportStatus, Needs } from './asked.ts';
import { ExportFolder } from './folder.ts';
import { askedOf, madeOf, noTotals, runExport, type RunWindows } from './job.ts';
import type { Manifest } from './manifest.ts';
import { type ExportRecord, type ExportSpine, hasEnded, newExportId } from './record.ts';
import { refusedByDisk, removeSpooled, spoolSpine, withSpooled } from './spool.ts';

interface Running {
  abort: AbortController;
  ended: Promise<void>;
  began: number;
  /** That a crash had left: they are no work of this run. */
  rowsBefore: number;
}

/** When somebody who was refused may find a place, at the least. */
const RETRY_SECONDS = 10;

/**
 * Exports: training joins whose answers become files. A few run at once, the others wait in the
 * order of their asking; each is on the disk from when it is taken in, so that a process that
 * ended, however it did, goes on with it at its next start.
 */
export class Exports {
  /** Counted since the start of the process. */
  readonly counts = { rows: 0, bytes: 0, failed: 0 };
  private needs: Needs;
  /** By id, which is the order of their asking. */
  private records = new Map<string, ExportRecord>();
  private running = new Map<string, Running>();
  /** Spines that are coming in: each has its place among those that wait. */
  private uploads = 0;
  private isStopped = false;
  private lastManifest: Manifest | undefined;

  constructor(needs: Needs) {
    this.needs = needs;
  }

  /** Goes on with what an earlier process has left. */
  async start(): Promise<void> {
    const { root, log } = this.needs;
    if (!existsSync(root)) return;
    await removeSpooled(root);
    for (const name of (await readdir(root)).toSorted()) {
      const folder = new ExportFolder(root, name);
      try {
        const record = await folder.readRecord();
        // It was never answered for: its spine did not arrive whole.
        if (record === undefined) {
          await folder.remove();
          continue;
        }
        this.records.set(record.id, record);
        if (hasEnded(record)) await this.clear(record);
      } catch (error) {
        log.error({ err: error, export: name }, 'an export cannot be read, and is passed by');
      }
    }
    await this.tidy();
    this.pump();
  }

  /** What runs is broken off, and goes on at the next start. */
  async stop(): Promise<void> {
    this.isStopped = true;
    const running = [...this.running.values()];
    for (const { abort } of running) {
      abort.abort(new TidemarkError('SHUTTING_DOWN', 'the server is stopping'));
    }
    await Promise.all(running.map(async ({ ended }) => ended));
  }

  /** Whether one that has not ended reads that version, and would fail without it. */
  isReading(view: string, version: string): boolean {
    return [...this.records.values()].some(
      (record) =>
        !hasEnded(record) &&
        askedOf(record.plan).some((asked) => asked.view === view && asked.version === version),
    );
  }

  get waiting(): number {
    return this.inState('queued').length;
  }

  get runningCount(): number {
    return this.running.size;
  }

  /**
   * Takes an export in: durable when it resolves. Throws OVERLOADED, LIMIT_EXCEEDED,
   * STORE_UNAVAILABLE, and what the body's stream says.
   */
  async submit({ plan, vectorFormat, rows }: AskedExport): Promise<ExportStatus> {
    const { root, store, random, limitsOf } = this.needs;
    this.requirePlace();
    const created = store.clock();
    const id = newExportId(created, random);
    const made = madeOf(plan, store);
    const limits = limitsOf(plan);
    const folder = new ExportFolder(root, id);
    this.uploads++;
    try {
      folder.make();
      const source =
        'revisions' in rows
          ? { plan: { ...plan, revisions: { ...rows.revisions, rowsMax: limits.rowsMax } } }
          : { plan, spine: await this.placed(rows, folder) };
      const record: ExportRecord = {
        id,
        state: 'queued',
        created,
        ...source,
        vectorFormat,
        made,
        limits,
        done: noTotals(plan),
      };
      await folder.writeRecord(record);
      this.records.set(id, record);
    } catch (error) {
      await folder.remove();
      throw refusedByDisk(error);
    } finally {
      this.uploads--;
    }
    this.pump();
    return this.mustGet(id);
  }

  private async placed(
    { format, columnTypes, ...place }: Exclude<AskedRows, { revisions: object }>,
    folder: ExportFolder,
  ): Promise<ExportSpine> {
    if ('path' in place) return { format, columnTypes, ...place };
    const bytes = await spoolSpine(place.body, folder.spine, this.needs.settings.spine_bytes);
    return { format, columnTypes, path: undefined, bytes, modified: undefined };
  }

  /** Has a spine on the disk, which cannot be read as it comes, for as long as `work` goes on. */
  spooled<T>(
    body: AsyncIterable<Uint8Array>,
    work: (path: string) => AsyncGenerator<T>,
  ): AsyncGenerator<T> {
    const { root, store, random, settings } = this.needs;
    const name = newExportId(store.clock(), random);
    return withSpooled(body, { root, name, bytesMax: settings.spine_bytes }, work);
  }

  /** The newest first, those asked for before `before`. */
  list(limit: number, before: string | undefined): ExportStatus[] {
    const ids = [...this.records.keys()].toSorted().toReversed();
    const from = before === undefined ? 0 : ids.findIndex((id) => id < before);
    if (from < 0) return [];
    return ids.slice(from, from + limit).map((id) => this.mustGet(id));
  }

  /** Throws EXPORT_NOT_FOUND. */
  mustGet(id: string): ExportStatus {
    const record = this.records.get(id);
    if (record === undefined) {
      throw new TidemarkError('EXPORT_NOT_FOUND', `there is no export ${id}; it may have expired`);
    }
    return { record, rowsPerSecond: this.rateOf(record) };
  }

  /** Throws EXPORT_NOT_FOUND, EXPORT_NOT_DONE. */
  async manifest(id: string): Promise<Manifest> {
    const { state } = this.mustGet(id).record;
    if (state === 'queued' || state === 'running') {
      throw new TidemarkError(
        'EXPORT_NOT_DONE',
        `the export ${id} is ${state}: wait until it is done`,
      );
    }
    // File after file is asked for of one export, and its manifest is long.
    if (this.lastManifest?.id === id && state === 'done') return this.lastManifest;
    const manifest = state === 'done' ? await this.folderOf(id).readManifest() : undefined;
    if (manifest === undefined) {
      throw new TidemarkError('EXPORT_NOT_FOUND', `the export ${id} is ${state}, and has no files`);
    }
    this.lastManifest = manifest;
    return manifest;
  }

  /** Where a file of an export lies. */
  pathOf(id: string, path: string): string {
    return this.folderOf(id).file(path);
  }

  /**
   * Cancels an export that has not ended; forgets one that has. Its files are gone when it resolves.
   * Gives it as it was last. Throws EXPORT_NOT_FOUND, SHUTTING_DOWN.
   */
  async remove(id: string): Promise<ExportStatus> {
    const status = this.mustGet(id);
    const record = this.records.get(id)!;
    if (!hasEnded(record)) {
      await this.cancel(record);
      if (record.state === 'cancelled') return this.mustGet(id);
    }
    this.records.delete(id);
    // It is tidied after it says that it is done.
    await this.running.get(id)?.ended;
    await this.folderOf(id).remove();
    return status;
  }

  /** It may end otherwise before that is heard. Throws SHUTTING_DOWN where it never is. */
  private async cancel(record: ExportRecord): Promise<void> {
    const running = this.running.get(record.id);
    if (running === undefined) return this.end(record, 'cancelled');
    running.abort.abort(new Cancelled());
    await running.ended;
    if (!hasEnded(record)) {
      throw new TidemarkError('SHUTTING_DOWN', 'the server is stopping; cancel it after its start');
    }
  }

  /** Lets go the files of exports that were kept long enough, and after as long again all of them. */
  async tidy(): Promise<void> {
    const { store, settings, log } = this.needs;
    const keep = settings.keep_seconds * MICROS_PER_SECOND;
    for (const record of this.records.values()) {
      if (record.ended === undefined) continue;
      const age = store.clock() - record.ended;
      try {
        if (age > 2 * keep) {
          this.records.delete(record.id);
          await this.folderOf(record.id).remove();
        } else if (age > keep && record.state === 'done') {
          record.state = 'expired';
          // First the files: on a full disk there is no room before to say that they have gone.
          await this.clear(record);
          await this.folderOf(record.id).writeRecord(record);
        }
      } catch (error) {
        log.error({ err: error, export: record.id }, 'an export that has expired cannot be tidied');
      }
    }
  }

  /** When the files of an export go, µs; undefined for one that has none, or is not done. */
  expires({ state, ended }: ExportRecord): Micros | undefined {
    if (state !== 'done' || ended === undefined) return undefined;
    return (ended + this.needs.settings.keep_seconds * MICROS_PER_SECOND) as Micros;
  }

  /** Throws OVERLOADED. */
  private requirePlace(): void {
    const { concurrent, queued } = this.needs.settings;
    if (this.running.size + this.waiting + this.uploads < concurrent + queued) return;
    throw new TryLater(
      'OVERLOADED',
      `${this.running.size} exports run and ${this.waiting + this.uploads} wait, as many as ` +
        'exports.concurrent and exports.queued let; cancel one, or ask again later',
      RETRY_SECONDS,
    );
  }

  private inState(state: ExportRecord['state']): ExportRecord[] {
    return [...this.records.values()].filter((record) => record.state === state);
  }

  /** Begins what there is room for, the oldest first. */
  private pump(): void {
    if (this.isStopped) return;
    const waiting = [...this.inState('running'), ...this.inState('queued')]
      .filter(({ id }) => !this.running.has(id))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1));
    for (const record of waiting) {
      if (this.running.size >= this.needs.settings.concurrent) return;
      const abort = new AbortController();
      const ended = this.run(record, abort.signal).finally(() => {
        this.running.delete(record.id);
        this.pump();
      });
      this.running.set(record.id, {
        abort,
        ended,
        began: this.needs.passed(),
        rowsBefore: record.done.rows,
      });
    }
  }

  private async run(record: ExportRecord, signal: AbortSignal): Promise<void> {
    const { store, runWindows, log } = this.needs;
    const folder = this.folderOf(record.id);
    try {
      record.started ??= store.clock();
      record.state = 'running';
      await folder.writeRecord(record);
      await runExport(record, folder, store, this.counting(record, runWindows), signal);
      await this.end(record, 'done');
    } catch (error) {
      if (this.isStopped) return;
      await this.fail(record, signal.aborted ? signal.reason : error).catch((why: unknown) => {
        log.error({ err: why, export: record.id }, 'an export that ended cannot be written down');
      });
    }
  }

  private async fail(record: ExportRecord, error: unknown): Promise<void> {
    if (error instanceof Cancelled) return this.end(record, 'cancelled');
    const known = refusedByDisk(error);
    this.counts.failed++;
    // What a spine is refused for is its owner's business; a stack would be no help.
    const told = { export: record.id };
    if (known instanceof TidemarkError && known.code === 'BAD_REQUEST') {
      this.needs.log.warn({ ...told, reason: known.message }, 'an export was refused');
    } else this.needs.log.error({ ...told, err: error }, 'an export failed');
    record.failure =
      known instanceof TidemarkError
        ? { code: known.code, message: known.message }
        : { code: 'INTERNAL', message: 'Tidemark failed; the log has why, by the export’s id' };
    return this.end(record, 'failed');
  }

  private async end(record: ExportRecord, state: 'done' | 'failed' | 'cancelled'): Promise<void> {
    const folder = this.folderOf(record.id);
    record.state = state;
    record.ended = this.needs.store.clock();
    // First the files: on a full disk there is no room before to say that it failed.
    if (state !== 'done') await this.clear(record);
    await folder.writeRecord(record);
    if (state === 'done') await this.clear(record);
  }

  /** Removes what an export that has ended has no use of. */
  private async clear({ id, state }: ExportRecord): Promise<void> {
    const folder = this.folderOf(id);
    await (state === 'done' ? folder.removeScaffold() : folder.removeFiles());
  }

  private counting(record: ExportRecord, runWindows: RunWindows): RunWindows {
    const { counts } = this;
    const running = this.running.get(record.id);
    return async function* count(job) {
      if (running !== undefined) running.rowsBefore = record.done.rows;
      for await (const window of runWindows(job)) {
        yield window;
        counts.rows += window.rows;
        for (const file of [window.part, ...(window.shards ?? [])])
          counts.bytes += file?.bytes ?? 0;
      }
    };
  }

  private rateOf({ id, done }: ExportRecord): number | undefined {
    const running = this.running.get(id);
    if (running === undefined || done.rows === running.rowsBefore) return undefined;
    const seconds = (this.needs.passed() - running.began) / MICROS_PER_SECOND;
    return (done.rows - running.rowsBefore) / seconds;
  }

  private folderOf(id: string): ExportFolder {
    return new ExportFolder(this.needs.root, id);
  }
}

/** Somebody asked for the end of an export. */
class Cancelled extends Error {
  override name = 'Cancelled';
}
