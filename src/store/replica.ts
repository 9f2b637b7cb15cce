import { TidemarkError } from '../ground/errors.ts';
import type {
  Catalogue,
  CatalogueEvent,
  ErasureEvent,
  FeatureView,
  Lineage,
  Moment,
} from './catalogue.ts';
import type { Change } from './change-log.ts';
import type { ErasedSet } from './erased-set.ts';
import { unpackHashes } from './erasures.ts';
import type { Maintenance } from './maintenance.ts';
import { replay } from './replay.ts';
import type { VersionStore } from './version-store.ts';
import type { Versions } from './versions.ts';
import type { Writer } from './writer.ts';

/** What a leader says of itself before its changes. */
export interface Leader {
  url: string;
  lineage: Lineage;
  erasureKey: Uint8Array;
  /** The views of now: what was asked of them before may be out of reach already. */
  views: readonly FeatureView[];
}

/** Changes as a leader sends them, in the order of their seqs. */
export type ReplicaItem =
  | { event: CatalogueEvent }
  | {
      view: string;
      version: string;
      changes: readonly Change[];
      /** The vectors that the changes point to, by id; those that were sent before may lack. */
      vectors: ReadonlyMap<number, Uint8Array>;
    };

/** The parts of a store that following moves. */
interface Parts {
  catalogue: Catalogue;
  writer: Writer;
  maintenance: Maintenance;
  erased: ErasedSet;
  versions: Versions;
}

/**
 * The side of a store that follows another one: what its leader committed is stored here as it is,
 * with its seqs, times and vector ids, so that both answer alike at the same snapshot.
 */
export class Replica {
  private parts: Parts;

  constructor(parts: Parts) {
    this.parts = parts;
  }

  /**
   * Makes this store the leader's replica, or goes on being that.
   * Throws REPLICA_DIVERGED when this store has what the leader does not.
   */
  async follow(leader: Leader): Promise<void> {
    const { catalogue, writer } = this.parts;
    const before = catalogue.following();
    const { id } = catalogue.lineage();
    const isNew = before === undefined && catalogue.views().length === 0 && writer.snapshot === 0;
    // A copy of the leader, or of what the leader was once a copy of.
    const ancestor = leader.lineage.parents.find((parent) => parent.id === id);
    const isShared = id === leader.lineage.id || (ancestor?.up_to ?? -1) >= writer.snapshot;
    if (!isNew && !isShared) {
      throw new TidemarkError(
        'REPLICA_DIVERGED',
        `this store and ${leader.url} do not share their past up to snapshot ${writer.snapshot}: ` +
          'follow with an empty directory, or with a backup of that leader',
      );
    }
    await writer.alone(async () => {
      catalogue.follow(leader.url, leader.lineage, leader.erasureKey, writer.snapshot);
      this.parts.erased.set.useKey(leader.erasureKey);
    });
    for (const view of leader.views) await this.takeView(view, undefined);
  }

  /** Stores the items; durable, and answered, on return. `upTo`: nothing up to it is left out. */
  async apply(items: readonly ReplicaItem[], upTo: number, seqReserved: number): Promise<void> {
    const { catalogue, writer, versions } = this.parts;
    const touched = new Set<VersionStore>();
    for (const item of items) {
      if ('event' in item) {
        await this.applyEvent(item.event);
        continue;
      }
      // Of a view that the leader has dropped since.
      if (catalogue.view(item.view)?.versions[item.version] === undefined) continue;
      const version = versions.mustGet(item.view, item.version);
      touched.add(version);
      await writer.alone(async () => {
        await version.environment.commit(() => {
          const counters = version.counters();
          const kept = version.erasures.none
            ? item.changes
            : item.changes.filter(({ entityId }) => !version.erasures.has(entityId));
          replay(version.files, counters, kept, (id) => vectorOf(item.vectors, id));
          version.putCounters(counters);
        });
      });
    }
    await writer.alone(async () => {
      for (const version of touched) {
        await version.environment.flushed();
        version.environment.refresh();
      }
      catalogue.putApplied(upTo, seqReserved);
      writer.follow(upTo);
    });
  }

  /** Makes the replica a leader of its own, from its snapshot on. Throws NOT_A_REPLICA. */
  async promote(): Promise<void> {
    const { catalogue, writer, versions } = this.parts;
    await writer.alone(async () => {
      if (catalogue.following() === undefined) {
        throw new TidemarkError('NOT_A_REPLICA', 'this store follows no other: it leads already');
      }
      catalogue.branch(writer.snapshot);
      const created = versions.all().map((version) => version.counters().lastCreated);
      writer.lead(Math.max(0, ...created));
    });
  }

  private async applyEvent(event: CatalogueEvent): Promise<void> {
    const { catalogue, writer, maintenance, versions } = this.parts;
    const { seq, created } = event;
    if ('scope' in event) {
      await this.applyErasure(event);
    } else if (event.type === 'view_dropped') {
      const view = catalogue.view(event.view);
      if (view !== undefined) await versions.drop(view, { seq, created }, maintenance, writer);
    } else {
      await this.takeView(event.view, { seq, created });
    }
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

  /** Makes the view here what it is at the leader. */
  private async takeView(view: FeatureView, at: Moment | undefined): Promise<void> {
    const { catalogue, writer, maintenance, versions } = this.parts;
    let existing = catalogue.view(view.name);
    if (existing !== undefined && existing.created_timestamp !== view.created_timestamp) {
      // Made anew while nobody was following.
      const moment = at ?? { seq: writer.snapshot, created: view.created_timestamp };
      await versions.drop(existing, moment, maintenance, writer);
      existing = undefined;
    }
    const { horizon } = existing ?? {};
    const isFurther = (horizon?.moment ?? -Infinity) > (view.horizon?.moment ?? -Infinity);
    const added = Object.values(view.versions).filter(
      ({ version }) => existing?.versions[version] === undefined,
    );
    // The horizon only advances: the leader's of now was told before its changes of then.
    versions.add({ ...view, ...(isFurther && { horizon: horizon! }) }, added, at);
  }
}

function vectorOf(vectors: ReadonlyMap<number, Uint8Array>, id: number): Uint8Array {
  const bytes = vectors.get(id);
  if (bytes === undefined) {
    throw new TidemarkError(
      'REPLICA_DIVERGED',
      `the leader did not send the vector ${id}, which was not here before: follow anew`,
    );
  }
  return bytes;
}
