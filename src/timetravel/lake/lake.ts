import { rmSync } from 'node:fs';
import { join } from 'node:path';

import { TidemarkError } from '../../ground/errors.ts';
import { formatInstant, type Micros } from '../../ground/time.ts';
import type { CatalogueEvent } from '../../store/catalogue.ts';
import type { Hello } from '../../store/change-frames.ts';
import { TOMBSTONE } from '../../store/chunk.ts';
import { type Dtype, vectorBytes } from '../../store/dtype.ts';
import { makeFolder } from '../../store/folders.ts';
import type { LeaderChanges } from '../../store/leader.ts';
import { sharedUpTo } from '../../store/lineage.ts';
import { lockDirectory } from '../../store/lock.ts';
import { NumberSet } from '../../store/number-set.ts';
import { nameOf } from '../../store/versions.ts';
import { ErasedIds } from './erased-ids.ts';
import { bucketsFor, listFiles, OWN, REVISIONS, VECTORS, WRITING } from './layout.ts';
import { RevisionWindow } from './revisions.ts';
import { type LakeState, packIds, readState, unpackIds, writeState } from './state.ts';
import { sweep } from './sweep.ts';
import { VectorWindow } from './vectors.ts';

/** What a lake table is of. */
export interface LakeSubject {
  feature_view: string;
  version: string;
  entity: string;
  join_key: string;
  dim: number;
  dtype: Dtype;
}

/** How a table is written. */
export interface LakeOptions {
  /** Those of the table, where it is not new; undefined: whatever it has. */
  buckets?: number | undefined;
  /** How many there are, about. */
  revisions: number;
  window?: typeof WINDOW;
}

/** What an export added, and took away. */
export interface LakeSummary {
  feature_view: string;
  version: string;
  directory: string;
  /** The table held all up to this snapshot, and now holds all up to `snapshot`. */
  after: number;
  snapshot: number;
  revisions: number;
  vectors: number;
  files: number;
  /** Revisions of entities that were erased since. */
  erased: number;
}

/**
 * What is held before files are written: the more, the fewer and larger files. A revision takes some
 * 100 bytes with its id.
 */
const WINDOW = { rows: 2 ** 20, vectorBytes: 64 * 2 ** 20 };

/**
 * A lake table that changes are being added to, by one process at a time. They are in the table once
 * its state says so; what was begun and is not is removed when the table is next opened.
 */
export class Lake {
  readonly summary: LakeSummary;
  private table: string;
  private subject: LakeSubject;
  private buckets: number;
  private state: LakeState | undefined;
  private horizon: string | null;
  private lock: { release(): void };
  private known: NumberSet;
  private revisions: RevisionWindow;
  private vectors: VectorWindow;
  /** All revisions, and all vectors, up to these seqs are in files. */
  private revisionsFrom: number;
  private vectorsFrom: number;
  /** All changes up to this seq were added. */
  private upTo: number;
  private hello: Hello | undefined;
  private erased: ErasedIds | undefined;
  private isSweepDue = false;

  /** Throws STORE_LOCKED, STORE_FORMAT, and VIEW_CONFLICT for a table of something else. */
  constructor(
    table: string,
    subject: LakeSubject,
    { buckets, revisions, window = WINDOW }: LakeOptions,
  ) {
    for (const folder of [REVISIONS, VECTORS, WRITING]) makeFolder(join(table, folder));
    this.lock = lockDirectory(join(table, OWN));
    try {
      this.state = readState(table);
      if (this.state !== undefined) requireSame(table, this.state, subject, buckets);
      removeLeftovers(table, this.state);
    } catch (error) {
      this.close();
      throw error;
    }
    const { state } = this;
    this.table = table;
    this.subject = subject;
    this.buckets = state?.buckets ?? buckets ?? bucketsFor(revisions);
    this.horizon = state?.horizon ?? null;
    this.known = state === undefined ? new NumberSet() : unpackIds(state.vector_ids);
    this.upTo = state?.snapshot ?? 0;
    this.revisionsFrom = this.upTo;
    this.vectorsFrom = this.upTo;
    this.revisions = new RevisionWindow(this.buckets, window.rows);
    this.vectors = new VectorWindow(subject.dim, subject.dtype, window.vectorBytes);
    const { feature_view, version } = subject;
    this.summary = {
      feature_view,
      version,
      directory: table,
      after: this.upTo,
      snapshot: this.upTo,
      revisions: 0,
      vectors: 0,
      files: 0,
      erased: 0,
    };
  }

  close(): void {
    this.lock.release();
  }

  /** Who the changes are of. Throws SNAPSHOT_UNAVAILABLE where that is not whom the table is of. */
  async meet(hello: Hello): Promise<void> {
    const { state, table } = this;
    if (state !== undefined && sharedUpTo(state.lineage, hello.lineage) < state.snapshot) {
      throw new TidemarkError(
        'SNAPSHOT_UNAVAILABLE',
        `the lake table ${table} is of another store, or of another past of this one: ` +
          'export into an empty directory',
      );
    }
    const { entity, feature_view: view } = this.subject;
    this.hello = hello;
    this.erased = new ErasedIds(hello.erasure_key, { entity, view });
    // From here on the files in it are the table's.
    if (state === undefined) await this.save();
  }

  /** Throws VIEW_CONFLICT where what the table is of is gone. */
  learn(event: CatalogueEvent): void {
    const { feature_view, version } = this.subject;
    if (event.type === 'view_dropped') {
      if (event.view !== feature_view) return;
      this.refuseSince(event.seq, `the feature view ${feature_view} was dropped`);
      return;
    }
    if ('scope' in event) {
      const isReached = event.type === 'erased' && this.erased!.add(event, event.seq);
      if (isReached && (this.upTo > 0 || this.revisions.rows > 0)) this.isSweepDue = true;
      return;
    }
    const { name, horizon } = event.view;
    if (name !== feature_view) return;
    if (!Object.hasOwn(event.view.versions, version)) {
      this.refuseSince(event.seq, `the model version ${nameOf(name, version)} was retired`);
    }
    if (horizon !== undefined) this.horizon = formatInstant(horizon.moment as Micros);
  }

  /** One that was made anew under that name is another one. */
  private refuseSince(seq: number, what: string): void {
    const since = this.summary.after === 0 ? this.hello!.snapshot : this.summary.after;
    if (seq <= since) return;
    throw new TidemarkError(
      'VIEW_CONFLICT',
      `${what} at seq ${seq}, and ${this.table} is of the one that was: remove the directory`,
    );
  }

  add({ view, version, changes, vectors }: LeaderChanges): void {
    const { subject, known } = this;
    if (view !== subject.feature_view || version !== subject.version) return;
    for (const change of changes) {
      const { vectorId } = change;
      if (vectorId !== TOMBSTONE && !known.has(vectorId)) {
        this.vectors.add(vectorId, this.vectorIn(vectors, vectorId));
        known.add(vectorId);
        this.summary.vectors++;
      }
      this.revisions.add(change);
      this.summary.revisions++;
    }
  }

  /** All changes up to a seq were added: what is much by now is written. */
  async reach(upTo: number): Promise<void> {
    this.upTo = upTo;
    if (this.vectors.isFull) await this.flushVectors();
    if (!this.revisions.isFull) return;
    await this.flush();
    // An erasure is told ahead of the changes after which it came: first the sweep, then the state.
    if (!this.isSweepDue) await this.save();
  }

  /** Writes what is left, and removes what was erased. */
  async finish(): Promise<LakeSummary> {
    await this.flush();
    if (this.isSweepDue) {
      const { referenced, removed } = await sweep(this.table, this.erased!);
      this.known = referenced;
      this.summary.erased = removed;
      this.isSweepDue = false;
    }
    await this.save();
    return this.summary;
  }

  private async flush(): Promise<void> {
    await this.flushVectors();
    const { table, revisions, revisionsFrom, upTo } = this;
    this.summary.files += await revisions.flush(table, revisionsFrom, upTo);
    this.revisionsFrom = upTo;
  }

  private async flushVectors(): Promise<void> {
    const isWritten = await this.vectors.flush(this.table, this.vectorsFrom, this.upTo);
    if (isWritten) this.summary.files++;
    this.vectorsFrom = this.upTo;
  }

  private async save(): Promise<void> {
    this.state = {
      format: 1,
      ...this.subject,
      buckets: this.buckets,
      bucket_hash: 'crc32(utf8(entity_id)) % buckets',
      snapshot: this.upTo,
      horizon: this.horizon,
      lineage: this.hello!.lineage,
      vector_ids: packIds(this.known),
    };
    await writeState(this.table, this.state);
    this.summary.snapshot = this.upTo;
  }

  private vectorIn(vectors: ReadonlyMap<number, Uint8Array>, id: number): Uint8Array {
    const { dim, dtype, feature_view, version } = this.subject;
    const bytes = vectors.get(id);
    if (bytes?.byteLength === vectorBytes(dim, dtype)) return bytes;
    throw new TidemarkError(
      'STORE_CORRUPT',
      `the vector ${id} of ${feature_view}@${version} came with ${bytes?.byteLength ?? 'no'} bytes, ` +
        `expected ${vectorBytes(dim, dtype)}: export into an empty directory`,
    );
  }
}

/** What an export began and did not finish. Throws STORE_FORMAT for files that no state tells of. */
function removeLeftovers(table: string, state: LakeState | undefined): void {
  rmSync(join(table, WRITING), { recursive: true });
  makeFolder(join(table, WRITING));
  for (const folder of [REVISIONS, VECTORS] as const) {
    for (const { path, to } of listFiles(table, folder)) {
      if (state === undefined) {
        throw new TidemarkError(
          'STORE_FORMAT',
          `${table} holds files as ${path} and no ${OWN}/state.json: export into an empty directory`,
        );
      }
      if (to > state.snapshot) rmSync(join(table, path));
    }
  }
}

function requireSame(
  table: string,
  state: LakeState,
  subject: LakeSubject,
  buckets: number | undefined,
): void {
  if (buckets !== undefined && buckets !== state.buckets) {
    throw new TidemarkError(
      'VIEW_CONFLICT',
      `the lake table ${table} has ${state.buckets} buckets, got ${buckets}: leave that out, or export into an empty directory`,
    );
  }
  for (const name of ['feature_view', 'version', 'entity', 'dim', 'dtype'] as const) {
    if (state[name] === subject[name]) continue;
    throw new TidemarkError(
      'VIEW_CONFLICT',
      `the lake table ${table} is of ${name} ${state[name]}, got ${subject[name]}: export into an empty directory`,
    );
  }
}
