import { makeData, RecordBatch, Schema, Struct } from 'apache-arrow';

import { type ErrorCode, TidemarkError } from '../../ground/errors.ts';
import { numberBytes } from '../../store/dtype.ts';
import type { PageVersion } from '../../store/pinned-version.ts';
import { radixOrder } from '../../store/radix-order.ts';
import type { Answer, VectorColumn } from '../formats/answer.ts';
import { withDictionaryIds } from '../formats/arrow-schema.ts';
import { Resolution } from '../resolve.ts';
import { idsOf } from '../spine/ids.ts';
import { momentsOf } from '../spine/moments.ts';
import type { IdColumn, SpineWindow } from '../spine/window.ts';
import * as code from '../status.ts';
import { REASONS, STATUSES } from '../status.ts';
import {
  codeColumn,
  type Column,
  floatColumn,
  integerColumn,
  rowColumn,
  timestampColumn,
} from './columns.ts';
import { idOrder } from './id-order.ts';
import { type JoinPlan, type JoinRef, namesOf, versionsOf } from './plan.ts';
import { Reigning, type VectorReads } from './reigning.ts';
import { resolveWindow } from './resolve-window.ts';
import { readScales } from './scales.ts';
import { type Keep, StagedVectors } from './staged-vectors.ts';
import { INVALID_SHOWN, noCounts } from './summary.ts';
import { take } from './take.ts';
import type { InvalidRow, RefCounts } from './window-done.ts';

/** By these readers of lines tell how an answer ended. */
const RESERVED = ['__summary', '__error'];
/** What the numbers of vectors of int8 are times: a column behind them. */
const SCALE = 'scale';
/** Where rows are not in the spine's order: the number of each, from 0. */
const ROW_NUMBER = 'row_number';

/** A window of a spine, and the revision in force for each row and reference. */
export interface ResolvedWindow {
  window: SpineWindow;
  plan: JoinPlan;
  /** One a reference: where the vectors are that its resolution names. */
  vectors: readonly VectorReads[];
  /** One a reference, its rows in the order of the answer. */
  resolutions: readonly Resolution[];
  /** Of a reference with reigns, in the same order: see `Reigned`. */
  versions: readonly (Uint8Array | undefined)[];
  /** The window's rows in the order of the answer; undefined: their own. */
  order: Int32Array | undefined;
}

/**
 * Resolves every row of a window for every reference (A11). `versions`: those of each reference's
 * `versionsOf`, one after another.
 * Throws BAD_REQUEST for a column that is missing or of no use and, where the plan is strict, for the
 * first row that is INVALID (BEFORE_RETENTION for that reason, VERSION_NOT_FOUND for a version that
 * is retired); NAME_COLLISION; STORE_CORRUPT.
 */
export function resolveRows(
  window: SpineWindow,
  plan: JoinPlan,
  versions: readonly PageVersion[],
): ResolvedWindow {
  refuseCollisions(window, plan);
  const answerers = answerersOf(plan, versions);
  const vectors = answerers.map((each) => each.vectors);
  if (window.batch.schema.fields.length === 0 && window.batch.numRows === 0) {
    // Lines without one of them have no columns to be missed.
    const resolutions = plan.refs.map(() => new Resolution(0));
    const none = plan.refs.map(({ reigns }) => reigns && new Uint8Array());
    return { window, plan, vectors, resolutions, versions: none, order: undefined };
  }
  const moments = momentsOf(window, plan.timeColumn);
  const ids = new Map<string, IdColumn>();
  for (const { idColumn } of plan.refs) {
    if (!ids.has(idColumn)) ids.set(idColumn, idsOf(window, idColumn));
  }
  const isWhole = plan.columns.known || plan.columns.created;
  const found = plan.refs.map((ref, at) => {
    const question = { ...plan.question, asOf: undefined, maxAge: ref.maxAge };
    const own = ids.get(ref.idColumn)!;
    const answerer = answerers[at]!;
    const { resolution, versions: codes } =
      answerer instanceof Reigning
        ? answerer.resolve(own, moments, question, isWhole)
        : {
            resolution: resolveWindow(answerer, own, moments, question, isWhole),
            versions: undefined,
          };
    if (plan.strict) refuseInvalid(resolution, window, ref, plan);
    return { resolution, codes };
  });
  const isByEntity = plan.order === 'entity';
  const order = isByEntity ? entityOrder(ids.get(plan.refs[0]!.idColumn)!, moments) : undefined;
  return {
    window,
    plan,
    vectors,
    resolutions: found.map(({ resolution }) => (order ? resolution.take(order) : resolution)),
    versions: found.map(({ codes }) =>
      order && codes ? Uint8Array.from(order, (row) => codes[row]!) : codes,
    ),
    order,
  };
}

/** Who answers the rows of each reference. */
function answerersOf(
  { refs }: JoinPlan,
  versions: readonly PageVersion[],
): (PageVersion | Reigning)[] {
  let next = 0;
  return refs.map((ref) => {
    const own = versions.slice(next, (next += versionsOf(ref).length));
    return ref.reigns === undefined ? own[0]! : new Reigning(ref.reigns, own);
  });
}

/** A column whose vectors can also be set down by slices of so many rows first. */
export interface StagingColumn extends VectorColumn {
  stage(sliceRows: number, keep: Keep): Pick<StagedVectors, 'copy'>;
}

/** An answer that can be written slice by slice. */
export interface WindowAnswer extends Answer {
  vectors: readonly StagingColumn[];
}

/**
 * The answer of a window, but for the bytes of its vectors. `vectorRows`: with `vectors=ref`, for
 * each reference the number of each row's vector, −1 where there is none.
 */
export function answerOf(
  { window, plan, vectors: pools, resolutions, versions, order }: ResolvedWindow,
  vectorRows?: readonly Int32Array[],
): WindowAnswer {
  const { batch, firstRow, lines } = window;
  const columns = batch.schema.fields.map((field, at): Column => {
    const data = batch.data.children[at]!;
    return { field, data: order === undefined ? data : take(data, order, field.name) };
  });
  const spineColumns = columns.length;
  if (order !== undefined) {
    const numbers = Float64Array.from(order, (row) => firstRow + row);
    columns.push(integerColumn(ROW_NUMBER, numbers));
  }
  const vectors: StagingColumn[] = [];
  plan.refs.forEach((ref, at) => {
    const resolution = resolutions[at]!;
    const addVectors = (name: string, scale: string): void => {
      if (vectorRows !== undefined) {
        columns.push(rowColumn(name, vectorRows[at]!));
        return;
      }
      const place = columns.length + vectors.length;
      vectors.push(vectorColumn(name, place, ref, resolution, pools[at]!));
      if (ref.dtype === 'int8') {
        const { vectorIds } = resolution;
        const rows = presentRows(resolution);
        columns.push(floatColumn(scale, readScales(pools[at]!, ref.dim, vectorIds, rows)));
      }
    };
    if (plan.revisions !== undefined) {
      addVectors(vectorName(plan), SCALE);
      return;
    }
    const isPresent = (row: number): boolean => resolution.statuses[row] === code.PRESENT;
    const time = (values: Float64Array): Float64Array =>
      values.map((value, row) => (isPresent(row) ? value : Number.NaN));
    const names = addedNames(ref.name, plan);
    const [own, scale, version, event, known, created, status, reason] = names;
    addVectors(own, scale);
    if (ref.reigns !== undefined) {
      columns.push(codeColumn(version, versions[at]!, [null, ...namesOf(ref.reigns)]));
    }
    columns.push(timestampColumn(event, time(resolution.events)));
    if (plan.columns.known) columns.push(timestampColumn(known, time(resolution.knowns)));
    if (plan.columns.created) columns.push(timestampColumn(created, time(resolution.createds)));
    columns.push(codeColumn(status, resolution.statuses, STATUSES));
    columns.push(codeColumn(reason, resolution.reasons, REASONS));
  });
  return {
    firstRow,
    batch: batchOf(columns, batch.numRows, batch.schema),
    vectors,
    spineColumns,
    ...(lines !== undefined && { lines: order ? Array.from(order, (row) => lines[row]!) : lines }),
  };
}

export function batchOf(columns: readonly Column[], rows: number, like?: Schema): RecordBatch {
  // The spine's dictionaries and ours are numbered apart, and may have the same numbers.
  const fields = withDictionaryIds(columns.map(({ field }) => field));
  const children = columns.map(({ data }) => data);
  const type = new Struct(fields);
  return new RecordBatch(
    new Schema(fields, like?.metadata),
    makeData({ type, length: rows, nullCount: 0, children }),
  );
}

/** How many rows of each reference had which status and reason. */
export function countsOf({ plan, resolutions, versions }: ResolvedWindow): RefCounts[] {
  return noCounts(plan).map((counts, at) => {
    for (const status of resolutions[at]!.statuses) counts.statuses[status]!++;
    for (const reason of resolutions[at]!.reasons) counts.reasons[reason]!++;
    for (const version of versions[at] ?? []) if (version > 0) counts.versions![version - 1]!++;
    return counts;
  });
}

/** The first rows that are INVALID, by the names that the spine has for them. */
export function invalidOf({ window, plan, resolutions, order }: ResolvedWindow): InvalidRow[] {
  const rows: InvalidRow[] = [];
  plan.refs.forEach(({ name }, at) => {
    const { statuses, reasons } = resolutions[at]!;
    for (
      let row = statuses.indexOf(code.INVALID);
      row >= 0 && rows.length < INVALID_SHOWN;
      row = statuses.indexOf(code.INVALID, row + 1)
    ) {
      const where = window.nameOf(order?.[row] ?? row);
      rows.push({ row: where, feature_view: name, reason: REASONS[reasons[row]!]! });
    }
  });
  return rows;
}

function vectorColumn(
  name: string,
  at: number,
  { dim, dtype }: JoinRef,
  resolution: Resolution,
  vectors: VectorReads,
): StagingColumn {
  const valid = new Uint8Array(resolution.statuses.length);
  const present = presentRows(resolution);
  for (const row of present) valid[row] = 1;
  const { vectorIds } = resolution;
  const bytes = numberBytes(dim, dtype);
  return {
    name,
    at,
    dim,
    dtype,
    valid,
    gather: (out, offsets) => vectors.copy(vectorIds, present, out, offsets, bytes),
    stage: (sliceRows, keep) =>
      new StagedVectors(vectors, vectorIds, present, sliceRows, bytes, keep),
  };
}

function presentRows({ statuses }: Resolution): Int32Array {
  const rows = new Int32Array(statuses.length);
  let count = 0;
  for (let row = 0; row < statuses.length; row++) {
    if (statuses[row] === code.PRESENT) rows[count++] = row;
  }
  return rows.subarray(0, count);
}

/** Rows by entity in the order that the store keeps them in, and of an entity by their moments. */
function entityOrder({ ids, ordinals }: IdColumn, moments: Float64Array): Int32Array {
  const ranks = new Float64Array(ids.length + 1);
  idOrder(ids).forEach((ordinal, rank) => (ranks[ordinal + 1] = rank + 1));
  const times = radixOrder(moments.map((moment) => (Number.isNaN(moment) ? 0 : moment)));
  const entities = radixOrder(Float64Array.from(times, (row) => ranks[ordinals[row]! + 1]!));
  return entities.map((at) => times[at]!);
}

/** The columns that a reference may add, in their order; those not asked for among them. */
function addedNames(
  name: string,
  plan: JoinPlan,
): [string, string, string, string, string, string, string, string] {
  const after = [
    SCALE,
    'version',
    'event_timestamp',
    'known_timestamp',
    'created_timestamp',
    'status',
    'reason',
  ];
  return [vectorName(plan), ...after].map((column) => `${name}__${column}`) as ReturnType<
    typeof addedNames
  >;
}

function vectorName({ vectors }: JoinPlan): string {
  return vectors === 'ref' ? 'vector_row' : 'vector';
}

function refuseCollisions(window: SpineWindow, plan: JoinPlan): void {
  const names = new Set(window.batch.schema.fields.map(({ name }) => name));
  for (const column of plan.format === 'ndjson' ? RESERVED : []) {
    if (!names.has(column)) continue;
    throw new TidemarkError(
      'NAME_COLLISION',
      `${whoHas(window, column)} a column ${column}, by which the end of the answer is told; rename it`,
    );
  }
  if (plan.order === 'entity' && names.has(ROW_NUMBER)) {
    throw new TidemarkError(
      'NAME_COLLISION',
      `${whoHas(window, ROW_NUMBER)} a column ${ROW_NUMBER}, which order=entity adds; rename it`,
    );
  }
  for (const { name, dtype, reigns } of plan.refs) {
    const [own, scale, version, event, known, created, status, reason] = addedNames(name, plan);
    const added = [
      own,
      ...(dtype === 'int8' && plan.vectors === 'inline' ? [scale] : []),
      ...(reigns === undefined ? [] : [version]),
      event,
      ...(plan.columns.known ? [known] : []),
      ...(plan.columns.created ? [created] : []),
      status,
      reason,
    ];
    for (const column of added) {
      if (!names.has(column)) continue;
      throw new TidemarkError(
        'NAME_COLLISION',
        `${whoHas(window, column)} a column ${column}, which the join adds; ` +
          `rename the reference, as in other_name=${name}`,
      );
    }
  }
}

/** The row that has it, where rows may lack columns. */
function whoHas(window: SpineWindow, column: string): string {
  const { lines = [] } = window;
  const row = lines.findIndex((line) => Object.hasOwn(JSON.parse(`${String(line)}}`), column));
  return row < 0 ? 'the spine has' : `${window.nameOf(row)} has`;
}

function refuseInvalid(
  { statuses, reasons }: Resolution,
  window: SpineWindow,
  ref: JoinRef,
  plan: JoinPlan,
): void {
  const at = statuses.indexOf(code.INVALID);
  if (at < 0) return;
  const reason = REASONS[reasons[at]!];
  throw new TidemarkError(
    REFUSED_AS[reasons[at]!] ?? 'BAD_REQUEST',
    `${window.nameOf(at)} is INVALID for ${ref.name}: ${reason}${columnOf(reasons[at]!, ref, plan)}; ` +
      'mend it, or leave out strict to have such rows marked',
  );
}

/** What a row is refused as that is in order, but for what is gone. */
const REFUSED_AS: Record<number, ErrorCode> = {
  [code.BEFORE_RETENTION]: 'BEFORE_RETENTION',
  [code.VERSION_RETIRED]: 'VERSION_NOT_FOUND',
};

/** Where in the row to look for what is wrong. */
function columnOf(reason: number, { idColumn }: JoinRef, { timeColumn }: JoinPlan): string {
  if (reason === code.BAD_ENTITY_ID) return ` (its column ${idColumn})`;
  return reason === code.BAD_TIMESTAMP ? ` (its column ${timeColumn})` : '';
}
