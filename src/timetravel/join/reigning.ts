import type { PageVectors, Take } from '../../store/page-vectors.ts';
import type { PageVersion } from '../../store/pinned-version.ts';
import type { Question } from '../question.ts';
import { Resolution } from '../resolve.ts';
import type { IdColumn } from '../spine/window.ts';
import * as code from '../status.ts';
import { liveOf, namesOf, type Reign } from './plan.ts';
import { resolveWindow } from './resolve-window.ts';

/** Vectors that are read many at a time. */
export type VectorReads = Pick<PageVectors, 'each' | 'copy'>;

/** The answers of a window's rows, and by which version each was made. */
export interface Reigned {
  /** Its vector ids are those of `ReigningVectors`. */
  resolution: Resolution;
  /** 1 and on for the names of the versions in their order; 0 for a row without a moment. */
  versions: Uint8Array;
}

/**
 * The versions of a view, each of which answers the rows whose moments lie in its reigns: those rows
 * are resolved by themselves, and their answers set down in the rows' places.
 */
export class Reigning {
  readonly vectors: VectorReads;
  private versions: readonly PageVersion[];
  private from: Float64Array;
  /** By reign: which of the versions, behind all of them for one that is retired. */
  private groups: Uint8Array;
  /** By reign: what `Reigned.versions` has for it. */
  private codes: Uint8Array;

  /** `versions`: those of `liveOf`. */
  constructor(reigns: readonly Reign[], versions: readonly PageVersion[]) {
    const live = liveOf(reigns);
    const names = namesOf(reigns);
    this.versions = versions;
    this.vectors = new ReigningVectors(versions.map(({ vectors }) => vectors));
    this.from = Float64Array.from(reigns, ({ from }) => from);
    this.groups = Uint8Array.from(reigns, ({ version, isRetired }) =>
      isRetired ? versions.length : live.indexOf(version),
    );
    this.codes = Uint8Array.from(reigns, ({ version }) => names.indexOf(version) + 1);
  }

  /** See `resolveWindow`. */
  resolve(own: IdColumn, moments: Float64Array, question: Question, isWhole: boolean): Reigned {
    const { length } = moments;
    const groups = new Uint8Array(length);
    const codes = new Uint8Array(length);
    for (let row = 0; row < length; row++) {
      // Any version says of a row without a moment what is to be said.
      if (Number.isNaN(moments[row])) continue;
      const reign = this.reignOf(moments[row]!);
      groups[row] = this.groups[reign]!;
      codes[row] = this.codes[reign]!;
    }
    const out = new Resolution(length, isWhole);
    byGroup(groups, this.versions.length + 1).forEach((rows, group) => {
      if (rows.length === 0) return;
      const ids = idsAt(own, rows);
      const version = this.versions[group];
      const found =
        version === undefined
          ? this.retired(ids, isWhole)
          : resolveWindow(version, ids, take(moments, rows), question, isWhole);
      this.markIds(found, group);
      out.set(rows, found);
    });
    return { resolution: out, versions: codes };
  }

  /** The last one that began at the moment or before it: all bounds of A1 but its own are inclusive. */
  private reignOf(moment: number): number {
    const { from } = this;
    let [low, high] = [0, from.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (from[middle]! <= moment) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Rows whose version is gone; who was erased is so in every version, past or present (A8). */
  private retired({ ids, ordinals }: IdColumn, isWhole: boolean): Resolution {
    const { erasures } = this.versions[0]!;
    const erased = Uint8Array.from(ids, (id) => (!erasures.none && erasures.has(id) ? 1 : 0));
    const out = new Resolution(ordinals.length, isWhole);
    for (let row = 0; row < ordinals.length; row++) {
      const ordinal = ordinals[row]!;
      if (ordinal < 0) out.miss(row, code.INVALID, code.BAD_ENTITY_ID);
      else if (erased[ordinal] === 1) out.miss(row, code.NOT_FOUND, code.ERASED);
      else out.miss(row, code.INVALID, code.VERSION_RETIRED);
    }
    return out;
  }

  private markIds({ statuses, vectorIds }: Resolution, group: number): void {
    const unit = unitOf(this.versions.length);
    for (let row = 0; row < statuses.length; row++) {
      if (statuses[row] === code.PRESENT) vectorIds[row] = vectorIds[row]! * unit + group;
    }
  }
}

/**
 * The vectors of several versions as if they were of one. The number of the version is in the last
 * bits of an id, so that ids of all of them lie as close together as those of one do.
 */
class ReigningVectors implements VectorReads {
  private pools: readonly PageVectors[];

  constructor(pools: readonly PageVectors[]) {
    this.pools = pools;
  }

  each(ids: Float64Array, rows: Int32Array, show: Take): void {
    const unit = unitOf(this.pools.length);
    const own = new Float64Array(ids.length);
    const groups = new Uint8Array(rows.length);
    for (let at = 0; at < rows.length; at++) {
      const row = rows[at]!;
      own[row] = Math.floor(ids[row]! / unit);
      groups[at] = ids[row]! - own[row] * unit;
    }
    byGroup(groups, this.pools.length).forEach((places, group) => {
      for (let at = 0; at < places.length; at++) places[at] = rows[places[at]!]!;
      this.pools[group]!.each(own, places, show);
    });
  }

  copy(
    ids: Float64Array,
    rows: Int32Array,
    out: Uint8Array,
    offsets: Uint32Array,
    bytes: number,
  ): void {
    this.each(ids, rows, (row, from, at) => {
      from.copy(out, offsets[row], at, at + bytes);
    });
  }
}

/** A power of two, which divides exactly. */
function unitOf(versions: number): number {
  return 2 ** Math.ceil(Math.log2(versions));
}

/** The indices of each of so many groups, ascending. */
function byGroup(groups: Uint8Array, count: number): Int32Array[] {
  const ends = new Int32Array(count + 1);
  for (let at = 0; at < groups.length; at++) ends[groups[at]! + 1]!++;
  for (let group = 1; group <= count; group++) ends[group]! += ends[group - 1]!;
  const starts = ends.slice();
  const all = new Int32Array(groups.length);
  for (let at = 0; at < groups.length; at++) all[ends[groups[at]!]!++] = at;
  return Array.from({ length: count }, (_, group) => all.subarray(starts[group], ends[group]));
}

function take(values: Float64Array, rows: Int32Array): Float64Array {
  const taken = new Float64Array(rows.length);
  for (let at = 0; at < rows.length; at++) taken[at] = values[rows[at]!]!;
  return taken;
}

/** The entity ids of some rows, and no others. */
function idsAt({ ids, ordinals }: IdColumn, rows: Int32Array): IdColumn {
  const places = new Int32Array(ids.length).fill(-1);
  const own: string[] = [];
  const taken = new Int32Array(rows.length);
  for (let at = 0; at < rows.length; at++) {
    const ordinal = ordinals[rows[at]!]!;
    if (ordinal >= 0 && places[ordinal]! < 0) places[ordinal] = own.push(ids[ordinal]!) - 1;
    taken[at] = ordinal < 0 ? -1 : places[ordinal]!;
  }
  return { ids: own, ordinals: taken };
}
