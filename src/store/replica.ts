import { TidemarkError } from '../ground/errors.ts';
import type {
  Catalogue,
  CatalogueEvent,
  ErasureEvent,
  FeatureView,
  Following,
  Moment,
  ViewChange,
} from './catalogue.ts';
import type { Change } from './change-log.ts';
import { NotFlushed } from './environment.ts';
import type { ErasedSet } from './erased-set.ts';
import { unpackHashes } from './erasures.ts';
import type { FieldRow } from './fields.ts';
import { refuseBelowHorizon } from './horizon.ts';
import {
  clashing,
  diverged,
  type Leader,
  type LeaderChanges,
  type LeaderItem,
  requireOther,
} from './leader.ts';
import { seqGulf, sharedUpTo } from './lineage.ts';
import type { Maintenance } from './maintenance.ts';
import { replay } from './replay.ts';
import { followOffsets, truncate, vectorsAbove } from './truncate.ts';
import type { VersionStore } from './version-store.ts';
import { nameOf, type Versions } from './versions.ts';
import { unavailable, type Writer } from './writer.ts';

/** The parts of a store that following moves. */
interface Parts {
  catalogue: Catalogue;
  writer: Writer;
  maintenance: Maintenance;
  erased: ErasedSet;
  versions: Versions;
}

/** Changes in one transaction: other requests wait meanwhile. */
const COMMIT_ROWS = 2_048;

/**
 * The side of a store that follows another one: what its leader committed is stored here as it is,
 * with its seqs, times and vector ids, so that both answer alike at the same snapshot.
 *
 * The catalogue runs ahead of the revisions: the leader's of now says what may be asked at all, and
 * what it dropped, erased or let go is no longer among the revisions that it sends.
 */
export class Replica {
  private parts: Parts;
  private leader: string | undefined;
  /** Events here that the leader must have, too, for this store to be its replica. */
  private unproven: { leader: Leader; shared: number; seqs: Set<number> } | undefined;

  constructor(parts: Parts) {
    this.parts = parts;
  }

  /** Whom this store follows, or is to follow; undefined for a store of its own. */
  get following(): Following | undefined {
    const { catalogue, writer } = this.parts;
    const leader = this.leader ?? catalogue.following()?.leader;
    return leader === undefined ? undefined : { leader, applied: writer.snapshot };
  }

  /**
   * What is to be asked of the leader is what comes after this seq. The events of the catalogue since
   * the last revision are told again with it: in another one that goes on from here they may differ.
   */
  get after(): number {
    return Math.min(this.parts.writer.snapshot, this.lastRevision());
  }

  /**
   * Takes no more writes, and waits for what that leader says. To be called before anything is asked
   * of the store: its snapshot goes back to the last revision that is here.
   */
  aim(leader: string): void {
    const { catalogue, writer } = this.parts;
    this.leader = leader;
    // In seqs that were reserved here, and never given, the leader may have put revisions since.
    if (catalogue.following() === undefined) writer.standAt(this.lastRevision());
  }

  /**
   * Makes this store the leader's replica, or goes on being that.
   * Throws REPLICA_DIVERGED when this store has what the leader does not; that it has no such events
   * of the catalogue may turn out with the first items alone.
   */
  async follow(leader: Leader): Promise<void> {
    const { catalogue } = this.parts;
    if (this.leader !== leader.url) this.aim(leader.url);
    if (this.following === undefined || catalogue.following() === undefined) {
      requireOther(leader.url, catalogue.leftLeader());
    }
    const shared = sharedUpTo(catalogue.lineage(), leader.lineage);
    const held = this.lastRevision();
    if (held > shared) throw diverged(leader.url, held, shared);
    // A backup of a replica, or with the erasures since, has events of what it is a backup of.
    const beyond = shared === Number.POSITIVE_INFINITY ? [] : catalogue.eventsAbove(shared);
    if (beyond.length === 0) await this.begin(leader);
    this.unproven = beyond.length === 0 ? undefined : { leader, shared, seqs: new Set(beyond) };
  }

  /**
   * Stores the items; durable, and answered, on return. `upTo`: no revision up to it is left out.
   * What was stored before is passed by, so that doing it again changes nothing. `whole`: no commit is
   * cut in two by that snapshot.
   * Rejects with STORE_UNAVAILABLE, and REPLICA_DIVERGED for what cannot be of this leader.
   */
  async apply(
    items: readonly LeaderItem[],
    upTo: number,
    seqReserved: number,
    whole = upTo,
  ): Promise<void> {
    if (this.unproven !== undefined) await this.prove(items);
    let run: LeaderChanges[] = [];
    for (const item of items) {
      if ('changes' in item) {
        run.push(item);
        continue;
      }
      // Its revisions were sent before the event, and are not to be stored after it.
      const reached = run.at(-1)?.changes.at(-1)?.seq;
      if (reached !== undefined) await this.store(run, reached, seqReserved, 0);
      run = [];
      await this.applyEvent(item.event);
    }
    await this.store(run, upTo, seqReserved, whole);
  }

  /**
   * Makes the replica a leader of its own: what it has been told whole, commit by commit, is what it
   * goes on from. Throws NOT_A_REPLICA, and STORE_UNAVAILABLE while that is no state of its leader.
   */
  async promote(random: () => number): Promise<void> {
    const { catalogue, writer, versions } = this.parts;
    await writer.alone(async () => {
      if (this.following === undefined) {
        throw new TidemarkError('NOT_A_REPLICA', 'this store follows no other: it leads already');
      }
      // Of a commit that is stored in one there is no half in a leader.
      const upTo = Math.min(writer.snapshot, catalogue.following()?.whole ?? writer.snapshot);
      refuseBelowHorizon(catalogue.views(), upTo, 'STORE_UNAVAILABLE');
      // A crash may have left the beginning of what was being stored.
      for (const { environment, files } of versions.all()) {
        const orphans = await vectorsAbove(files, upTo);
        await environment.commit(() => truncate(files, upTo, orphans));
        await environment.flushed();
        environment.refresh();
      }
      const { leader } = this.following;
      catalogue.branch(upTo, catalogue.seqReserved() + seqGulf(random), leader);
      this.leader = undefined;
      writer.lead(this.newestCreated());
    });
  }

  /** All events that a leader has are among its first items. */
  private async prove(items: readonly LeaderItem[]): Promise<void> {
    const { leader, shared, seqs } = this.unproven!;
    for (const item of items) {
      if ('event' in item && this.hasEvent(item.event, leader.url)) seqs.delete(item.event.seq);
    }
    if (seqs.size > 0) throw diverged(leader.url, Math.max(...seqs), shared);
    await this.begin(leader);
    this.unproven = undefined;
  }

  private async begin({ url, lineage, erasureKey }: Leader): Promise<void> {
    const { catalogue, writer, erased } = this.parts;
    await writer.alone(async () => {
      catalogue.follow(url, lineage, erasureKey, writer.snapshot);
      erased.set.useKey(erasureKey);
    });
  }

  /** All in one go: compaction must not put other files in place between a commit and its snapshot. */
  private async store(
    run: readonly LeaderChanges[],
    upTo: number,
    seqReserved: number,
    whole: number,
  ): Promise<void> {
    const { catalogue, writer, versions } = this.parts;
    const isNews = upTo > writer.snapshot || seqReserved > catalogue.seqReserved();
    if (run.length === 0 && !isNews) return;
    await writer.alone(async () => {
      const touched = new Set<VersionStore>();
      try {
        for (const item of run) {
          const { changes, vectors, fields = [] } = item;
          const into = versions.mustGet(item.view, item.version);
          this.requireSameVectors(into, vectors);
          touched.add(into);
          for (let from = 0; from < changes.length; from += COMMIT_ROWS) {
            const rows = changes.slice(from, from + COMMIT_ROWS);
            await commitChanges(into, rows, item, from === 0 ? fields : []);
          }
        }
        await Promise.all([...touched].map(async ({ environment }) => environment.flushed()));
        for (const { environment } of touched) environment.refresh();
        await catalogue.putApplied(Math.max(upTo, writer.snapshot), seqReserved, whole);
      } catch (error) {
        // What is on the disk is unknown then: nothing more may build on it.
        if (error instanceof NotFlushed) writer.fail(error);
        throw unavailable(error);
      }
      writer.advance(upTo);
    });
  }

  /** Throws REPLICA_DIVERGED. Ids of one past are of one vector, and those of two may not be. */
  private requireSameVectors(
    { view, version, files }: VersionStore,
    vectors: ReadonlyMap<number, Uint8Array>,
  ): void {
    const { nextVectorId } = files.counters();
    for (const [id, bytes] of vectors) {
      if (id >= nextVectorId || !files.vectors.has(id) || files.vectors.equals(id, bytes)) continue;
      throw clashing(this.following!.leader, `the vector ${id} of ${view}@${version}`);
    }
  }

  private async applyEvent(event: CatalogueEvent): Promise<void> {
    const { catalogue, writer, maintenance, versions } = this.parts;
    if (this.hasEvent(event, this.following!.leader)) return;
    const { seq, created } = event;
    if ('scope' in event) {
      await this.applyErasure(event);
    } else if (event.type === 'view_dropped') {
      const view = catalogue.mustGetView(event.view);
      const dropped = versions.drop(view, { seq, created }, maintenance, writer);
      // It is forgotten at once. Its files may wait for a long work, and nothing else is to; what
      // fails there is done again with the next start.
      if (versions.isDropping(view.name)) dropped.catch(() => {});
      else await dropped;
    } else {
      await versions.dropped(event.view.name);
      const { seq: _seq, created: _created, view, ...change } = event;
      await this.takeView(view, { seq, created }, change);
    }
  }

  /** Throws REPLICA_DIVERGED. */
  private hasEvent(event: CatalogueEvent, url: string): boolean {
    const found = this.parts.catalogue.compareEvent(event);
    if (found === 'other')
      throw clashing(url, `the change of the catalogue with the seq ${event.seq}`);
    return found === 'same';
  }

  private async applyErasure(event: Moment & ErasureEvent): Promise<void> {
    const { catalogue, writer, erased, maintenance, versions } = this.parts;
    const { scope, seq } = event;
    const hashes = unpackHashes(event.hashes);
    if (event.type === 'erased') {
      catalogue.putErasure(event);
      erased.add(scope, hashes, seq);
      const removal = maintenance.run(undefined, async (signal) =>
        erased.removeAll(writer, versions.all(), signal),
      );
      // Reads say ERASED already; what fails here is done again with the next maintenance.
      removal.catch(() => {});
      return;
    }
    // What was erased must be gone before it may come again.
    await maintenance.run(undefined, async (signal) => {
      await erased.removeAll(writer, versions.all(), signal);
      catalogue.putErasure(event);
      erased.set.remove(scope, hashes);
    });
  }

  private async takeView(view: FeatureView, at: Moment, change: ViewChange): Promise<void> {
    const { catalogue, versions, maintenance, writer } = this.parts;
    const existing = catalogue.view(view.name)?.versions ?? {};
    const gone = Object.keys(existing).filter((name) => !Object.hasOwn(view.versions, name));
    if (gone.length > 0) {
      // As with a view that was dropped.
      const retired = versions.retire(view, gone, at, change, maintenance, writer);
      if (versions.isDropping(nameOf(view.name, gone[0]!))) retired.catch(() => {});
      else await retired;
      return;
    }
    const added = Object.values(view.versions).filter(
      ({ version }) => !Object.hasOwn(existing, version),
    );
    for (const { version } of added) await versions.dropped(nameOf(view.name, version));
    versions.add(view, added, at, change);
  }

  /** The greatest created time that may be here: what a horizon closed is as good as used. */
  private newestCreated(): number {
    const { catalogue, versions } = this.parts;
    const times = versions.all().map((version) => version.counters().lastCreated);
    const horizons = catalogue.views().map(({ horizon }) => (horizon?.moment ?? -Infinity) + 1);
    return Math.max(-Infinity, ...times, ...horizons);
  }

  /** The seq of the last revision that is here; 0 when there is none. */
  private lastRevision(): number {
    return Math.max(0, ...this.parts.versions.all().map(({ log }) => log.lastSeq()));
  }
}

async function commitChanges(
  { environment, files }: VersionStore,
  changes: readonly Change[],
  { vectors, texts }: Pick<LeaderChanges, 'vectors' | 'texts'>,
  fields: readonly FieldRow[],
): Promise<void> {
  await environment.commit(() => {
    const counters = files.counters();
    replay(
      files,
      counters,
      changes,
      (id) => vectorOf(vectors, id),
      (id) => texts?.get(id),
    );
    for (const row of fields) files.fields.put(row);
    followOffsets(files, changes);
    files.putCounters(counters);
  });
}

function vectorOf(vectors: ReadonlyMap<number, Uint8Array>, id: number): Uint8Array {
  const bytes = vectors.get(id);
  if (bytes === undefined) {
    // Compaction here may have dropped what was sent: the next connection sends it again.
    throw new TidemarkError(
      'STORE_UNAVAILABLE',
      `the leader sent the vector ${id} before, and it is not here any more: it is to be sent again`,
    );
  }
  return bytes;
}
