import { stat } from 'node:fs/promises';

import { type ErrorCode, TidemarkError } from '../../ground/errors.ts';
import { Pace } from '../../ground/pace.ts';
import { isEntityId } from '../../store/entity-id.ts';
import { type History, type HistoryEvent, type HistoryPage, PAGE_EVENTS } from './history.ts';
import type { FileOrigin } from './record.ts';

/** Rows of a table as they are read; see `readTable`. */
export interface FileRows {
  firstRow: number;
  ids: readonly (string | null)[];
  times: Readonly<Record<string, Float64Array>>;
  values: Readonly<Record<string, readonly unknown[]>>;
  broken: ReadonlyMap<number, string>;
}

/** Reads a file from a row on. */
export type ReadFile = (
  file: Pick<FileOrigin, 'path' | 'format'>,
  columns: { id: string; times: string[]; values: string[] },
  from: number,
) => AsyncGenerator<FileRows>;

export interface FileHistoryParts {
  origin: FileOrigin;
  read: ReadFile;
  /** How far a time may be ahead of what it may not be ahead of, µs (A13). */
  futureSkewMax: number;
  clock: () => number;
}

/** The rows of a file, each an event. */
export class FileHistory implements History {
  private parts: FileHistoryParts;

  constructor(parts: FileHistoryParts) {
    this.parts = parts;
  }

  get topic(): string {
    return 'file';
  }

  async count(signal: AbortSignal): Promise<number> {
    const { origin, read } = this.parts;
    let rows = 0;
    const { entity_id: id } = origin.columns;
    for await (const { ids } of read(origin, { id, times: [], values: [] }, 0)) {
      signal.throwIfAborted();
      rows += ids.length;
    }
    return rows;
  }

  async *pages(from: number, signal: AbortSignal): AsyncGenerator<HistoryPage> {
    const { origin, read } = this.parts;
    const { entity_id: id, event_timestamp, known_timestamp, ...columns } = origin.columns;
    await this.requireSame();
    const times = [event_timestamp, known_timestamp].filter((name) => name !== undefined);
    const { text, fields = {}, vector, deleted } = columns;
    const values = [text, vector, deleted, ...Object.values(fields)].filter(
      (name) => name !== undefined,
    );
    const pace = new Pace();
    for await (const rows of read(origin, { id, times, values: [...new Set(values)] }, from)) {
      for (let first = 0; first < rows.ids.length; first += PAGE_EVENTS) {
        signal.throwIfAborted();
        const end = Math.min(first + PAGE_EVENTS, rows.ids.length);
        yield this.pageOf(rows, first, end);
        await pace.rest();
      }
    }
    // What was written to it meanwhile was read in part.
    await this.requireSame();
  }

  /** Throws BAD_REQUEST. */
  private async requireSame(): Promise<void> {
    const { path, bytes, modified } = this.parts.origin;
    const found = await stat(path).catch(() => undefined);
    if (found?.size === bytes && found.mtimeMs === modified) return;
    throw new TidemarkError(
      'BAD_REQUEST',
      `the file ${path} is not the one that was asked for any more: it was ` +
        `${found === undefined ? 'removed' : 'written to'}; ask for another backfill`,
    );
  }

  private pageOf(rows: FileRows, first: number, end: number): HistoryPage {
    const { firstRow } = rows;
    const page: HistoryPage = {
      next: firstRow + end,
      read: end - first,
      events: [],
      rejected: [],
      erased: 0,
    };
    for (let at = first; at < end; at++) {
      try {
        page.events.push(this.eventOf(rows, at));
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error;
        const { code, message } = error;
        page.rejected.push({ kind: 'rejected', code, message, offset: firstRow + at });
      }
    }
    return page;
  }

  private eventOf(rows: FileRows, at: number): HistoryEvent {
    const { columns } = this.parts.origin;
    const { entity_id, event_timestamp, known_timestamp, text, fields, vector, deleted } = columns;
    const broken = rows.broken.get(at);
    if (broken !== undefined) throw bad('BAD_RECORD', broken);
    const entityId = rows.ids[at];
    if (typeof entityId !== 'string' || !isEntityId(entityId)) {
      throw bad('BAD_ENTITY_ID', `the column ${entity_id} has no entity id`);
    }
    const event = this.momentOf(rows, event_timestamp, at);
    const known = known_timestamp === undefined ? event : this.momentOf(rows, known_timestamp, at);
    this.checkClocks(event, known);
    const common = { entityId, event, known, offset: rows.firstRow + at };
    const valueOf = (column: string): unknown => rows.values[column]![at];
    if (deleted !== undefined && valueOf(deleted) === true) return { ...common, kind: 'delete' };
    if (vector !== undefined) {
      const numbers = valueOf(vector);
      if (!Array.isArray(numbers) || !numbers.every((each) => typeof each === 'number')) {
        throw bad('BAD_VECTOR', `the column ${vector} has no list of numbers`);
      }
      return { ...common, kind: 'vector', vector: { numbers } };
    }
    if (fields !== undefined) {
      const entries = Object.entries(fields).map(([name, column]) => [name, valueOf(column)]);
      return { ...common, kind: 'text', input: { fields: Object.fromEntries(entries) } };
    }
    const said = valueOf(text!);
    if (typeof said !== 'string') throw bad('BAD_INPUT', `the column ${text} has no text`);
    return { ...common, kind: 'text', input: { text: said } };
  }

  private momentOf(rows: FileRows, column: string, at: number): number {
    const moment = rows.times[column]![at]!;
    if (!Number.isNaN(moment)) return moment;
    throw bad(
      'BAD_TIMESTAMP',
      `the column ${column} has no moment, expected RFC 3339 with an offset, or a timestamp with a ` +
        'time zone, no finer than a microsecond',
    );
  }

  /** A13: a clock that runs ahead would hide what comes after it. */
  private checkClocks(event: number, known: number): void {
    const { futureSkewMax, clock } = this.parts;
    if (event <= known + futureSkewMax && known <= clock() + futureSkewMax) return;
    throw bad(
      'FUTURE_TIMESTAMP',
      'the event time is after the known time, or that is after now, ' +
        `expected at most ${futureSkewMax / 1e6} s (max_future_skew)`,
    );
  }
}

function bad(code: ErrorCode, message: string): TidemarkError {
  return new TidemarkError(code, message);
}
