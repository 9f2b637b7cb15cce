import { pack, unpack } from 'msgpackr';

import { CheckedTable } from './checked-table.ts';
import type { Environment } from './environment.ts';
import type { Horizon } from './horizon.ts';
import { type FieldKey, fieldKeys } from './keys.ts';

/**
 * What one record said of one part of an entity: the values of fields of the version's prompt, or
 * (null) that the part is gone. A field that it has no value for is null; one that it did not speak
 * of is left out.
 */
export interface FieldRow extends FieldKey {
  fields: Readonly<Record<string, unknown>> | null;
}

/** Before and after every moment that a row may have, µs. */
const FIRST = { event: -(2 ** 53), known: -(2 ** 53) };
const LAST = { event: 2 ** 53, known: 2 ** 53 };

/**
 * What is known of the entities of a version whose prompt takes its fields from several records: all
 * that was said, by entity, part, event time and known time. Of one such moment the last one counts.
 */
export class Fields {
  /** Rows put while somebody copies them, who must not miss them; `isNew`: there was none before. */
  journal: (FieldKey & { isNew: boolean })[] | undefined;
  private table: CheckedTable<FieldKey>;

  constructor(environment: Environment) {
    this.table = new CheckedTable(environment, 'field', fieldKeys);
  }

  /** Within a commit. The same moment again replaces what was there: a replay adds nothing. */
  put({ fields, ...key }: FieldRow): void {
    this.journal?.push({ ...key, isNew: this.table.get(key) === undefined });
    this.table.put(key, pack(fields));
  }

  get(key: FieldKey): FieldRow | undefined {
    const value = this.table.get(key);
    return value && rowOf(key, value);
  }

  /** What was said of these parts at just those moments. */
  atMoments(
    moments: readonly { entityId: string; event: number; known: number }[],
    parts: readonly string[],
  ): FieldRow[] {
    return moments.flatMap(({ entityId, event, known }) =>
      parts.flatMap((part) => this.get({ entityId, part, event, known }) ?? []),
    );
  }

  /** The newest `limit` rows of a part that come before `before`, the newest first. */
  newest(entityId: string, part: string, limit: number, before?: FieldKey): FieldRow[] {
    const from = { entityId, part };
    const page = this.table.range({
      start: before ?? { ...from, ...LAST },
      exclusiveStart: true,
      end: { ...from, ...FIRST },
      inclusiveEnd: true,
      reverse: true,
      limit,
    });
    return page.map(({ key, value }) => rowOf(key, value));
  }

  /** Within a commit: forgets the entity. */
  removeEntity(entityId: string): void {
    const keys = this.table.keysOf({
      start: { entityId, part: '', ...FIRST },
      // No part's name reaches it.
      end: { entityId, part: '\u007f', ...LAST },
    });
    for (const key of keys) this.table.remove(key);
  }

  /** Whose rows there are, read `page` at a time; each as often as it has some. */
  *keys(page: number): Iterable<FieldKey> {
    let start: FieldKey | undefined;
    for (;;) {
      const keys = this.table.keysOf({ start, exclusiveStart: start !== undefined, limit: page });
      yield* keys;
      if (keys.length < page) return;
      start = keys.at(-1);
    }
  }

  count(): number {
    return this.table.count();
  }

  /** Every row in the order of the keys, read `page` at a time. Throws STORE_CORRUPT. */
  *entries(page: number): Iterable<FieldRow> {
    for (const { key, value } of this.table.entries(page)) yield rowOf(key, value);
  }
}

function rowOf(key: FieldKey, value: Uint8Array): FieldRow {
  return { ...key, fields: unpack(value) as FieldRow['fields'] };
}

/**
 * Which rows of one part retention keeps, the newest first: those above the horizon, and below it
 * whatever still tells the value of a field there, or that the part is gone (A10).
 */
export function* keptAt(
  rows: Iterable<FieldRow>,
  { moment }: Pick<Horizon, 'moment'>,
): Iterable<FieldRow> {
  const told = new Set<string>();
  let isGone = false;
  for (const row of rows) {
    const isBelow = row.event <= moment && row.known <= moment;
    if (isBelow) {
      const names = Object.keys(row.fields ?? {});
      if (isGone || (row.fields !== null && names.every((name) => told.has(name)))) continue;
      isGone = row.fields === null;
      for (const name of names) told.add(name);
    }
    yield row;
  }
}
