import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

import { type ErrorCode, TidemarkError, TryLater } from '../../ground/errors.ts';
import { MICROS_PER_SECOND } from '../../ground/time.ts';
import type { ModelVersion } from '../../store/catalogue.ts';
import type { Store } from '../../store/store.ts';
import type { Pipeline } from '../pipeline.ts';
import { requireCaughtUp } from './caught-up.ts';
import { FileHistory, type ReadFile } from './file.ts';
import { BackfillFolder } from './folder.ts';
import { type History, NotNow } from './history.ts';
import { InputsHistory } from './inputs.ts';
import { type Job, runHistory } from './job.ts';
import { type BackfillPlan, planBackfill, type PlanNeeds } from './plan.ts';
import { requirePossible } from './possible.ts';
import {
  type AskedOrigin,
  type BackfillRecord,
  type FileOrigin,
  hasEnded,
  type InputsOrigin,
  madeOf,
  newBackfillId,
  newCounts,
  sourceOf,
} from './record.ts';
import { sampleSource } from './sample.ts';
import type { SourceNeeds } from './source-parts.ts';
import { runSource } from './source.ts';
import { BackfillTarget, type TargetNeeds } from './target.ts';

/** What is asked for, checked as far as its schema goes. */
export interface AskedBackfill {
  view: string;
  version: string;
  from: AskedOrigin;
  window: BackfillRecord['window'];
  entities?: readonly string[] | undefined;
}

/** A backfill as it is now. */
export interface BackfillStatus {
  record: Readonly<BackfillRecord>;
  /** Of what this process has done of it while it runs; undefined before there is any of it. */
  eventsPerSecond: number | undefined;
  /** What it waits for to be mended, and tries again. */
  trouble: string | undefined;
}

export interface BackfillsNeeds extends TargetNeeds, PlanNeeds, SourceNeeds {
  store: Store;
  pipeline: Pick<Pipeline, 'addRecords' | 'reader'>;
  /** The folder of all backfills; made with the first of them. */
  root: string;
  readFile: ReadFile;
}

interface Running {
  abort: AbortController;
  ended: Promise<void>;
  began: number;
  /** That a crash had left: they are no work of this run. */
  readBefore: number;
  trouble: string | undefined;
}

/** Backfills that have not ended, at most. */
const OPEN_MAX = 100;
/** When somebody who was refused may find a place, at the least. */
const RETRY_SECONDS = 60;
/** Before what may be over is tried again, ms: longer each time. */
const FIRST_WAIT_MS = 1_000;
const WAIT_MS_MAX = 60_000;
/** What is no fault of an event, and may be over after a while. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'MODEL_UNAVAILABLE',
  'MODEL_DRIFTED',
  'OVERLOADED',
  'STORE_UNAVAILABLE',
]);

/**
 * Backfills: model versions that are filled from the history of their sources. One of a version runs
 * at a time, the others wait in the order of their asking; each is on the disk from when it is taken
 * in, so that a process that ended, however it did, goes on with it at its next start.
 */
export class Backfills {
  private needs: BackfillsNeeds;
  /** By id, which is the order of their asking. */
  private records = new Map<string, BackfillRecord>();
  private running = new Map<string, Running>();
  /** What an earlier process has left, read. */
  private loaded = Promise.resolve();
  private state: 'new' | 'started' | 'stopped' = 'new';

  constructor(needs: BackfillsNeeds) {
    this.needs = needs;
  }

  /** Goes on with what an earlier process has left. Only a leader's are started. */
  async start(): Promise<void> {
    this.state = 'started';
    this.loaded = this.load();
    await this.loaded;
    this.pump();
  }

  private async load(): Promise<void> {
    const { root, log } = this.needs;
    for (const name of existsSync(root) ? (await readdir(root)).toSorted() : []) {
      const folder = new BackfillFolder(root, name);
      try {
        const record = await folder.readRecord();
        // It was never answered for.
        if (record === undefined) {
          await folder.remove();
          continue;
        }
        this.records.set(record.id, record);
        if (hasEnded(record)) await this.clear(record);
      } catch (error) {
        log.error({ err: error, backfill: name }, 'a backfill cannot be read, and is passed by');
      }
    }
  }

  /** What runs is broken off, and goes on at the next start. */
  async stop(): Promise<void> {
    this.state = 'stopped';
    const running = [...this.running.values()];
    for (const { abort } of running) {
      abort.abort(new TidemarkError('SHUTTING_DOWN', 'the server is stopping'));
    }
    await Promise.all(running.map(async ({ ended }) => ended));
  }

  /**
   * Takes a backfill in: durable when it resolves. Throws BAD_REQUEST for one that is not possible,
   * VIEW_NOT_FOUND, VERSION_NOT_FOUND, NO_MODEL, OVERLOADED, STORE_UNAVAILABLE.
   */
  async submit(asked: AskedBackfill): Promise<BackfillStatus> {
    const { root, store, random } = this.needs;
    await this.loaded;
    const { view, version, from } = asked;
    if (from.kind === 'inputs') {
      requireCaughtUp(this.needs.readersOf, view, from.version, version);
      // What was on its way into one version before there was the other is to be stored by then.
      await store.alone(async () => {});
    }
    const record = this.recordOf(asked, newBackfillId(store.clock(), random));
    const open = [...this.records.values()].filter((each) => !hasEnded(each)).length;
    if (open >= OPEN_MAX) {
      const message = `${open} backfills run or wait; cancel one, or ask again later`;
      throw new TryLater('OVERLOADED', message, RETRY_SECONDS);
    }
    const folder = new BackfillFolder(root, record.id);
    try {
      folder.make();
      if (asked.entities !== undefined) await folder.writeEntities(asked.entities);
      await folder.writeRecord(record);
    } catch (error) {
      await folder.remove().catch(() => {});
      throw new TidemarkError(
        'STORE_UNAVAILABLE',
        'the backfill cannot be written down; look at the disk and try again',
        { cause: error },
      );
    }
    this.records.set(record.id, record);
    this.pump();
    return this.mustGet(record.id);
  }

  /** What a backfill would do, and how long it would take; nothing is stored. Throws as `submit`. */
  async plan(asked: AskedBackfill, signal: AbortSignal): Promise<BackfillPlan> {
    const record = this.recordOf(asked, 'plan');
    const entities = asked.entities && new Set(asked.entities);
    const target = new BackfillTarget(this.needs, record, entities);
    const { from } = record;
    const planned =
      from.kind === 'source'
        ? await sampleSource(this.needs, record, target, signal)
        : { pages: this.historyOf(record.view, from).pages(0, signal) };
    return await planBackfill(this.needs, record, target, planned, signal);
  }

  /** The newest first, those asked for before `before`. */
  list(limit: number, before: string | undefined): BackfillStatus[] {
    const ids = [...this.records.keys()].toSorted().toReversed();
    const from = before === undefined ? 0 : ids.findIndex((id) => id < before);
    if (from < 0) return [];
    return ids.slice(from, from + limit).map((id) => this.mustGet(id));
  }

  /** Throws BACKFILL_NOT_FOUND. */
  mustGet(id: string): BackfillStatus {
    const record = this.records.get(id);
    if (record === undefined) {
      throw new TidemarkError('BACKFILL_NOT_FOUND', `there is no backfill ${id}`);
    }
    const running = this.running.get(id);
    return { record, eventsPerSecond: this.rateOf(record), trouble: running?.trouble };
  }

  /** Events that the backfills of a version have yet to read. */
  waitingOf(view: string, version: string): number {
    let waiting = 0;
    for (const record of this.records.values()) {
      if (record.view !== view || record.version !== version || hasEnded(record)) continue;
      // Before its events are counted there may be any number.
      waiting += record.total === undefined ? 1 : Math.max(0, record.total - record.counts.read);
    }
    return waiting;
  }

  /** Whether one that has not ended fills a version from the inputs of that one. */
  isReading(view: string, version: string): boolean {
    return [...this.records.values()].some(
      (record) =>
        !hasEnded(record) &&
        record.view === view &&
        record.from.kind === 'inputs' &&
        record.from.version === version,
    );
  }

  /**
   * Cancels a backfill that has not ended: what it has stored stays. Forgets one that has ended.
   * Throws BACKFILL_NOT_FOUND, SHUTTING_DOWN.
   */
  async remove(id: string): Promise<BackfillStatus> {
    const status = this.mustGet(id);
    const record = this.records.get(id)!;
    if (!hasEnded(record)) {
      const running = this.running.get(id);
      if (running === undefined) await this.end(record, 'cancelled');
      else {
        running.abort.abort(new Cancelled());
        await running.ended;
      }
      if (!hasEnded(record)) {
        const message = 'the server is stopping; cancel it after its start';
        throw new TidemarkError('SHUTTING_DOWN', message);
      }
      if (record.state === 'cancelled') return this.mustGet(id);
    }
    await this.running.get(id)?.ended;
    this.records.delete(id);
    await this.folderOf(record).remove();
    return status;
  }

  private recordOf(
    { view: viewName, version: name, from, window, entities }: AskedBackfill,
    id: string,
  ): BackfillRecord {
    const { store, sources } = this.needs;
    store.requireLeading();
    const view = store.catalogue.mustGetView(viewName);
    const version: ModelVersion = store.catalogue.mustGetVersion(view, name);
    requirePossible(view, version, from, sources);
    return {
      id,
      state: 'queued',
      created: store.clock(),
      view: viewName,
      version: name,
      made: madeOf(version),
      from:
        from.kind === 'inputs'
          ? { ...from, made: madeOf(view.versions[from.version]!), upTo: store.snapshot }
          : from,
      window,
      ...(entities !== undefined && { entities: entities.length }),
      ...newCounts(),
    };
  }

  private historyOf(view: string, from: FileOrigin | InputsOrigin): History {
    const { store, readFile: read, futureSkewMax } = this.needs;
    if (from.kind === 'inputs') return new InputsHistory(store, view, from);
    return new FileHistory({ origin: from, read, futureSkewMax, clock: () => store.clock() });
  }

  /** Begins what is next of each version, the oldest first. */
  private pump(): void {
    if (this.state !== 'started') return;
    const busy = new Set([...this.running.keys()].map((id) => nameOf(this.records.get(id)!)));
    const waiting = [...this.records.values()]
      .filter((record) => !hasEnded(record) && !this.running.has(record.id))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1));
    for (const record of waiting) {
      if (busy.has(nameOf(record))) continue;
      busy.add(nameOf(record));
      const running: Running = {
        abort: new AbortController(),
        ended: Promise.resolve(),
        began: this.needs.passed(),
        readBefore: record.counts.read,
        trouble: undefined,
      };
      this.running.set(record.id, running);
      running.ended = this.run(record, running).finally(() => {
        this.running.delete(record.id);
        this.pump();
      });
    }
  }

  /** Never rejects. */
  private async run(record: BackfillRecord, running: Running): Promise<void> {
    const { store, log } = this.needs;
    const { signal } = running.abort;
    try {
      record.started ??= store.clock();
      record.state = 'running';
      await this.folderOf(record).writeRecord(record);
      await this.runUntilOver(record, running);
      await this.end(record, 'done');
    } catch (error) {
      if (this.state === 'stopped') return;
      await this.fail(record, signal.aborted ? signal.reason : error).catch((why: unknown) => {
        log.error(
          { err: why, backfill: record.id },
          'a backfill that ended cannot be written down',
        );
      });
    }
  }

  /** Again and again, as long as what fails may be over after a while. */
  private async runUntilOver(record: BackfillRecord, running: Running): Promise<void> {
    const { signal } = running.abort;
    for (let failures = 0; ;) {
      const before = record.counts.read;
      try {
        const folder = this.folderOf(record);
        const target = new BackfillTarget(this.needs, record, await folder.readEntities());
        const waitsFor = (message: string | undefined): void => {
          running.trouble = message;
        };
        return await this.work({ record, folder, target, signal, waitsFor });
      } catch (error) {
        running.trouble = undefined;
        if (!isPassing(error) || signal.aborted) throw error;
        if (record.counts.read > before) failures = 0;
        running.trouble = error.message;
        this.needs.log.warn({ backfill: record.id, err: error }, 'a backfill waits');
        const wait = Math.min(WAIT_MS_MAX, FIRST_WAIT_MS * 2 ** failures++);
        await delay(wait, undefined, { signal });
        running.trouble = undefined;
      }
    }
  }

  private async work(job: Job): Promise<void> {
    const { view, from } = job.record;
    if (from.kind === 'source') await runSource(job, this.needs);
    else await runHistory(job, this.historyOf(view, from));
  }

  private async fail(record: BackfillRecord, error: unknown): Promise<void> {
    if (error instanceof Cancelled) return this.end(record, 'cancelled');
    this.needs.log.error({ backfill: record.id, err: error }, 'a backfill failed');
    record.failure =
      error instanceof TidemarkError
        ? { code: error.code, message: error.message }
        : { code: 'INTERNAL', message: 'Tidemark failed; the log has why, by the backfill’s id' };
    return this.end(record, 'failed');
  }

  private async end(record: BackfillRecord, state: 'done' | 'failed' | 'cancelled'): Promise<void> {
    const end = { state, ended: this.needs.store.clock() };
    // First that it has ended: its place is of use to nobody then, and a crash leaves no more of it.
    await this.folderOf(record).writeRecord({ ...record, ...end });
    try {
      await this.clear(record);
    } finally {
      Object.assign(record, end);
    }
  }

  /** Removes what a backfill that has ended has no use of. */
  private async clear(record: BackfillRecord): Promise<void> {
    const { store } = this.needs;
    const { view, version } = record;
    await this.folderOf(record).clear();
    if (store.catalogue.view(view)?.versions[version] === undefined) return;
    const source = sourceOf(record);
    await store.alone(async () => {
      const { environment, offsets } = store.version(view, version);
      const gone = offsets.all().filter(({ key }) => key.source === source);
      if (gone.length === 0) return;
      await environment.commit(() => gone.forEach(({ key }) => offsets.remove(key)));
      await environment.flushed();
    });
  }

  private rateOf({ id, counts }: BackfillRecord): number | undefined {
    const running = this.running.get(id);
    if (running === undefined || counts.read === running.readBefore) return undefined;
    const seconds = (this.needs.passed() - running.began) / MICROS_PER_SECOND;
    return (counts.read - running.readBefore) / seconds;
  }

  private folderOf({ id }: BackfillRecord): BackfillFolder {
    return new BackfillFolder(this.needs.root, id);
  }
}

function isPassing(error: unknown): error is Error {
  return error instanceof NotNow || (error instanceof TidemarkError && PASSING.has(error.code));
}

function nameOf({ view, version }: BackfillRecord): string {
  return `${view}@${version}`;
}

/** Somebody asked for the end of a backfill. */
class Cancelled extends Error {
  override name = 'Cancelled';
}
