import { isDeepStrictEqual } from 'node:util';

import { TidemarkError } from '../ground/errors.ts';
import type { FieldRow } from '../store/fields.ts';

/*
 * What an entity's prompt reads may come in several records: of several topics, or of one that says
 * at times only what has changed. Everything that was said is kept with its times, and what the
 * entity was at a moment is put together from it. So a record that comes late, or from another topic
 * than the one before, leads to the same answers in whatever order they come (A2).
 */

/** The fields of each part, by its name. Every field is of one part. */
export type Parts = Readonly<Record<string, readonly string[]>>;

/** What the prompt of an entity reads as of an event time, by what was known at a known time, µs. */
export interface Said {
  event: number;
  known: number;
  /** Null where nothing is left of the entity: it is deleted. */
  fields: Record<string, unknown> | null;
}

/** Where rows are kept; see `Fields`. */
export interface FieldSource {
  newest(entityId: string, part: string, limit: number, before?: FieldRow): FieldRow[];
}

const PAGE = 8;
/** Revisions that one record may lead to: they are made in one go. */
const SAID_MAX = 10_000;

/** What was said of one entity, as far back as rows that are yet to be said can reach. */
export class EntityRows {
  private parts: Parts;
  /** Of each part by event and known time, the newest first. */
  private rows = new Map<string, FieldRow[]>();

  /** `event` and `known`: no row that is said here is of an earlier one, µs. */
  constructor(
    source: FieldSource,
    entityId: string,
    parts: Parts,
    { event, known }: { event: number; known: number },
  ) {
    this.parts = parts;
    for (const [part, names] of Object.entries(parts)) {
      const rows: FieldRow[] = [];
      const untold = new Set(names);
      for (let isMore = true; isMore;) {
        const page = source.newest(entityId, part, PAGE, rows.at(-1));
        rows.push(...page);
        for (const row of page) if (row.event <= event && row.known <= known) tell(untold, row);
        isMore = page.length === PAGE && untold.size > 0;
      }
      this.rows.set(part, rows);
    }
  }

  /** The fields of the row's part that neither it nor what was said before it has a value for. */
  untold(row: FieldRow): string[] {
    const untold = new Set(this.parts[row.part]);
    tell(untold, row);
    for (const before of this.rows.get(row.part)!) {
      if (isWithin(before, row.event, row.known)) tell(untold, before);
    }
    return [...untold];
  }

  /** The row with what was said of its part at just that moment, where it does not say otherwise. */
  merged(row: FieldRow): FieldRow {
    const there = this.rows
      .get(row.part)!
      .find(({ event, known }) => event === row.event && known === row.known);
    if (row.fields === null || !there?.fields) return row;
    return { ...row, fields: { ...there.fields, ...row.fields } };
  }

  /**
   * Adds a row, and gives the revisions that it leads to: its own, and those at later moments that
   * were said to be otherwise. Throws LIMIT_EXCEEDED, with nothing added.
   */
  say(row: FieldRow): Said[] {
    const before = new Map(this.rows);
    this.rows.set(row.part, withRow(this.rows.get(row.part)!, row));
    const said: Said[] = [];
    for (const event of this.eventsFrom(row.event)) {
      let last: Said['fields'] | undefined;
      let hasChanged = false;
      for (const known of this.knownsAt(event, row.known)) {
        const fields = this.fieldsAt(this.rows, event, known);
        const isOwn = event === row.event && known === row.known;
        const isSaid = hasEvent(before, event, known)
          ? isDeepStrictEqual(this.fieldsAt(before, event, known), fields)
          : last !== undefined && isDeepStrictEqual(last, fields);
        // After one that is said anew, what follows it may have gone without saying.
        hasChanged ||= isOwn || !isSaid;
        if (hasChanged) said.push({ event, known, fields });
        if (said.length > SAID_MAX) {
          this.rows.set(row.part, before.get(row.part)!);
          throw tooMuch(row);
        }
        last = fields;
      }
    }
    return said;
  }

  /** The moments, from that one on, at which anything was said; ascending. */
  private eventsFrom(event: number): number[] {
    const events = new Set<number>();
    for (const part of this.rows.values()) {
      for (const row of part) if (row.event >= event) events.add(row.event);
    }
    return [...events].toSorted((a, b) => a - b);
  }

  /** The known times, from that one on, at which what is known of the event time changes. */
  private knownsAt(event: number, from: number): number[] {
    const knowns = new Set<number>();
    let first = Number.POSITIVE_INFINITY;
    for (const part of this.rows.values()) {
      for (const row of part) {
        if (row.event > event) continue;
        if (row.event === event) first = Math.min(first, row.known);
        knowns.add(row.known);
      }
    }
    const least = Math.max(first, from);
    return [...knowns.add(least)].filter((known) => known >= least).toSorted((a, b) => a - b);
  }

  private fieldsAt(
    rows: ReadonlyMap<string, readonly FieldRow[]>,
    event: number,
    known: number,
  ): Said['fields'] {
    let fields: Said['fields'] = null;
    for (const [part, ofPart] of rows) {
      const untold = new Set(this.parts[part]);
      for (const row of ofPart) {
        if (untold.size === 0) break;
        if (!isWithin(row, event, known)) continue;
        if (row.fields === null) break;
        fields ??= {};
        for (const name of Object.keys(row.fields)) {
          if (untold.delete(name)) fields[name] = row.fields[name];
        }
      }
    }
    return fields;
  }
}

function tooMuch({ part }: FieldRow): TidemarkError {
  return new TidemarkError(
    'LIMIT_EXCEEDED',
    `what the record says of the part ${part} changes more than ${SAID_MAX} later moments of the entity, expected fewer`,
  );
}

function isWithin(row: FieldRow, event: number, known: number): boolean {
  return row.event <= event && row.known <= known;
}

/** Takes out what the row tells; of a part that is gone, all is told. */
function tell(untold: Set<string>, { fields }: FieldRow): void {
  if (fields === null) untold.clear();
  else for (const name of Object.keys(fields)) untold.delete(name);
}

/** The rows, the newest first, with one more, in the place of one of its moment. */
function withRow(rows: readonly FieldRow[], row: FieldRow): FieldRow[] {
  const at = rows.findIndex(
    ({ event, known }) => event < row.event || (event === row.event && known <= row.known),
  );
  if (at === -1) return [...rows, row];
  const isSameMoment = rows[at]!.event === row.event && rows[at]!.known === row.known;
  return rows.toSpliced(at, isSameMoment ? 1 : 0, row);
}

/** Whether anything was said of just that event time by then. */
function hasEvent(rows: ReadonlyMap<string, readonly FieldRow[]>, at: number, by: number): boolean {
  for (const part of rows.values()) {
    if (part.some(({ event, known }) => event === at && known <= by)) return true;
  }
  return false;
}
