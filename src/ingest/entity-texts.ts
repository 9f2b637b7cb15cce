import { TidemarkError } from '../ground/errors.ts';
import { DELETED, type RevisionBatch } from '../store/batch.ts';
import type { ModelVersion } from '../store/catalogue.ts';
import type { FieldRow } from '../store/fields.ts';
import type { FieldChanges } from './field-changes.ts';
import { EntityRows, type FieldSource, type Parts, type Said } from './parts.ts';
import type { TextInput } from './pipeline.ts';
import { formatValue } from './prompt.ts';
import { UNSAID } from './source-record.ts';
import type { Turns } from './turns.ts';

/** What somebody says of an entity: a text, fields of its prompt, or (null) that it is deleted. */
export interface TextRecord {
  entityId: string;
  /** µs */
  event: number;
  /** µs */
  known: number;
  /** Which part of the entity it is about, where the version's prompt has parts. */
  part?: string | undefined;
  input: TextInput | null;
}

/** A revision to be: its times, µs, and its payload in the batch, or `DELETED`. */
interface SaidRow {
  event: number;
  known: number;
  payload: number;
}

/** Records ready for a commit. */
export interface AddedTexts {
  /**
   * For each record the revisions that it leads to, its own first, or why it leads to none. Without
   * parts it has one; none where a later record of its entity makes it of no interest.
   */
  rows: (SaidRow[] | TidemarkError)[];
  /** To be committed with the rows; undefined where the version has no parts. */
  fields: FieldRow[] | undefined;
  /** To be called when the commit is over, however it went. */
  release: () => void;
}

/** Gives each input its payload in the batch, or why it has none. */
type Embed = (
  batch: RevisionBatch,
  inputs: readonly TextInput[],
) => Promise<(number | TidemarkError)[]>;

export interface EntityTextsParts {
  embed: Embed;
  turns: Turns;
  /** What was said before, as it is now. */
  fields: () => FieldSource;
  changes: FieldChanges | undefined;
  /** Whether only the last record of an entity is of interest (see `history` of a view). */
  isLatestOnly: boolean;
}

/** A revision to be, before it is embedded. `fields` of null: a tombstone. */
type Claim = Said & { input: TextInput | null };

/**
 * Makes texts ready for a commit to one model version. Where its prompt has parts, what is said is
 * put together with what was said before, which nobody else may add to until that is committed.
 * Throws what the embedder throws.
 */
export async function addEntityTexts(
  { model }: ModelVersion,
  batch: RevisionBatch,
  records: readonly TextRecord[],
  using: EntityTextsParts,
): Promise<AddedTexts> {
  const parts = model?.prompt?.parts;
  if (parts === undefined) {
    const rows = await addWhole(batch, records, using);
    return { rows, fields: undefined, release: () => {} };
  }
  const release = await using.turns.take(records.map(({ entityId }) => entityId));
  try {
    return { ...(await addParts(batch, records, parts, using)), release };
  } catch (error) {
    release();
    throw error;
  }
}

async function addWhole(
  batch: RevisionBatch,
  records: readonly TextRecord[],
  using: EntityTextsParts,
): Promise<AddedTexts['rows']> {
  const refused = new Map<number, TidemarkError>();
  for (;;) {
    const claims = records.map((record, at) => {
      const refusal = refused.get(at);
      if (refusal !== undefined) return refusal;
      return record.part === undefined ? [claimOf(record)] : noParts();
    });
    const rows = await embedClaims(batch, records, claims, using);
    // Where each stands for itself, one that is refused changes nothing about the others.
    if (!using.isLatestOnly || !refuseFirst(records, rows, refused)) return rows;
  }
}

function claimOf({ event, known, input }: TextRecord): Claim {
  return { event, known, input, fields: input !== null && 'fields' in input ? input.fields : null };
}

function noParts(): TidemarkError {
  return new TidemarkError(
    'BAD_INPUT',
    'got a part of an entity, expected all of it: the prompt of the model version has no parts',
  );
}

/** A record that is refused has said nothing: those after it are put together without it. */
async function addParts(
  batch: RevisionBatch,
  records: readonly TextRecord[],
  parts: Parts,
  using: EntityTextsParts,
): Promise<Pick<AddedTexts, 'rows' | 'fields'>> {
  const refused = new Map<number, TidemarkError>();
  for (;;) {
    const fields: FieldRow[] = [];
    const claims = sayAll(records, parts, using.fields(), refused, fields);
    const rows = await embedClaims(batch, records, claims, using);
    if (!refuseFirst(records, rows, refused)) return { rows, fields };
  }
}

/** Of every entity the first record that is refused: without it the next may be in order. */
function refuseFirst(
  records: readonly TextRecord[],
  rows: AddedTexts['rows'],
  refused: Map<number, TidemarkError>,
): boolean {
  const found = new Set<string>();
  for (const [at, row] of rows.entries()) {
    if (!(row instanceof TidemarkError) || refused.has(at)) continue;
    const { entityId } = records[at]!;
    if (!found.has(entityId)) refused.set(at, row);
    found.add(entityId);
  }
  return found.size > 0;
}

/** What each record leads to; what is refused here is put among the `refused`. */
function sayAll(
  records: readonly TextRecord[],
  parts: Parts,
  source: FieldSource,
  refused: Map<number, TidemarkError>,
  fields: FieldRow[],
): (Claim[] | TidemarkError)[] {
  const first = new Map<string, { event: number; known: number }>();
  for (const { entityId, event, known } of records) {
    const { event: e = event, known: k = known } = first.get(entityId) ?? {};
    first.set(entityId, { event: Math.min(e, event), known: Math.min(k, known) });
  }
  const entities = new Map<string, EntityRows>();
  return records.map((record, at) => {
    const refusal = refused.get(at);
    if (refusal !== undefined) return refusal;
    const { entityId } = record;
    let entity = entities.get(entityId);
    if (entity === undefined) {
      entity = new EntityRows(source, entityId, parts, first.get(entityId)!);
      entities.set(entityId, entity);
    }
    try {
      const rows = rowsOf(record, parts).map((row) => entity.merged(row));
      for (const row of rows) requireTold(entity, row);
      const said = rows.flatMap((row) => entity.say(row));
      fields.push(...rows);
      // Of what several rows say of one moment the last one says it all.
      const claims = new Map<string, Claim>();
      for (const each of said) {
        const input = each.fields && { fields: each.fields };
        claims.set(`${each.event} ${each.known}`, { ...each, input });
      }
      return [...claims.values()];
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error;
      refused.set(at, error);
      return error;
    }
  });
}

/** What a record says of its part; a delete that names none, of every part. */
function rowsOf({ entityId, event, known, part, input }: TextRecord, parts: Parts): FieldRow[] {
  const names = Object.keys(parts);
  if (part === undefined && input === null) {
    return names.map((each) => ({ entityId, part: each, event, known, fields: null }));
  }
  if (part === undefined || !Object.hasOwn(parts, part)) {
    throw new TidemarkError(
      'BAD_INPUT',
      `got ${part === undefined ? 'no part' : `the part ${JSON.stringify(part)}`}, expected one of the prompt’s: ${names.join(', ')}`,
    );
  }
  if (input === null) return [{ entityId, part, event, known, fields: null }];
  if (!('fields' in input)) {
    throw new TidemarkError('BAD_INPUT', `got a text, expected the fields of the part ${part}`);
  }
  const given = input.fields;
  const fields: Record<string, unknown> = {};
  for (const name of parts[part]!) {
    const value = Object.hasOwn(given, name) ? given[name] : null;
    if (value === UNSAID) continue;
    // Before anybody compares it, or keeps it.
    formatValue(name, value);
    fields[name] = value ?? null;
  }
  return [{ entityId, part, event, known, fields }];
}

function requireTold(entity: EntityRows, row: FieldRow): void {
  const untold = entity.untold(row);
  if (untold.length === 0) return;
  throw new TidemarkError(
    'BAD_INPUT',
    `the record does not tell ${untold.join(', ')}, expected values that it or an earlier record tells`,
  );
}

async function embedClaims(
  batch: RevisionBatch,
  records: readonly TextRecord[],
  claims: readonly (Claim[] | TidemarkError)[],
  { embed, changes, isLatestOnly }: EntityTextsParts,
): Promise<(SaidRow[] | TidemarkError)[]> {
  const wanted = isLatestOnly ? latestOnly(records, claims) : claims;
  const flat = wanted.flatMap((each) => (each instanceof TidemarkError ? [] : each));
  const inputs = flat.flatMap(({ input }) => (input === null ? [] : [input]));
  const payloads = await embed(batch, inputs);
  let next = 0;
  return wanted.map((each, at) => {
    if (each instanceof TidemarkError) return each;
    let failure: TidemarkError | undefined;
    const rows = each.map(({ event, known, input }): SaidRow => {
      const payload = input === null ? DELETED : payloads[next++]!;
      if (typeof payload === 'number') return { event, known, payload };
      failure ??= payload;
      return { event, known, payload: DELETED };
    });
    const fields = each[0]?.fields;
    if (failure === undefined && fields) changes?.note(records[at]!.entityId, fields);
    return failure ?? rows;
  });
}

/** Of every entity the last claim by event and known time. */
function latestOnly(
  records: readonly TextRecord[],
  claims: readonly (Claim[] | TidemarkError)[],
): (Claim[] | TidemarkError)[] {
  const latest = new Map<string, Claim>();
  claims.forEach((each, at) => {
    if (each instanceof TidemarkError) return;
    const { entityId } = records[at]!;
    for (const claim of each) {
      const before = latest.get(entityId);
      const isLater =
        before === undefined ||
        claim.event > before.event ||
        (claim.event === before.event && claim.known >= before.known);
      if (isLater) latest.set(entityId, claim);
    }
  });
  return claims.map((each, at) =>
    each instanceof TidemarkError
      ? each
      : each.filter((claim) => claim === latest.get(records[at]!.entityId)),
  );
}
