import { TidemarkError } from '../ground/errors.ts';
import type { CatalogueEvent, Lineage } from './catalogue.ts';
import type { Change } from './change-log.ts';
import type { FieldRow } from './fields.ts';

/** What a leader says of itself before its changes. */
export interface Leader {
  url: string;
  lineage: Lineage;
  erasureKey: Uint8Array;
}

/** Revisions as a leader sends them, in the order of their seqs. */
export interface LeaderChanges {
  view: string;
  version: string;
  changes: readonly Change[];
  /** The vectors that the changes point to, by id; those that were sent before may lack. */
  vectors: ReadonlyMap<number, Uint8Array>;
  /** What is stored of the texts of these vectors, by the same ids, where they are kept. */
  texts?: ReadonlyMap<number, Uint8Array>;
  /** What was said of parts of their entities at just their moments. */
  fields?: readonly FieldRow[];
}

/** What a leader sends. Events of the catalogue come ahead of the revisions, in their own order. */
export type LeaderItem = LeaderChanges | { event: CatalogueEvent };

/** A write was asked of a replica. */
export class ReadOnlyReplica extends TidemarkError {
  override name = 'ReadOnlyReplica';
  readonly leader: string;

  constructor(leader: string) {
    super(
      'READ_ONLY_REPLICA',
      `this is a read replica of ${leader}: write there, or promote the replica`,
    );
    this.leader = leader;
  }
}

/** `what` is here, and the leader has another one under its number. */
export function clashing(url: string, what: string): TidemarkError {
  return new TidemarkError(
    'REPLICA_DIVERGED',
    `${what} is another one here than at ${url}: ` +
      'follow with an empty directory, or with a backup of that leader',
  );
}

export function diverged(url: string, held: number, shared: number): TidemarkError {
  return new TidemarkError(
    'REPLICA_DIVERGED',
    `this store has changes up to seq ${held}, and shares its past with ${url} up to ${shared}: ` +
      'follow with an empty directory, or with a backup of that leader',
  );
}

/**
 * A setting that was left as it was would make a promoted store a replica again; and where the old
 * address is its own follower's by now, nobody would lead. Throws REPLICA_DIVERGED.
 */
export function requireOther(leader: string, left: string | undefined): void {
  if (leader !== left) return;
  throw new TidemarkError(
    'REPLICA_DIVERGED',
    `this store was promoted from being a replica of ${leader}, and leads: start it without follow; ` +
      'to follow that one again begin with an empty directory, or with a backup of it',
  );
}
