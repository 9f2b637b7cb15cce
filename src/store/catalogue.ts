import { randomBytes, randomUUID } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

import { pack, unpack } from 'msgpackr';

import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import type { Micros } from '../ground/time.ts';
import { type Aliases, isAlias } from './aliases.ts';
import { type Baseline, packBaseline, unpackBaseline } from './baseline.ts';
import { CheckedTable } from './checked-table.ts';
import type { Dtype } from './dtype.ts';
import { Environment } from './environment.ts';
import { Erasures, type ErasureScope, unpackHashes } from './erasures.ts';
import { type Golden, packGolden, unpackGolden } from './golden.ts';
import type { Horizon } from './horizon.ts';
import { numberKeys, textKeys } from './keys.ts';

/** What makes a model version's vectors from text. Names as on the wire. */
export interface ModelBinding {
  /** A folder among the models. */
  name: string;
  /** What the model and the prompt were when the version was made: vectors of others never mix in. */
  fingerprint: string;
  /** How fields become the model's input; absent where only whole texts are taken. */
  prompt?: {
    template: string;
    fields: string[];
    chars_max?: Record<string, number>;
    parts?: Record<string, string[]>;
  };
  /** What a text means of which nothing is left to embed; refused where that is not said. */
  empty_text?: 'refuse' | 'delete';
  /** The texts of its inputs are stored, so that another model's vectors can be made of them. */
  keep_inputs?: true;
}

export interface ModelVersion {
  version: string;
  dim: number;
  dtype: Dtype;
  created_timestamp: Micros;
  /** When it was made; absent where that was before it was noted. Another one may have had its name. */
  created_seq?: number;
  /** It answered before, and may be retired from then on; absent: not by itself. */
  kept_until?: Micros;
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
  aliases: Aliases;
  /** How old an answer may be where a question does not say, µs (A6); absent: any age. */
  max_age?: number;
  /** How far back it can be asked, µs (A10); absent: for ever. */
  retention?: number;
  /** Of the records of an entity that come together only the last one need be stored. */
  history?: 'latest_only';
  /** Where retention has come to; absent while it has not begun. */
  horizon?: Horizon;
}

/** What happened to the catalogue, in the order of the seqs that it has in common with revisions. */
export type CatalogueEvent =
  | ViewEvent
  | (Moment & { type: 'view_dropped'; view: string })
  | (Moment & ErasureEvent);

/** How a view came to be as it now is. */
export type ViewChange =
  | { type: 'view' | 'horizon' }
  | { type: 'promoted' | 'rolled_back' | 'version_retired'; audit: Audit };

/** Why a version became another's successor, or went. */
export interface Audit {
  /** The one that was promoted, rolled back to, or retired. */
  version: string;
  /** What was looked at beforehand. */
  gates?: readonly GateResult[];
  /** It was promoted although a gate was not passed. */
  forced?: boolean;
  /** As given by whoever asked for it. */
  reason?: string;
}

/** What a gate found of a version that is to be promoted. */
export interface GateResult {
  gate: string;
  ok: boolean;
  /** What was measured, and what it is held against; null where that is no number. */
  value: number | null;
  bound: number | null;
  message: string;
}

/** A change of a view, with what it was from then on. */
export type ViewEvent = Moment & ViewChange & { view: FeatureView };

export interface ErasureEvent {
  type: 'erased' | 'erasure_lifted';
  scope: ErasureScope;
  /** See `packHashes`. */
  hashes: Uint8Array;
}

/** When whose entities were erased. */
type ErasedAt = Moment & Pick<ErasureEvent, 'scope'>;

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
  /** When nothing of it was left in any file either; undefined before. */
  compacted_at?: Micros;
  removed?: { entities: number; revisions: number; inputs: number; dead_letters: number };
}

/** Stores with one past have one name for it; what was promoted or restored goes on under another. */
export interface Lineage {
  id: string;
  /** Whose snapshots it shares, up to which one; the oldest first. */
  parents: Parent[];
}

/** What a store was before it went on by itself. */
export interface Parent {
  id: string;
  up_to: number;
  /** The first snapshot of what goes on; those between are the parent's. Absent where that is not known. */
  from?: number;
}

/** What a catalogue holds at one moment, but for its events. */
export interface CatalogueState {
  views: FeatureView[];
  golden: { view: string; version: string; golden: Golden }[];
  baselines: { view: string; version: string; baseline: Baseline }[];
  firstEvents: CatalogueEvent[];
  /** The seq of the last event. */
  lastEvent: number;
  receipts: Erasure[];
  lineage: Lineage;
  erasureKey: Uint8Array;
  seqReserved: number;
}

/** What a read replica knows of itself. */
export interface Following {
  leader: string;
  /** All of the leader's seqs up to this one are durable here. */
  applied: number;
  /** The same without the beginning of a commit, the rest of which is still to come. */
  whole?: number;
}

/** The catalogue's folder in a data directory. */
export const CATALOGUE_FOLDER = 'catalogue';

const SEQ_RESERVED = 'seq_reserved';
const LINEAGE = 'lineage';
const ERASURE_KEY = 'erasure_key';
const FOLLOWING = 'following';
const LEFT = 'left_leader';
const CLOSED = 'closed';
const BACKED_UP = 'backed_up';
const EVENTS_PAGE = 1_024;
const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;
const VERSION_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** True for names that can stand in a path, a reference `view@version` and a column. */
export function isViewName(name: string): boolean {
  return NAME.test(name);
}

function goldenKey(view: string, version: string): string {
  return `golden ${view}@${version}`;
}

function baselineKey(view: string, version: string): string {
  return `baseline ${view}@${version}`;
}

export function isVersionName(name: string): boolean {
  return VERSION_NAME.test(name);
}

/**
 * The feature views, their versions and aliases, and the block of seqs handed out. Small: read
 * whole at the start, written through.
 */
export class Catalogue {
  /** The names of its databases. */
  static readonly tables = [
    'view',
    'meta',
    'dropped',
    'event',
    'first_view',
    'erasure',
    'generation',
  ];

  private environment: Environment;
  private viewTable: CheckedTable<string>;
  private meta: CheckedTable<string>;
  private dropped: CheckedTable<string>;
  private eventTable: CheckedTable<number>;
  private firstViews: CheckedTable<string>;
  private erasureTable: CheckedTable<string>;
  private generationTable: CheckedTable<string>;
  private byName = new Map<string, FeatureView>();
  /** Versions whose files of before may still be there. */
  private withOldFiles = new Set<string>();
  /** Every erasure; undefined while it is not read. */
  private erasedAt: ErasedAt[] | undefined;
  /** By view, as far as the events were read: most of them are of other things, and read once. */
  private histories = new Map<string, ViewEvent[]>();
  /** The last event that was read; undefined where none was. */
  private historyUpTo: number | undefined;
  readonly directory: string;

  /** Throws STORE_CORRUPT. */
  constructor(directory: string, mode?: 'read-only') {
    this.directory = directory;
    const environment = new Environment(join(directory, CATALOGUE_FOLDER), mode);
    this.environment = environment;
    this.viewTable = new CheckedTable(environment, 'view', textKeys);
    this.meta = new CheckedTable(environment, 'meta', textKeys);
    this.dropped = new CheckedTable(environment, 'dropped', textKeys);
    this.eventTable = new CheckedTable(environment, 'event', numberKeys);
    this.firstViews = new CheckedTable(environment, 'first_view', textKeys);
    this.erasureTable = new CheckedTable(environment, 'erasure', textKeys);
    this.generationTable = new CheckedTable(environment, 'generation', textKeys);
    try {
      this.checkEntries();
    } catch (error) {
      void environment.close();
      throw error;
    }
    this.readViews();
  }

  /** Lets reads of this turn see what another process has stored. */
  refresh(): void {
    this.environment.refresh();
  }

  /** Has the views as another process has stored them. */
  readViews(): void {
    this.byName.clear();
    for (const { value } of this.viewTable.entries(EVENTS_PAGE)) {
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
        `there is no feature view ${excerpt(name)}; create it with PUT /v1/feature-views/{view}`,
      );
    }
    return view;
  }

  /**
   * The model versions that are named: of one view or of all, one of them or each. Throws
   * VIEW_NOT_FOUND, VERSION_NOT_FOUND.
   */
  select(view?: string, version?: string): { view: string; version: string }[] {
    const views = view === undefined ? this.views() : [this.mustGetView(view)];
    return views.flatMap((each) => {
      const names =
        version === undefined
          ? Object.keys(each.versions)
          : [this.mustGetVersion(each, version).version];
      return names.map((name) => ({ view: each.name, version: name }));
    });
  }

  /** The version of that name, or the one that `current` names. Throws VERSION_NOT_FOUND. */
  mustGetVersion(view: FeatureView, name?: string): ModelVersion {
    const asked = name ?? view.aliases.current;
    const version = Object.hasOwn(view.versions, asked) ? view.versions[asked] : undefined;
    if (version === undefined) {
      throw new TidemarkError(
        'VERSION_NOT_FOUND',
        `the feature view ${view.name} has no model version ${excerpt(asked)}, ` +
          `it has ${Object.keys(view.versions).join(', ')}`,
      );
    }
    return version;
  }

  /** The same, by an alias too. Throws VERSION_NOT_FOUND, also where the view has none of that alias. */
  mustFindVersion(view: FeatureView, name?: string): ModelVersion {
    if (name === undefined || Object.hasOwn(view.versions, name) || !isAlias(name)) {
      return this.mustGetVersion(view, name);
    }
    const version = view.aliases[name];
    if (version !== undefined) return this.mustGetVersion(view, version);
    throw new TidemarkError(
      'VERSION_NOT_FOUND',
      `the feature view ${view.name} has no ${name} version now, ` +
        `it has ${Object.keys(view.versions).join(', ')}`,
    );
  }

  /** What became of the view since it was made, in order, but for its horizon: as it is in this turn. */
  history(name: string): readonly ViewEvent[] {
    if (this.historyUpTo === undefined) {
      this.historyUpTo = 0;
      for (const event of this.firstEvents()) this.noteHistory(event);
    }
    for (;;) {
      const events = this.events(this.historyUpTo, Number.MAX_SAFE_INTEGER);
      if (events.length === 0) return this.histories.get(name) ?? [];
      for (const event of events) this.noteHistory(event);
      this.historyUpTo = events.at(-1)!.seq;
    }
  }

  private noteHistory(event: CatalogueEvent): void {
    if ('scope' in event || event.type === 'horizon') return;
    if (event.type === 'view_dropped') {
      this.histories.delete(event.view);
      return;
    }
    const { name } = event.view;
    const history = this.histories.get(name);
    if (history === undefined) this.histories.set(name, [event]);
    else history.push(event);
  }

  /** Gives a new store its name and its key. */
  prepare(): void {
    if (this.meta.get(LINEAGE) !== undefined) return;
    const lineage: Lineage = { id: randomUUID(), parents: [] };
    this.environment.commitSync(() => {
      this.meta.put(LINEAGE, pack(lineage));
      this.meta.put(ERASURE_KEY, randomBytes(32));
    });
  }

  /** Stores the view as it now is; durable on return. `at`: when that came to be. */
  put(view: FeatureView, at: Moment, change: ViewChange = { type: 'view' }): void {
    this.environment.commitSync(() => {
      this.viewTable.put(view.name, pack(view));
      // A drop of that name that could not be finished must not take the new files.
      this.dropped.remove(view.name);
      for (const version of Object.keys(view.versions)) {
        this.dropped.remove(`${view.name}/${version}`);
      }
      this.addEvent({ ...at, ...change, view });
    });
    this.byName.set(view.name, view);
  }

  /**
   * Stores the view without versions that it had; `finishDrop` unlinks their files, here or at the
   * next start.
   */
  retire(view: FeatureView, gone: readonly string[], at: Moment, change: ViewChange): void {
    this.environment.commitSync(() => {
      this.viewTable.put(view.name, pack(view));
      for (const version of gone) {
        this.dropped.put(`${view.name}/${version}`, new Uint8Array(1));
        this.generationTable.remove(`${view.name}/${version}`);
        this.forgetMeasured(view.name, version);
      }
      this.addEvent({ ...at, ...change, view });
    });
    this.byName.set(view.name, view);
  }

  /** The folder of a view, of a version of it, or of the files that a version has now. */
  folder(view: string, version?: string, generation?: number): string {
    const folder = join(this.directory, 'views', view, ...(version === undefined ? [] : [version]));
    return generation === undefined || generation === 0 ? folder : join(folder, `g${generation}`);
  }

  /** The folder of the files that a version has now. */
  filesOf(view: string, version: string): string {
    return this.folder(view, version, this.generation(view, version).number);
  }

  generation(view: string, version: string): Generation {
    const value = this.generationTable.get(`${view}/${version}`);
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
      this.generationTable.put(`${view}/${version}`, pack(generation));
    });
    if (generation.number > 0) this.withOldFiles.add(`${view}/${version}`);
  }

  /** Whether files that nobody has any more are still to be unlinked. */
  get isUnlinking(): boolean {
    return this.withOldFiles.size > 0 || this.droppedNames().length > 0;
  }

  /** What is in a version's folder and not of its files of now: nobody's any more. */
  oldFiles(view: string, version: string): string[] {
    const folder = this.folder(view, version);
    const { number } = this.generation(view, version);
    return readdirSync(folder)
      .filter((name) => (number === 0 ? /^g\d+$/.test(name) : name !== `g${number}`))
      .map((name) => join(folder, name));
  }

  /** Whether a version has files that nobody has any more. */
  hasOldFiles(view: string, version: string): boolean {
    return this.withOldFiles.has(`${view}/${version}`);
  }

  /** Unlinks them: not at once, for a large file holds up the thread that unlinks it. */
  async unlinkOldFiles(view: string, version: string): Promise<void> {
    for (const path of this.oldFiles(view, version)) await rm(path, { recursive: true });
    this.withOldFiles.delete(`${view}/${version}`);
  }

  /**
   * Forgets the view; `finishDrop` unlinks its files. The intent is stored with the removal, so that
   * a crash in between is finished at the next start.
   */
  drop(name: string, at: Moment): void {
    this.environment.commitSync(() => {
      this.viewTable.remove(name);
      this.dropped.put(name, new Uint8Array(1));
      for (const version of Object.keys(this.byName.get(name)!.versions)) {
        this.generationTable.remove(`${name}/${version}`);
        this.forgetMeasured(name, version);
      }
      this.addEvent({ ...at, type: 'view_dropped', view: name });
    });
    this.byName.delete(name);
  }

  /** The views from before there were events, each as an event of seq 0. */
  firstEvents(): CatalogueEvent[] {
    return Array.from(
      this.firstViews.entries(EVENTS_PAGE),
      ({ value }) => unpack(value) as CatalogueEvent,
    );
  }

  /** Whether the event is here already, as it is; `other`: of its seq there is another one. */
  compareEvent(event: CatalogueEvent): 'absent' | 'same' | 'other' {
    const isFirst = event.seq === 0 && event.type === 'view';
    const stored = isFirst ? this.firstViews.get(event.view.name) : this.eventTable.get(event.seq);
    if (stored === undefined) return 'absent';
    return pack(event).equals(stored) ? 'same' : 'other';
  }

  /** The seqs of all events above `seq`. */
  eventsAbove(seq: number): number[] {
    return this.eventTable.range({ start: seq + 1 }).map(({ key }) => key);
  }

  /** The seq of the last event; 0 when there was none. */
  lastEvent(): number {
    return this.eventTable.range({ start: undefined, reverse: true, limit: 1 })[0]?.key ?? 0;
  }

  /** Up to `limit` events with seq in (`after`, `upTo`], in order. */
  events(after: number, upTo: number, limit = EVENTS_PAGE): CatalogueEvent[] {
    const range = this.eventTable.range({
      start: after + 1,
      end: upTo,
      inclusiveEnd: true,
      limit,
    });
    return range.map(({ value }) => unpack(value) as CatalogueEvent);
  }

  /** The erased set as the events have made it. */
  erasures(): Erasures {
    const erasures = new Erasures(this.erasureKey());
    for (const event of this.allEvents()) {
      if (event.type === 'erased') erasures.add(event.scope, unpackHashes(event.hashes));
      if (event.type === 'erasure_lifted') erasures.remove(event.scope, unpackHashes(event.hashes));
    }
    return erasures;
  }

  /** The erasures of all scopes with a seq above `after`, in order. */
  erasedAfter(after: number): ErasedAt[] {
    const all = (this.erasedAt ??= this.readErased());
    const first = all.findLastIndex(({ seq }) => seq <= after) + 1;
    return all.slice(first);
  }

  private *allEvents(): Iterable<CatalogueEvent> {
    for (const { value } of this.eventTable.entries(EVENTS_PAGE)) {
      yield unpack(value) as CatalogueEvent;
    }
  }

  private readErased(): ErasedAt[] {
    const found: ErasedAt[] = [];
    for (const event of this.allEvents()) {
      if (event.type !== 'erased') continue;
      const { seq, created, scope } = event;
      found.push({ seq, created, scope });
    }
    return found;
  }

  /** The seq of the last erasure; 0 when there was none. */
  lastErasure(): number {
    return this.erasedAfter(0).at(-1)?.seq ?? 0;
  }

  /** The key of the erased set's hashes. Throws STORE_CORRUPT. */
  erasureKey(): Uint8Array {
    const key = this.meta.get(ERASURE_KEY);
    if (key !== undefined) return new Uint8Array(key);
    throw new TidemarkError(
      'STORE_CORRUPT',
      `the catalogue of ${this.directory} has lost the key of its erasures; restore a backup`,
    );
  }

  /** Stores what was erased or may come again, with its receipt; durable on return. */
  putErasure(event: Moment & ErasureEvent, receipt?: Erasure): void {
    this.environment.commitSync(() => {
      this.addEvent(event);
      if (receipt !== undefined) this.erasureTable.put(receipt.id, pack(receipt));
    });
  }

  putReceipt(receipt: Erasure): void {
    this.environment.commitSync(() => this.erasureTable.put(receipt.id, pack(receipt)));
  }

  /** Every erasure's receipt. */
  receipts(): Erasure[] {
    return Array.from(
      this.erasureTable.entries(EVENTS_PAGE),
      ({ value }) => unpack(value) as Erasure,
    );
  }

  /** Throws ERASURE_NOT_FOUND. */
  mustGetReceipt(id: string): Erasure {
    const value = this.erasureTable.get(id);
    if (value === undefined) {
      throw new TidemarkError('ERASURE_NOT_FOUND', `there is no erasure ${excerpt(id)}`);
    }
    return unpack(value) as Erasure;
  }

  lineage(): Lineage {
    const value = this.meta.get(LINEAGE);
    return value ? (unpack(value) as Lineage) : { id: '', parents: [] };
  }

  /**
   * Goes on under a new name, with all snapshots up to `upTo` shared with the old one. Nothing new
   * gets a seq up to `seqReserved`. `left`: the leader that is not followed any more.
   */
  branch(upTo: number, seqReserved = 0, left?: string): void {
    const { id, parents } = this.lineage();
    const from = Math.max(seqReserved, this.seqReserved());
    const lineage: Lineage = { id: randomUUID(), parents: [...parents, { id, up_to: upTo, from }] };
    this.environment.commitSync(() => {
      this.meta.put(LINEAGE, pack(lineage));
      this.meta.remove(FOLLOWING);
      if (left !== undefined) this.meta.put(LEFT, pack(left));
      this.putReserved(seqReserved);
    });
  }

  /** The leader that this store followed before it was promoted; undefined where it never was. */
  leftLeader(): string | undefined {
    const value = this.meta.get(LEFT);
    return value && (unpack(value) as string);
  }

  /** Undefined for a store that is its own leader. */
  following(): Following | undefined {
    const value = this.meta.get(FOLLOWING);
    return value && (unpack(value) as Following);
  }

  /** Makes the store a replica, which takes its leader's name and key over. */
  follow(leader: string, lineage: Lineage, erasureKey: Uint8Array, applied: number): void {
    const following: Following = { leader, applied, whole: this.following()?.whole ?? applied };
    this.environment.commitSync(() => {
      this.meta.put(FOLLOWING, pack(following));
      this.meta.put(LINEAGE, pack(lineage));
      this.meta.put(ERASURE_KEY, erasureKey);
    });
  }

  /** Resolves when it is durable. `seqReserved`: the leader may have given seqs up to this one. */
  async putApplied(applied: number, seqReserved: number, told: number): Promise<void> {
    const before = this.following()!;
    const whole = Math.max(before.whole ?? before.applied, told);
    const following: Following = { ...before, applied, whole };
    await this.environment.commit(() => {
      this.meta.put(FOLLOWING, pack(following));
      this.putReserved(seqReserved);
    });
    await this.environment.flushed();
  }

  /** What a model version's model made of golden texts; undefined where that is not known. */
  golden(view: string, version: string): Golden | undefined {
    const value = this.meta.get(goldenKey(view, version));
    return value && unpackGolden(value);
  }

  /** Durable on return. */
  putGolden(view: string, version: string, golden: Golden): void {
    this.environment.commitSync(() => this.meta.put(goldenKey(view, version), packGolden(golden)));
  }

  /** What the vectors of a model version are held against; undefined where that is not known. */
  baseline(view: string, version: string): Baseline | undefined {
    const value = this.meta.get(baselineKey(view, version));
    return value && unpackBaseline(value);
  }

  /** Durable on return. */
  putBaseline(view: string, version: string, baseline: Baseline): void {
    this.environment.commitSync(() =>
      this.meta.put(baselineKey(view, version), packBaseline(baseline)),
    );
  }

  /** Within a commit. */
  private forgetMeasured(view: string, version: string): void {
    this.meta.remove(goldenKey(view, version));
    this.meta.remove(baselineKey(view, version));
  }

  state(): CatalogueState {
    return {
      golden: this.select().flatMap(({ view, version }) => {
        const golden = this.golden(view, version);
        return golden === undefined ? [] : [{ view, version, golden }];
      }),
      baselines: this.select().flatMap(({ view, version }) => {
        const baseline = this.baseline(view, version);
        return baseline === undefined ? [] : [{ view, version, baseline }];
      }),
      views: this.views(),
      firstEvents: this.firstEvents(),
      lastEvent: this.lastEvent(),
      receipts: this.receipts(),
      lineage: this.lineage(),
      erasureKey: this.erasureKey(),
      seqReserved: this.seqReserved(),
    };
  }

  /** Makes an empty catalogue hold what another one held; `addEvents` adds the events. */
  fill(state: CatalogueState): void {
    const { views, firstEvents, receipts, lineage, erasureKey, seqReserved } = state;
    this.environment.commitSync(() => {
      for (const { view, version, golden } of state.golden) {
        this.meta.put(goldenKey(view, version), packGolden(golden));
      }
      for (const { view, version, baseline } of state.baselines) {
        this.meta.put(baselineKey(view, version), packBaseline(baseline));
      }
      for (const view of views) this.viewTable.put(view.name, pack(view));
      for (const event of firstEvents) this.addEvent(event);
      for (const receipt of receipts) this.erasureTable.put(receipt.id, pack(receipt));
      this.meta.put(LINEAGE, pack(lineage));
      this.meta.put(ERASURE_KEY, erasureKey);
      this.putReserved(seqReserved);
    });
    for (const view of views) this.byName.set(view.name, view);
  }

  addEvents(events: readonly CatalogueEvent[]): void {
    this.environment.commitSync(() => {
      for (const event of events) this.addEvent(event);
    });
  }

  /** The snapshot of the last backup that was taken here; 0 when there was none. */
  backedUp(): number {
    return this.numberOf(BACKED_UP);
  }

  /** Durable on return. */
  putBackedUp(snapshot: number): void {
    this.environment.commitSync(() => this.putNumber(BACKED_UP, snapshot));
  }

  /** The last transaction of each version, by `view@version`, when the store was closed. */
  closed(): Record<string, number> | undefined {
    const value = this.meta.get(CLOSED);
    return value && (unpack(value) as Record<string, number>);
  }

  /** Undefined while the store is open. Durable on return. */
  putClosed(transactions: Record<string, number> | undefined): void {
    if (transactions === undefined && this.closed() === undefined) return;
    this.environment.commitSync(() => {
      if (transactions === undefined) this.meta.remove(CLOSED);
      else this.meta.put(CLOSED, pack(transactions));
    });
  }

  /** Finishes the drops that a crash left half done. */
  finishDrops(): void {
    for (const name of this.droppedNames()) {
      rmSync(this.folder(name), { recursive: true, force: true });
      this.environment.commitSync(() => this.dropped.remove(name));
    }
  }

  /** Unlinks what a crash left of views and versions that were about to be made. */
  undoCreations(): void {
    for (const { key } of this.generationTable.entries(EVENTS_PAGE)) {
      const [name, version] = key.split('/') as [string, string];
      const view = this.byName.get(name);
      if (view !== undefined && Object.hasOwn(view.versions, version)) continue;
      const folder = view === undefined ? this.folder(name) : this.folder(name, version);
      rmSync(folder, { recursive: true, force: true });
      this.environment.commitSync(() => this.generationTable.remove(key));
    }
  }

  /** Unlinks the files of a dropped view, or of a version of it, which nobody has open any more. */
  async finishDrop(view: string, version?: string): Promise<void> {
    const name = version === undefined ? view : `${view}/${version}`;
    await rm(this.folder(view, version), { recursive: true, force: true });
    this.environment.commitSync(() => this.dropped.remove(name));
    for (const each of this.withOldFiles) {
      if (each === name || each.startsWith(`${name}/`)) this.withOldFiles.delete(each);
    }
  }

  private droppedNames(): string[] {
    return Array.from(this.dropped.entries(EVENTS_PAGE), ({ key }) => key);
  }

  /** Seqs up to this one may have been given to revisions, by this process or an earlier one. */
  seqReserved(): number {
    return this.numberOf(SEQ_RESERVED);
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

  /**
   * What is damaged is refused at once: without a view, an erasure or the seqs that were given, all
   * that is built on them would be answered wrongly. Throws STORE_CORRUPT.
   */
  private checkEntries(): void {
    const { viewTable, meta, dropped, firstViews, erasureTable, generationTable } = this;
    for (const table of [viewTable, meta, dropped, firstViews, erasureTable, generationTable]) {
      Array.from(table.entries(EVENTS_PAGE));
    }
    this.lastErasure();
  }

  private putReserved(upTo: number): void {
    this.putNumber(SEQ_RESERVED, Math.max(upTo, this.seqReserved()));
  }

  private numberOf(key: string): number {
    const value = this.meta.get(key);
    return value ? value.readDoubleLE() : 0;
  }

  private putNumber(key: string, number: number): void {
    const value = Buffer.alloc(8);
    value.writeDoubleLE(number);
    this.meta.put(key, value);
  }

  private addEvent(event: CatalogueEvent): void {
    if (event.type === 'erased') this.erasedAt = undefined;
    if (this.historyUpTo !== undefined && event.seq <= this.historyUpTo) {
      this.histories.clear();
      this.historyUpTo = undefined;
    }
    if (event.seq > 0) this.eventTable.put(event.seq, pack(event));
    else if (event.type === 'view') this.firstViews.put(event.view.name, pack(event));
  }
}
