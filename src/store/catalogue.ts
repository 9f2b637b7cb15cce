import { randomBytes, randomUUID } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { pack, unpack } from 'msgpackr';

import { TidemarkError } from '../ground/errors.ts';
import type { Micros } from '../ground/time.ts';
import type { Dtype } from './dtype.ts';
import { eachEntry, Environment, type Table } from './environment.ts';
import { Erasures, type ErasureScope, unpackHashes } from './erasures.ts';
import type { Horizon } from './horizon.ts';
import { numberKeys, textKeys } from './keys.ts';

/** What makes a model version's vectors from text. Names as on the wire. */
export interface ModelBinding {
  /** A folder among the models. */
  name: string;
  /** What the model and the prompt were when the version was made: vectors of others never mix in. */
  fingerprint: string;
  /** How fields become the model's input; absent where only whole texts are taken. */
  prompt?: { template: string; fields: string[] };
}

export interface ModelVersion {
  version: string;
  dim: number;
  dtype: Dtype;
  created_timestamp: Micros;
  model?: ModelBinding;
}

/** A named embedding of one entity type, with its model versions. */
export interface FeatureView {
  name: string;
  entity: string;
  /** The column that holds the entity's id in spines and exports. */
  join_key: string;
  created_timestamp: Micros;
  /** By version; never empty. */
  versions: Record<string, ModelVersion>;
  /** The version that answers where none is named. */
  aliases: { current: string };
  /** How old an answer may be where a question does not say, µs (A6); absent: any age. */
  max_age?: number;
  /** How far back it can be asked, µs (A10); absent: for ever. */
  retention?: number;
  /** Where retention has come to; absent while it has not begun. */
  horizon?: Horizon;
}

/** What happened to the catalogue, in the order of the seqs that it has in common with revisions. */
export type CatalogueEvent =
  | (Moment & { type: 'view' | 'horizon'; view: FeatureView })
  | (Moment & { type: 'view_dropped'; view: string })
  | (Moment & ErasureEvent);

export interface ErasureEvent {
  type: 'erased' | 'erasure_lifted';
  scope: ErasureScope;
  /** See `packHashes`. */
  hashes: Uint8Array;
}

/** When a catalogue event happened. */
export interface Moment {
  seq: number;
  created: Micros;
}

/** The files that a model version has now. */
export interface Generation {
  /** 0 for those that it began with. */
  number: number;
  /** Nothing that was erased or dropped by retention up to this seq is left in them. */
  since: number;
  created: Micros;
}

/** What is known of an erasure when it is over, and no id of an entity (A8). */
export interface Erasure {
  id: string;
  scope: ErasureScope;
  entities: number;
  seq: number;
  /** From when on all reads say ERASED and nothing is stored. */
  erased_at: Micros;
  /** When it was gone from all databases; undefined before. */
  removed_at?: Micros;
  removed?: { entities: number; revisions: number; inputs: number; dead_letters: number };
}

/** Stores with one past have one name for it; what was promoted or restored goes on under another. */
export interface Lineage {
  id: string;
  /** Whose snapshots it shares, up to which one; the oldest first. */
  parents: { id: string; up_to: number }[];
}

/** What a read replica knows of itself. */
export interface Following {
  leader: string;
  /** All of the leader's seqs up to this one are durable here. */
  applied: number;
}

const SEQ_RESERVED = 'seq_reserved';
const LINEAGE = 'lineage';
const ERASURE_KEY = 'erasure_key';
const FOLLOWING = 'following';
const EVENTS_PAGE = 1_024;
const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;
const VERSION_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** True for names that can stand in a path, a reference `view@version` and a column. */
export function isViewName(name: string): boolean {
  return NAME.test(name);
}

export function isVersionName(name: string): boolean {
  return VERSION_NAME.test(name);
}

/**
 * The feature views, their versions and aliases, and the block of seqs handed out. Small: read
 * whole at the start, written through.
 */
export class Catalogue {
  private environment: Environment;
  private viewTable: Table<string>;
  private meta: Table<string>;
  private dropped: Table<string>;
  private eventTable: Table<number>;
  private erasureTable: Table<string>;
  private generationTable: Table<string>;
  private byName = new Map<string, FeatureView>();
  private directory: string;

  constructor(directory: string) {
    this.directory = directory;
    this.environment = new Environment(join(directory, 'catalogue'));
    this.viewTable = this.environment.table('view', textKeys);
    this.meta = this.environment.table('meta', textKeys);
    this.dropped = this.environment.table('dropped', textKeys);
    this.eventTable = this.environment.table('event', numberKeys);
    this.erasureTable = this.environment.table('erasure', textKeys);
    this.generationTable = this.environment.table('generation', textKeys);
    for (const { value } of this.viewTable.getRange({ start: undefined })) {
      const view = unpack(value) as FeatureView;
      this.byName.set(view.name, view);
    }
  }

  views(): FeatureView[] {
    return [...this.byName.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  view(name: string): FeatureView | undefined {
    return this.byName.get(name);
  }

  /** Throws VIEW_NOT_FOUND. */
  mustGetView(name: string): FeatureView {
    const view = this.byName.get(name);
    if (view === undefined) {
      throw new TidemarkError(
        'VIEW_NOT_FOUND',
        `there is no feature view ${JSON.stringify(name)}; create it with PUT /v1/feature-views/{view}`,
      );
    }
    return view;
  }

  /** The version of that name, or the one that `current` names. Throws VERSION_NOT_FOUND. */
  mustGetVersion(view: FeatureView, name?: string): ModelVersion {
    const asked = name ?? view.aliases.current;
    const version = Object.hasOwn(view.versions, asked) ? view.versions[asked] : undefined;
    if (version === undefined) {
      throw new TidemarkError(
        'VERSION_NOT_FOUND',
        `the feature view ${view.name} has no model version ${JSON.stringify(asked)}, ` +
          `it has ${Object.keys(view.versions).join(', ')}`,
      );
    }
    return version;
  }

  /** Gives a new store its name and its key. */
  prepare(): void {
    if (this.meta.getBinary(LINEAGE) !== undefined) return;
    const lineage: Lineage = { id: randomUUID(), parents: [] };
    this.environment.commitSync(() => {
      void this.meta.put(LINEAGE, pack(lineage));
      void this.meta.put(ERASURE_KEY, randomBytes(32));
    });
  }

  /**
   * Stores the view as it now is; durable on return. `at`: when that came to be; a replica that only
   * takes its leader's view over has it from an event later.
   */
  put(view: FeatureView, at: Moment | undefined, type: 'view' | 'horizon' = 'view'): void {
    this.environment.commitSync(() => {
      void this.viewTable.put(view.name, pack(view));
      // A drop of that name that could not be finished must not take the new view's files.
      void this.dropped.remove(view.name);
      if (at !== undefined) this.addEvent({ ...at, type, view });
    });
    this.byName.set(view.name, view);
  }

  /** The folder of a view, of a version of it, or of the files that a version has now. */
  folder(view: string, version?: string, generation?: number): string {
    const folder = join(this.directory, 'views', view, ...(version === undefined ? [] : [version]));
    return generation === undefined || generation === 0 ? folder : join(folder, `g${generation}`);
  }

  generation(view: string, version: string): Generation {
    const value = this.generationTable.getBinary(`${view}/${version}`);
    return value ? (unpack(value) as Generation) : { number: 0, since: 0, created: 0 as Micros };
  }

  /** The files of now of all versions that an erasure of this scope reaches. */
  generationsIn({ entity, view: only }: ErasureScope): Generation[] {
    return this.views()
      .filter(({ name, entity: of }) => of === entity && (only ?? name) === name)
      .flatMap(({ name, versions }) =>
        Object.keys(versions).map((version) => this.generation(name, version)),
      );
  }

  /** Says which files a version has from now on; durable on return. */
  putGeneration(view: string, version: string, generation: Generation): void {
    this.environment.commitSync(() => {
      void this.generationTable.put(`${view}/${version}`, pack(generation));
    });
  }

  /** Unlinks what is in a version's folder and not of its files of now, and nobody's any more. */
  removeOldGenerations(view: string, version: string): void {
    const folder = this.folder(view, version);
    const { number } = this.generation(view, version);
    for (const name of readdirSync(folder)) {
      const isOld = number === 0 ? /^g\d+$/.test(name) : name !== `g${number}`;
      if (isOld) rmSync(join(folder, name), { recursive: true, force: true });
    }
  }

  /**
   * Forgets the view; `finishDrop` unlinks its files. The intent is stored with the removal, so that
   * a crash in between is finished at the next start.
   */
  drop(name: string, at: Moment): void {
    this.environment.commitSync(() => {
      void this.viewTable.remove(name);
      void this.dropped.put(name, new Uint8Array(1));
      for (const version of Object.keys(this.byName.get(name)!.versions)) {
        void this.generationTable.remove(`${name}/${version}`);
      }
      this.addEvent({ ...at, type: 'view_dropped', view: name });
    });
    this.byName.delete(name);
  }

  /** Up to `limit` events with seq in (`after`, `upTo`], in order. */
  events(after: number, upTo: number, limit = EVENTS_PAGE): CatalogueEvent[] {
    const range = this.eventTable.getRange({
      start: after + 1,
      end: upTo,
      inclusiveEnd: true,
      limit,
    });
    return Array.from(range, ({ value }) => unpack(value) as CatalogueEvent);
  }

  /** The erased set as the events have made it. */
  erasures(): Erasures {
    const erasures = new Erasures(this.erasureKey());
    for (const { value } of eachEntry(this.eventTable, EVENTS_PAGE)) {
      const event = unpack(value) as CatalogueEvent;
      if (event.type === 'erased') erasures.add(event.scope, unpackHashes(event.hashes));
      if (event.type === 'erasure_lifted') erasures.remove(event.scope, unpackHashes(event.hashes));
    }
    return erasures;
  }

  /** The seq of the last erasure; 0 when there was none. */
  lastErasure(): number {
    let last = 0;
    for (const { value } of eachEntry(this.eventTable, EVENTS_PAGE)) {
      const { type, seq } = unpack(value) as CatalogueEvent;
      if (type === 'erased') last = seq;
    }
    return last;
  }

  /** The key of the erased set's hashes. */
  erasureKey(): Uint8Array {
    return new Uint8Array(this.meta.getBinary(ERASURE_KEY) ?? []);
  }

  /** Stores what was erased or may come again, with its receipt; durable on return. */
  putErasure(event: Moment & ErasureEvent, receipt?: Erasure): void {
    this.environment.commitSync(() => {
      this.addEvent(event);
      if (receipt !== undefined) void this.erasureTable.put(receipt.id, pack(receipt));
    });
  }

  putReceipt(receipt: Erasure): void {
    this.environment.commitSync(() => void this.erasureTable.put(receipt.id, pack(receipt)));
  }

  /** Every erasure's receipt. */
  receipts(): Erasure[] {
    const range = this.erasureTable.getRange({ start: undefined });
    return Array.from(range, ({ value }) => unpack(value) as Erasure);
  }

  /** Throws ERASURE_NOT_FOUND. */
  mustGetReceipt(id: string): Erasure {
    const value = this.erasureTable.getBinary(id);
    if (value === undefined) {
      throw new TidemarkError('ERASURE_NOT_FOUND', `there is no erasure ${JSON.stringify(id)}`);
    }
    return unpack(value) as Erasure;
  }

  lineage(): Lineage {
    const value = this.meta.getBinary(LINEAGE);
    return value ? (unpack(value) as Lineage) : { id: '', parents: [] };
  }

  /** Goes on under a new name, with all snapshots up to `upTo` shared with the old one. */
  branch(upTo: number): void {
    const { id, parents } = this.lineage();
    const lineage: Lineage = { id: randomUUID(), parents: [...parents, { id, up_to: upTo }] };
    this.environment.commitSync(() => {
      void this.meta.put(LINEAGE, pack(lineage));
      void this.meta.remove(FOLLOWING);
    });
  }

  /** Undefined for a store that is its own leader. */
  following(): Following | undefined {
    const value = this.meta.getBinary(FOLLOWING);
    return value && (unpack(value) as Following);
  }

  /** Makes the store a replica, which takes its leader's name and key over. */
  follow(leader: string, lineage: Lineage, erasureKey: Uint8Array, applied: number): void {
    const following: Following = { leader, applied };
    this.environment.commitSync(() => {
      void this.meta.put(FOLLOWING, pack(following));
      void this.meta.put(LINEAGE, pack(lineage));
      void this.meta.put(ERASURE_KEY, erasureKey);
    });
  }

  /** Durable on return. `seqReserved`: the leader may have given seqs up to this one. */
  putApplied(applied: number, seqReserved: number): void {
    const following: Following = { ...this.following()!, applied };
    this.environment.commitSync(() => {
      void this.meta.put(FOLLOWING, pack(following));
      this.putReserved(seqReserved);
    });
  }

  /** Finishes the drops that a crash left half done. */
  finishDrops(): void {
    const names = Array.from(this.dropped.getRange({ start: undefined }), ({ key }) => key);
    for (const name of names) this.finishDrop(name);
  }

  /** Unlinks the files of a dropped view, which nobody has open any more. */
  finishDrop(name: string): void {
    rmSync(this.folder(name), { recursive: true, force: true });
    this.environment.commitSync(() => void this.dropped.remove(name));
  }

  /** Seqs up to this one may have been given to revisions, by this process or an earlier one. */
  seqReserved(): number {
    const value = this.meta.getBinary(SEQ_RESERVED);
    return value ? Buffer.from(value).readDoubleLE() : 0;
  }

  /** Resolves when it is durable that seqs up to `upTo` may be in use. */
  async reserveSeqs(upTo: number): Promise<void> {
    await this.environment.commit(() => this.putReserved(upTo));
    await this.environment.flushed();
  }

  /** The same, durable on return. */
  reserveSeqsSync(upTo: number): void {
    this.environment.commitSync(() => this.putReserved(upTo));
  }

  async close(): Promise<void> {
    await this.environment.close();
  }

  private putReserved(upTo: number): void {
    const value = Buffer.alloc(8);
    value.writeDoubleLE(Math.max(upTo, this.seqReserved()));
    void this.meta.put(SEQ_RESERVED, value);
  }

  private addEvent(event: CatalogueEvent): void {
    void this.eventTable.put(event.seq, pack(event));
  }
}
