import { askedOptions } from '../harness/options.ts';

/** What is joined to what. */
export interface Shape {
  /** Rows of the spine. */
  rows: number;
  revisions: number;
  dim: number;
}

/** An entity has ten revisions or so. */
export function entitiesOf({ revisions }: Shape): number {
  return Math.ceil(revisions / 10);
}

/**
 * The shape that the command line names, for a look, or the benchmark's own divided by `less`;
 * whether it is the benchmark's own.
 */
export function askedShape(standard: Shape, less = 20): { shape: Shape; isStandard: boolean } {
  const { isStandard, words } = askedOptions(['words']);
  if (isStandard) return { shape: standard, isStandard };
  const [rows = standard.rows / less, revisions = rows, dim = standard.dim] = words.map(Number);
  return { shape: { rows, revisions, dim }, isStandard };
}

/** 1M rows × 1M revisions × 128-d */
export function shapeText({ rows, revisions, dim }: Shape): string {
  return `${short(rows)} rows × ${short(revisions)} revisions × ${dim}-d`;
}

function short(count: number): string {
  if (count >= 1e6) return `${count / 1e6}M`;
  return count >= 1e3 ? `${count / 1e3}k` : `${count}`;
}
