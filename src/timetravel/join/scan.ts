import { Chunk } from '../../store/chunk.ts';
import type { PageVersion } from '../../store/pinned-version.ts';
import { boundsOf, questionAtHorizon } from '../question.ts';
import { Resolution, Resolver } from '../resolve.ts';
import type { RevisionPiece, RevisionPlace, SpineWindow } from '../spine/window.ts';
import * as code from '../status.ts';
import { idColumn, integerColumn, isCodeColumn, timestampColumn } from './columns.ts';
import { batchOf, type ResolvedWindow } from './join-window.ts';
import type { JoinPlan } from './plan.ts';

/** The revisions of a piece, as a window whose rows are answered by themselves. */
export function scanRows(
  { after, rows, from, to, firstRow }: RevisionPiece,
  plan: JoinPlan,
  versions: readonly PageVersion[],
): { resolved: ResolvedWindow; next: RevisionPlace | undefined } {
  const { knownAt = Number.MAX_SAFE_INTEGER, snapshot } = plan.question;
  const range = { from, to, knownAt, snapshot };
  const { ids, resolution, next } = scanRevisions(versions[0]!, range, after, rows);
  const columns = [
    idColumn(plan.refs[0]!.idColumn, ids),
    timestampColumn('event_timestamp', resolution.events),
    timestampColumn('known_timestamp', resolution.knowns),
    timestampColumn('created_timestamp', resolution.createds),
    integerColumn('seq', resolution.seqs),
    isCodeColumn('deleted', resolution.reasons, code.DELETED),
  ];
  const window: SpineWindow = {
    firstRow,
    batch: batchOf(columns, ids.length),
    nameOf: (row) => `row ${firstRow + row + 1}`,
  };
  const resolved: ResolvedWindow = {
    window,
    plan,
    vectors: [versions[0]!.vectors],
    resolutions: [resolution],
    versions: [undefined],
    order: undefined,
  };
  return { resolved, next };
}

/** Which revisions are asked; times in µs. */
interface ScanRange {
  /** Least event time. */
  from: number;
  /** Event times are before it. */
  to: number;
  /** Greatest known time. */
  knownAt: number;
  snapshot: number;
}

/** Revisions one after the other: by entity in the order of the store, and of an entity in A2 order. */
interface Scanned {
  /** One a row. */
  ids: string[];
  /** PRESENT, or NOT_FOUND and DELETED for a tombstone. */
  resolution: Resolution;
  /** Behind which revision the next scan begins; undefined: there are no more. */
  next: RevisionPlace | undefined;
}

/**
 * Up to `rowsMax` revisions of a version behind `after`. Erased entities have none (A8), and what is
 * below the one in force at the horizon of an entity is not among them (A10), whether it is still
 * stored or not.
 */
function scanRevisions(
  version: PageVersion,
  range: ScanRange,
  after: RevisionPlace | undefined,
  rowsMax: number,
): Scanned {
  const { timelines, erasures } = version;
  const out = new Resolution(rowsMax);
  const ids: string[] = [];
  const chunk = new Chunk();
  const floors = new Floors(version);
  let id: string | undefined;
  let floor = Number.NEGATIVE_INFINITY;
  let isErased = false;
  for (let key = timelines.seekFrom(after); key !== undefined; key = timelines.next()) {
    const own = typeof key === 'string' ? key : key.id;
    if (own !== id) {
      id = own;
      isErased = !erasures.none && erasures.has(id);
      floor = isErased ? 0 : floors.of(id);
    }
    if (isErased) continue;
    timelines.current(chunk);
    const isFirst = after?.id === id;
    for (let at = isFirst ? chunk.insertionPoint(after) : 0; at < chunk.count; at++) {
      const event = chunk.event(at);
      if (event >= range.to) break;
      const isAsked = event >= range.from && event >= floor;
      if (!isAsked || chunk.seq(at) > range.snapshot || chunk.known(at) > range.knownAt) continue;
      if (ids.length === rowsMax) {
        const last = ids.length - 1;
        const next = {
          id: ids[last]!,
          event: out.events[last]!,
          known: out.knowns[last]!,
          seq: out.seqs[last]!,
        };
        return { ids, resolution: out, next };
      }
      out.win(ids.length, chunk, at, Number.NEGATIVE_INFINITY);
      ids.push(id);
    }
  }
  return { ids, resolution: out.first(ids.length), next: undefined };
}

/** From which event time on the revisions of an entity are kept. */
class Floors {
  private resolver: Resolver;
  private isNone: boolean;
  private bounds;
  private out = new Resolution(1);

  constructor(version: PageVersion) {
    const { moment } = version.horizon;
    this.isNone = moment === Number.NEGATIVE_INFINITY;
    // Timelines of its own: those that are scanned stand where they are.
    this.resolver = new Resolver({ ...version, timelines: version.timelines.another() });
    this.bounds = boundsOf(questionAtHorizon(moment));
  }

  of(id: string): number {
    if (this.isNone) return Number.NEGATIVE_INFINITY;
    this.resolver.open(id);
    this.resolver.answer(this.bounds, this.out, 0);
    const [event] = this.out.events;
    return Number.isNaN(event) ? Number.NEGATIVE_INFINITY : event!;
  }
}
