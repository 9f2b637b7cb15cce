import { setImmediate as turn } from 'node:timers/promises';

import { TidemarkError, TryLater } from '../ground/errors.ts';
import type { Micros } from '../ground/time.ts';
import { Catalogue, type CatalogueEvent, type FeatureView } from './catalogue.ts';
import { type Erasures, unpackHashes } from './erasures.ts';
import { checkDirectory } from './format.ts';
import { NO_HORIZON } from './horizon.ts';
import { type ResidentMemory, residentMemory } from './resident-budget.ts';
import type { ReadStore, StoreOptions } from './store.ts';
import { VersionFiles } from './version-files.ts';
import { VersionStore } from './version-store.ts';
import { nameOf } from './versions.ts';

/** Changes read at once: others have their turn between. */
const CHANGES_PAGE = 512;
const EVENTS_PAGE = 256;
const RETRY_SECONDS = 1;

/** A model version as it is read here. */
interface OpenVersion {
  store: VersionStore;
  /** Which files they are: those of another compaction, or of another view of that name, differ. */
  files: string;
  /** The seq of the last change whose entity's head was forgotten. */
  seen: number;
  /** The seq of the erasure up to which nothing is left in its databases, nor resident of it. */
  erasedUpTo: number;
}

/** The files of a data directory, open for reading. */
interface Opened {
  catalogue: Catalogue;
  /** The last event that was taken in. */
  lastEvent: number;
  /** A snapshot was reached that the catalogue is not ahead of. */
  isReady: boolean;
  erasures: Erasures;
  lastErasure: number;
  versions: Map<string, OpenVersion>;
}

/**
 * A data directory that another process writes to, read here at snapshots that the other one has
 * named as durable. What lies above the snapshot is seen in the files, and no question reaches it.
 *
 * Before a snapshot is gone by, the heads of timelines that were changed up to there are forgotten,
 * and what the catalogue says is taken in with it, in one turn: what is read within a turn is of one
 * state. Events of the catalogue have seqs too: no state of it is taken in that is ahead of the
 * snapshot.
 *
 * When the writer is lost, its successor may open the files at the last flush, and write other things
 * where commits were that nobody was told of. So everything is let go of before that: `close`, and
 * `open` when the successor has done so.
 */
export class ReadOnlyStore implements ReadStore {
  readonly clock: () => Micros;
  private directory: string;
  private memory: ResidentMemory | undefined;
  private opened: Opened | undefined;
  private taken = 0;
  /** The snapshot to go to. */
  private target = 0;
  private moving = Promise.resolve();
  private isMoving = false;
  private waiting = new Set<{ least: number; resolve: () => void }>();
  private closing = new Set<Promise<void>>();

  constructor(directory: string, clock: () => Micros, { residentBytes = 0 }: StoreOptions = {}) {
    this.directory = directory;
    this.clock = clock;
    this.memory = residentBytes > 0 ? residentMemory(residentBytes) : undefined;
  }

  get snapshot(): number {
    return this.taken;
  }

  /** Whether questions are answered. */
  get isOpen(): boolean {
    return this.opened?.isReady === true;
  }

  get residentBytes(): number {
    return this.memory === undefined ? 0 : this.memory.heads.used + this.memory.vectors.used;
  }

  /** Throws STORE_UNAVAILABLE while nothing is open. */
  get catalogue(): Catalogue {
    return this.mustBeOpen().catalogue;
  }

  /** Throws STORE_UNAVAILABLE, VERSION_NOT_FOUND. */
  version(view: string, version: string): VersionStore {
    const found = this.mustBeOpen().versions.get(nameOf(view, version));
    if (found !== undefined) return found.store;
    throw new TidemarkError(
      'VERSION_NOT_FOUND',
      `there is no model version ${nameOf(view, version)}`,
    );
  }

  /**
   * Opens the files, which a writer has open or had last, at a snapshot that it named.
   * Rejects with STORE_FORMAT, STORE_CORRUPT.
   */
  async open(snapshot: number): Promise<void> {
    checkDirectory(this.directory);
    const catalogue = new Catalogue(this.directory, 'read-only');
    const opened: Opened = {
      catalogue,
      lastEvent: catalogue.lastEvent(),
      isReady: false,
      erasures: catalogue.erasures(),
      lastErasure: catalogue.lastErasure(),
      versions: new Map(),
    };
    this.opened = opened;
    await this.follow(snapshot);
  }

  /** Lets go of all files and of all that was read of them. Questions wait until `open`. */
  async close(): Promise<void> {
    const { opened } = this;
    this.opened = undefined;
    await this.moving.catch(() => {});
    for (const { store } of opened?.versions.values() ?? []) this.letGo(store);
    await Promise.all(this.closing);
    await opened?.catalogue.close();
  }

  /**
   * Goes on to a snapshot that the writer has named as durable; resolves when it is there, or
   * something keeps it from there for now. Rejects with STORE_CORRUPT, and what the system refuses.
   */
  async follow(snapshot: number): Promise<void> {
    this.target = Math.max(this.target, snapshot);
    if (this.opened !== undefined && !this.isMoving) this.moving = this.move(this.opened);
    await this.moving;
  }

  /**
   * Undefined where questions at the snapshot, or at a later one, can be answered now. Resolves when
   * they can, or after so long.
   */
  reached(least: number, ms: number): Promise<void> | undefined {
    if (this.isOpen && this.taken >= least) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = { least, resolve };
    this.waiting.add(waiting);
    const timer = setTimeout(resolve, ms);
    return promise.finally(() => {
      clearTimeout(timer);
      this.waiting.delete(waiting);
    });
  }

  /** The first turn of it is this one. */
  private async move(opened: Opened): Promise<void> {
    this.isMoving = true;
    try {
      for (;;) {
        const to = this.target;
        for (const version of opened.versions.values()) {
          while (this.takeChanges(version)) {
            await turn();
            if (this.opened !== opened) return;
          }
        }
        // From here on nothing waits.
        if (!this.takeCatalogue(opened, to)) return;
        this.taken = Math.max(this.taken, to);
        opened.isReady = true;
        this.wake();
        if (this.target === to) return;
      }
    } finally {
      this.isMoving = false;
    }
  }

  /** Forgets heads that were changed; whether there may be more of them. */
  private takeChanges(version: OpenVersion): boolean {
    const { timelines, log, environment } = version.store;
    environment.refresh();
    const changes = log.read(version.seen, Number.MAX_SAFE_INTEGER, CHANGES_PAGE);
    for (const { entityId } of changes) timelines.forget(entityId);
    version.seen = changes.at(-1)?.seq ?? version.seen;
    return changes.length === CHANGES_PAGE;
  }

  /** False where the catalogue is ahead of the snapshot: what it says is taken in with a later one. */
  private takeCatalogue(opened: Opened, upTo: number): boolean {
    const { catalogue, versions } = opened;
    catalogue.refresh();
    const lastEvent = catalogue.lastEvent();
    if (lastEvent > upTo) return false;
    if (lastEvent !== opened.lastEvent) {
      this.takeEvents(opened, lastEvent);
      catalogue.readViews();
    }
    this.takeFiles(opened);
    for (const version of versions.values()) {
      version.store.environment.refresh();
      if (version.erasedUpTo < opened.lastErasure) settle(version);
    }
    return true;
  }

  private takeEvents(opened: Opened, lastEvent: number): void {
    const { catalogue, erasures } = opened;
    let at = opened.lastEvent;
    let page: CatalogueEvent[];
    do {
      page = catalogue.events(at, lastEvent, EVENTS_PAGE);
      for (const event of page) {
        at = event.seq;
        if (!('scope' in event)) continue;
        const hashes = unpackHashes(event.hashes);
        if (event.type === 'erased') {
          erasures.add(event.scope, hashes);
          opened.lastErasure = event.seq;
        } else erasures.remove(event.scope, hashes);
      }
    } while (page.length === EVENTS_PAGE);
    opened.lastEvent = lastEvent;
  }

  /** Opens files that are new, and closes those that are not the catalogue's any more. */
  private takeFiles(opened: Opened): void {
    const { catalogue, versions } = opened;
    const gone = new Set(versions.keys());
    for (const view of catalogue.views()) {
      for (const version of Object.keys(view.versions)) {
        const isThere = this.takeVersion(opened, view, version);
        if (isThere) gone.delete(nameOf(view.name, version));
      }
    }
    for (const name of gone) {
      this.letGo(versions.get(name)!.store);
      versions.delete(name);
    }
  }

  /** False where its files are gone: the catalogue has gone on, and says so with a later snapshot. */
  private takeVersion(opened: Opened, view: FeatureView, version: string): boolean {
    const { catalogue, versions, erasures } = opened;
    const name = nameOf(view.name, version);
    const { number } = catalogue.generation(view.name, version);
    const layout = view.versions[version]!;
    const { created_seq: made = 0 } = layout;
    const files = `${made}/${number}`;
    const before = versions.get(name);
    if (before?.files === files) return true;
    const folder = catalogue.folder(view.name, version, number);
    let fresh: VersionFiles;
    try {
      fresh = new VersionFiles(folder, layout, { mode: 'read-only', memory: this.memory });
    } catch (error) {
      // Compaction has put others in their place meanwhile, or the view is gone.
      catalogue.refresh();
      if (catalogue.generation(view.name, version).number !== number) {
        return this.takeVersion(opened, view, version);
      }
      if (catalogue.lastEvent() > opened.lastEvent) return false;
      throw error;
    }
    // What was erased before a version was made never came into it.
    const erasedUpTo = Math.max(fresh.erasedUpTo(), made);
    const read = { files, seen: fresh.log.lastSeq(), erasedUpTo };
    if (before !== undefined && before.files.startsWith(`${made}/`)) {
      this.letGo(before.store.switchTo(fresh));
      Object.assign(before, read);
      return true;
    }
    if (before !== undefined) this.letGo(before.store);
    const isSettled = (): boolean => entry.erasedUpTo >= opened.lastErasure;
    const store = new VersionStore(
      { view: view.name, version },
      fresh,
      () => catalogue.view(view.name)?.horizon ?? NO_HORIZON,
      erasures.of(view.entity, view.name, isSettled),
    );
    const entry: OpenVersion = { ...read, store };
    versions.set(name, entry);
    return true;
  }

  private letGo(files: { close(): Promise<void> }): void {
    const closed = files.close().finally(() => this.closing.delete(closed));
    this.closing.add(closed);
  }

  private wake(): void {
    for (const { least, resolve } of this.waiting) if (least <= this.taken) resolve();
  }

  private mustBeOpen(): Opened {
    if (this.opened?.isReady === true) return this.opened;
    throw new TryLater(
      'STORE_UNAVAILABLE',
      'the files of the store are being opened anew: try again after a moment',
      RETRY_SECONDS,
    );
  }
}

/**
 * Once an erasure is through with a version nobody asks whether an entity that has a timeline there
 * was erased, and it may be lifted: no head of before may be resident then. Hashes do not say whose.
 */
function settle(version: OpenVersion): void {
  const { timelines, files } = version.store;
  const upTo = files.erasedUpTo();
  if (upTo <= version.erasedUpTo) return;
  timelines.forgetAll();
  version.erasedUpTo = upTo;
}
