import { TidemarkError } from '../ground/errors.ts';
import { type PayloadMemory, RevisionBatch } from '../store/batch.ts';
import type { FeatureView, ModelVersion } from '../store/catalogue.ts';
import { entityErased } from '../store/commit.ts';
import { vectorBytes } from '../store/dtype.ts';
import type { ErasedOfVersion } from '../store/erasures.ts';
import { isGone } from '../store/maintain.ts';
import type { Store } from '../store/store.ts';
import type { VersionStore } from '../store/version-store.ts';
import { PushRejected } from './problem.ts';
import {
  type PushRows,
  readRecords,
  type RecordRules,
  TEXT,
  TOMBSTONE,
  VECTOR,
} from './push-records.ts';
import { PushTexts } from './push-texts.ts';
import type { Context } from './route.ts';
import type { Outcomes, PushAnswer } from './schemas/push.ts';

export interface PushRequest {
  feature_view: string;
  version?: string | undefined;
  known?: 'arrival' | 'event' | undefined;
  atomic?: boolean | undefined;
  results?: boolean | undefined;
  /** Each as parsed, or the error that kept it from being parsed. */
  records: readonly unknown[];
  /** Came as MessagePack. */
  isPacked: boolean;
  /** Aborted when the caller is gone: what waits for a model need not wait any more. */
  signal?: AbortSignal;
  /** For the vectors. */
  memory?: PayloadMemory;
}

/** In the place of a record's index. */
const OF_NO_RECORD = -1;

/** What one model version is given of a push. */
interface Target {
  version: ModelVersion;
  /** As it was when the records were read. */
  store: VersionStore;
  batch: RevisionBatch;
  /** The record of each row of the batch. */
  indexes: number[];
}

/**
 * Reads the records, embeds their texts, and commits what is in order: one commit a model version,
 * rows in the order of the request. A record that any of its versions refuses is rejected in all.
 * Throws what no record is to blame for, PushRejected for an atomic push, LIMIT_EXCEEDED.
 */
export async function push(context: Context, request: PushRequest): Promise<PushAnswer> {
  const { store, limits } = context;
  const { records } = request;
  if (records.length > limits.push_records) {
    throw new TidemarkError(
      'LIMIT_EXCEEDED',
      `got ${records.length} records, the limit push_records is ${limits.push_records}; send several pushes`,
    );
  }
  for (;;) {
    const view = store.catalogue.mustGetView(request.feature_view);
    try {
      const answer = await pushTo(context, request, view);
      if (answer !== undefined) return answer;
    } catch (error) {
      // Nothing is stored yet, and what nobody asked for by name is not to keep it from the others.
      if (!isGone(error) || request.version !== undefined || !hasLost(view, store)) throw error;
    }
  }
}

/** Whether there are versions that were not there before, and that texts go to as well. */
function hasMore(before: FeatureView, { catalogue }: Store): boolean {
  const now = catalogue.view(before.name)?.versions ?? {};
  return Object.keys(now).some((version) => !Object.hasOwn(before.versions, version));
}

/** Whether some of the versions, and not all, were retired since. */
function hasLost(before: FeatureView, { catalogue }: Store): boolean {
  const now = catalogue.view(before.name)?.versions ?? {};
  const all = Object.values(before.versions);
  const isThere = all.map(
    ({ version, created_seq }) =>
      now[version] !== undefined && now[version].created_seq === created_seq,
  );
  return isThere.includes(true) && isThere.includes(false);
}

/** Undefined, with nothing stored, where the view has got a version while models made vectors. */
async function pushTo(
  context: Context,
  request: PushRequest,
  view: FeatureView,
): Promise<PushAnswer | undefined> {
  const { store, metrics } = context;
  const { records, version } = request;
  const named = version === undefined ? undefined : store.catalogue.mustGetVersion(view, version);
  const targets = new Targets(store, view, named, request.memory);
  const rows = readRecords(records, rulesOf(context, request, targets));
  const texts = new PushTexts(context, view, rows);
  if (rows.inputs.length > 0 || rows.kinds.includes(TOMBSTONE)) {
    await texts.add(targets.withModels(), request.signal);
    // Neither what is pushed from now on nor what is stored by now would bring it there.
    if (version === undefined && hasMore(view, store)) {
      texts.release();
      return undefined;
    }
  }
  try {
    fill(targets, rows, texts);
    rows.rejected.sort((a, b) => a.index - b.index);
    metrics.pushed(view.name, 'rejected', rows.rejected.length);
    if (request.atomic && rows.rejected.length > 0) {
      throw new PushRejected(rows.rejected, records.length);
    }
    return await commit(context, view, request, targets, rows, texts);
  } finally {
    texts.release();
  }
}

/** Which of a view's model versions the vectors, texts and deletes of a push go to. */
class Targets {
  private store: Store;
  private view: FeatureView;
  private named: ModelVersion | undefined;
  private memory: PayloadMemory | undefined;
  private byVersion = new Map<string, Target>();

  constructor(
    store: Store,
    view: FeatureView,
    named: ModelVersion | undefined,
    memory: PayloadMemory | undefined,
  ) {
    this.store = store;
    this.view = view;
    this.named = named;
    this.memory = memory;
  }

  /** The one that vectors are of (A14). Throws VERSION_REQUIRED. */
  ofVectors(): Target {
    const versions = this.ofDeletes();
    if (versions.length > 1) {
      throw new TidemarkError(
        'VERSION_REQUIRED',
        `the feature view ${this.view.name} has the model versions ${versions.join(', ')}; ` +
          'say with version which one the vectors are of',
      );
    }
    return this.get(versions[0]!);
  }

  /** Throws NO_MODEL where there is none. */
  ofTexts(): string[] {
    const { view, named } = this;
    const versions = this.ofDeletes().filter((name) => view.versions[name]!.model !== undefined);
    if (versions.length === 0) {
      throw new TidemarkError(
        'NO_MODEL',
        `${named === undefined ? `no version of ${view.name}` : `${view.name}@${named.version}`} ` +
          'has a model to embed texts with; send vectors, or add a version with a model',
      );
    }
    return versions;
  }

  /** Those that have a model. */
  withModels(): Target[] {
    return this.ofDeletes()
      .filter((name) => this.view.versions[name]!.model !== undefined)
      .map((name) => this.get(name));
  }

  /** A delete is a fact about the entity, so it goes to all versions unless one is named (A7). */
  ofDeletes(): string[] {
    return this.named === undefined ? Object.keys(this.view.versions) : [this.named.version];
  }

  erasuresOf(store: Store): ErasedOfVersion {
    return store.version(this.view.name, this.ofDeletes()[0]!).erasures;
  }

  get(name: string): Target {
    let target = this.byVersion.get(name);
    if (target === undefined) {
      const version = this.view.versions[name]!;
      const bytes = vectorBytes(version.dim, version.dtype);
      const batch = new RevisionBatch(bytes, undefined, this.memory?.take());
      const store = this.store.version(this.view.name, name);
      this.byVersion.set(name, (target = { version, store, batch, indexes: [] }));
    }
    return target;
  }

  /** To be called when all commits are over: whoever made vectors has given them, too. */
  release(): void {
    for (const { batch } of this.byVersion.values()) this.memory?.takeBack(batch);
  }

  /** Those that have rows to commit. */
  filled(): Target[] {
    return [...this.byVersion.values()].filter(({ batch }) => batch.rows > 0);
  }
}

function rulesOf(context: Context, request: PushRequest, targets: Targets): RecordRules {
  let vectors: Target | undefined;
  let hasModel = false;
  // An erasure reaches all versions of a view.
  const erasures = targets.erasuresOf(context.store);
  return {
    isKnownAtEvent: request.known === 'event',
    now: context.store.clock(),
    maxFutureSkew: context.maxFutureSkew,
    textBytesMax: context.limits.text_bytes,
    isPacked: request.isPacked,
    isErased: (id) => !erasures.none && erasures.has(id),
    vectors: () => (vectors ??= targets.ofVectors()),
    requireModel: () => void (hasModel ||= targets.ofTexts().length > 0),
  };
}

/** Adds the rows to the batches of their versions, in the order of the request. */
function fill(targets: Targets, rows: PushRows, texts: PushTexts): void {
  const { indexes, entityIds, events, knowns, kinds, sources } = rows;
  const deletes = targets.ofDeletes();
  const vectors = kinds.includes(VECTOR) ? [targets.ofVectors().version.version] : [];
  const refused = new Set(rows.rejected.map(({ index }) => index));
  for (let row = 0; row < indexes.length; row++) {
    const kind = kinds[row]!;
    const index = indexes[row]!;
    if (refused.has(index)) continue;
    const entityId = entityIds[row]!;
    for (const name of kind === VECTOR ? vectors : deletes) {
      const said = texts.revisionsOf(name, row);
      if (said === undefined && kind === TEXT) continue;
      const { batch, indexes: ofRows } = targets.get(name);
      if (said === undefined) {
        batch.addRow(entityId, events[row]!, knowns[row]!, sources[row]!);
        ofRows.push(index);
        continue;
      }
      for (const [at, { event, known, payload }] of said.entries()) {
        batch.addRow(entityId, event, known, payload);
        // Others are what earlier records say otherwise now.
        ofRows.push(at === 0 ? index : OF_NO_RECORD);
      }
    }
  }
}

async function commit(
  { store, metrics }: Context,
  view: FeatureView,
  request: PushRequest,
  targets: Targets,
  { rejected }: PushRows,
  texts: PushTexts,
): Promise<PushAnswer> {
  const filled = targets.filled();
  for (const { version, store: before } of filled) {
    // While a model made vectors, the view may have been dropped, and one of its name been made.
    if (store.version(view.name, version.version) === before) continue;
    throw new TidemarkError(
      'VERSION_NOT_FOUND',
      `the model version ${view.name}@${version.version} was made anew while the push was on its way: push it again`,
    );
  }
  // All are awaited before any failure is told: then what was stored of it is settled.
  const settled = await Promise.allSettled(
    filled.map(({ version: { version }, batch }) => {
      const fields = texts.fieldsOf(version);
      return store.commit(view.name, version, {
        rows: batch,
        isAtomic: request.atomic === true,
        ...(fields && { fields }),
      });
    }),
  );
  targets.release();
  const versions: Record<string, Outcomes> = {};
  const results = request.records.map((): Record<string, keyof Outcomes> | null => null);
  let snapshot = store.snapshot;
  settled.forEach((one, at) => {
    if (one.status === 'rejected') throw one.reason;
    const { version, batch, indexes } = filled[at]!;
    const counts: Outcomes = { latest: 0, history: 0, duplicate: 0 };
    one.value.outcomes.forEach((outcome, row) => {
      if (indexes[row] === OF_NO_RECORD) return;
      if (outcome === 'erased') {
        // While the push was on its way; nothing of it is in any version.
        const { code, message } = entityErased(batch.entityIds[row]!);
        if (at === 0) rejected.push({ index: indexes[row]!, code, message });
        return;
      }
      counts[outcome]++;
      if (request.results) (results[indexes[row]!] ??= {})[version.version] = outcome;
    });
    snapshot = Math.max(snapshot, one.value.snapshot);
    versions[version.version] = counts;
    for (const [outcome, rows] of Object.entries(counts)) {
      metrics.pushed(view.name, outcome, rows);
    }
  });
  return {
    feature_view: view.name,
    snapshot,
    versions,
    ...(request.results && { results }),
    rejected,
  };
}
