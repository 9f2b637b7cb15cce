import { formatDuration } from '../ground/duration.ts';
import { TidemarkError } from '../ground/errors.ts';
import { formatInstant, type Micros } from '../ground/time.ts';
import type { CatalogueEvent, FeatureView } from '../store/catalogue.ts';
import type { Change } from '../store/change-log.ts';
import { TOMBSTONE } from '../store/chunk.ts';
import { shownVector } from '../store/dtype.ts';
import { unpackHashes } from '../store/erasures.ts';
import type { FeedPage } from '../store/feed.ts';
import type { Store } from '../store/store.ts';
import type { VersionStore } from '../store/version-store.ts';
import { type FeedQuestion, readPages } from './change-feed.ts';
import type { ChangeLine } from './schemas/changes.ts';

const PAGE_BYTES = 2 ** 19;
const PAGE_ROWS_MAX = 1_000;
/** A line without its vector, and a number of a vector, as text. */
const LINE_BYTES = 400;
const NUMBER_BYTES = 20;

/**
 * The changes as lines of JSON, and a watermark whenever all that there is has been told.
 * Throws SHUTTING_DOWN when it is told to end before the end that was asked for.
 */
export async function* changeLines(
  store: Store,
  question: Omit<FeedQuestion, 'pageRows'> & { vectors: boolean },
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const { vectors, ...asked } = question;
  let isOver = asked.follow;
  const pageRows = (): number => {
    const numbers = vectors ? dimMaxOf(store) : 0;
    const rows = Math.floor(PAGE_BYTES / (LINE_BYTES + numbers * NUMBER_BYTES));
    return Math.min(PAGE_ROWS_MAX, Math.max(1, rows));
  };
  const make = (page: FeedPage, isCaughtUp: boolean): Buffer => {
    const lines = [...linesOf(store, page, vectors)];
    if (isCaughtUp) {
      isOver = true;
      lines.push({ type: 'watermark', snapshot: page.upTo, time: formatInstant(store.clock()) });
    }
    return Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  };
  for await (const bytes of readPages(store, { ...asked, pageRows }, signal, make)) {
    if (bytes.byteLength > 0) yield bytes;
  }
  if (!isOver) {
    throw new TidemarkError('SHUTTING_DOWN', 'the server is stopping; go on at another with after');
  }
}

function dimMaxOf({ catalogue }: Store): number {
  const versions = catalogue.views().flatMap((view) => Object.values(view.versions));
  return Math.max(0, ...versions.map(({ dim }) => dim));
}

function* linesOf(store: Store, { items }: FeedPage, vectors: boolean): Iterable<ChangeLine> {
  for (const item of items) {
    if ('event' in item) {
      yield eventLine(item.event);
      continue;
    }
    const { version, changes } = item;
    const vectorOf = vectors ? vectorReader(store, version) : undefined;
    for (const change of changes) {
      const line = revisionLine(version, change);
      yield vectorOf === undefined ? line : { ...line, ...vectorOf(change) };
    }
  }
}

function revisionLine({ view, version }: VersionStore, change: Change) {
  const isDeleted = change.vectorId === TOMBSTONE;
  return {
    seq: change.seq,
    type: 'revision' as const,
    feature_view: view,
    version,
    entity_id: change.entityId,
    event_timestamp: formatInstant(change.event as Micros),
    known_timestamp: formatInstant(change.known as Micros),
    created_timestamp: formatInstant(change.created as Micros),
    deleted: isDeleted,
    vector_id: isDeleted ? null : change.vectorId,
    source: change.position ?? null,
  };
}

function vectorReader(
  { catalogue }: Store,
  { view, version, vectors }: VersionStore,
): (change: Change) => { vector: number[] | null; scale?: number } {
  const { dim, dtype } = catalogue.mustGetVersion(catalogue.mustGetView(view), version);
  const bytes = new Uint8Array(vectors.vectorBytes);
  return ({ vectorId }) => {
    if (vectorId === TOMBSTONE) return { vector: null };
    vectors.copyInto(vectorId, bytes, 0);
    return shownVector(bytes, dim, dtype);
  };
}

function eventLine(event: CatalogueEvent): ChangeLine {
  const { seq, type } = event;
  const at = { seq, type, created_timestamp: formatInstant(event.created) };
  if ('scope' in event) {
    const { scope, hashes } = event;
    const hex = unpackHashes(hashes).map((each) => Buffer.from(each, 'latin1').toString('hex'));
    return { ...at, entity: scope.entity, feature_view: scope.view ?? null, hashes: hex };
  }
  if (event.type === 'view_dropped') return { ...at, feature_view: event.view };
  const { name, horizon } = event.view;
  const horizonText = horizon === undefined ? null : formatInstant(horizon.moment as Micros);
  return event.type === 'horizon'
    ? { ...at, feature_view: name, horizon: horizonText }
    : {
        ...at,
        feature_view: name,
        ...settingsOf(event.view),
        ...('audit' in event && { audit: event.audit }),
      };
}

function settingsOf({ entity, join_key, max_age, retention, aliases, versions }: FeatureView) {
  return {
    entity,
    join_key,
    max_age: max_age === undefined ? null : formatDuration(max_age),
    retention: retention === undefined ? null : formatDuration(retention),
    aliases,
    versions: Object.fromEntries(
      Object.values(versions).map(({ version, dim, dtype, model }) => [
        version,
        { dim, dtype, model: model?.name ?? null },
      ]),
    ),
  };
}
