import { TidemarkError } from '../ground/errors.ts';
import { formatInstant, type Micros, MICROS_MAX } from '../ground/time.ts';
import type { ModelVersion } from '../store/catalogue.ts';
import { type Revision, TOMBSTONE } from '../store/chunk.ts';
import { shownVector } from '../store/dtype.ts';
import { parseEntityId } from '../store/entity-id.ts';
import type { Horizon } from '../store/horizon.ts';
import type { VectorPool } from '../store/vectors.ts';
import { isErased, readHistory } from '../timetravel/history.ts';
import { type Cursor, encodeCursor, parseCursor } from './cursor.ts';
import type { Limits } from './limits.ts';
import { JSON_TYPE } from './media.ts';
import { resolveSnapshot } from './question.ts';
import type { ApiServer, ReadContext } from './route.ts';
import { answer, problems } from './schemas/common.ts';
import { entityPath } from './schemas/lookup.ts';
import {
  timelineAnswer,
  type TimelineAnswer,
  timelineBody,
  type TimelineBody,
  timelineQuery,
} from './schemas/timeline.ts';

const PAGE = 100;
const DESCRIPTION =
  'The revisions of an entity under one model version, newest first (A2), tombstones included. ' +
  'Paged: the pages that a cursor leads to are of one state, whatever is written meanwhile. ' +
  'What is below the revision in force at the horizon of retention is not shown, whether it is still stored or not (A10); a snapshot from before the horizon is refused. An erased entity has no revisions, and `reason` says so (A8).';
const config = { produces: [JSON_TYPE] };
const tags = ['time travel'];
const response = {
  200: answer('A page; empty for an entity that has no revision or was erased.', timelineAnswer),
  ...problems(
    'BAD_REQUEST',
    'BAD_ENTITY_ID',
    'BAD_TIMESTAMP',
    'VIEW_NOT_FOUND',
    'VERSION_NOT_FOUND',
    'SNAPSHOT_UNAVAILABLE',
    'LIMIT_EXCEEDED',
    'STORE_CORRUPT',
  ),
};

export async function timelineRoutes(server: ApiServer, context: ReadContext): Promise<void> {
  server.post(
    '/v1/timeline',
    {
      config,
      schema: {
        tags,
        summary: 'Show an entity’s timeline',
        description: `${DESCRIPTION} For any id, also those that a path cannot carry.`,
        body: timelineBody,
        response: { ...response, ...problems('UNSUPPORTED_MEDIA_TYPE') },
      },
    },
    (request) => showTimeline(context, request.body),
  );

  server.get(
    '/v1/feature-views/:view/entities/:entity_id/timeline',
    {
      config,
      schema: {
        tags,
        summary: 'Show an entity’s timeline',
        description: DESCRIPTION,
        params: entityPath,
        querystring: timelineQuery,
        response,
      },
    },
    ({ params: { view, entity_id }, query }) =>
      showTimeline(context, { feature_view: view, entity_id, ...query }),
  );
}

function showTimeline({ store, limits }: ReadContext, asked: TimelineBody): TimelineAnswer {
  const entityId = parseEntityId(asked.entity_id);
  const cursor = asked.cursor === undefined ? undefined : parseCursor(asked.cursor);
  const limit = limitOf(asked, limits);
  const view = store.catalogue.mustGetView(asked.feature_view);
  const { version, snapshot } = stateOf(asked, cursor);
  const modelVersion = store.catalogue.mustFindVersion(view, version);
  const resolved = resolveSnapshot({ at_snapshot: snapshot }, store, [modelVersion]);
  const opened = store.version(view.name, modelVersion.version);
  refuseBeforeHorizon(view.name, resolved, opened.horizon);
  const range = {
    from: asked.from ?? -MICROS_MAX,
    to: asked.to ?? MICROS_MAX,
    below: cursor?.last,
    snapshot: resolved,
  };
  // One more than the page shows whether there is a next one.
  const found = readHistory(opened, entityId, range, limit + 1);
  const page = found.slice(0, limit);
  const last = found.length > limit ? page.at(-1) : undefined;
  return {
    feature_view: view.name,
    version: modelVersion.version,
    entity_id: entityId,
    snapshot: resolved,
    reason: isErased(opened, entityId) ? 'ERASED' : null,
    revisions: page.map((revision) => ({
      ...showRevision(revision),
      ...(asked.include_vectors && vectorOf(revision, modelVersion, opened.vectors)),
    })),
    next: last ? encodeCursor({ version: modelVersion.version, snapshot: resolved, last }) : null,
  };
}

/** What was visible at an older snapshot is not all there any more (A10). */
function refuseBeforeHorizon(view: string, asked: number, { moment, seq }: Horizon): void {
  if (asked >= seq) return;
  throw new TidemarkError(
    'SNAPSHOT_UNAVAILABLE',
    `the snapshot ${asked} was asked for, and ${view} keeps its history from ` +
      `${formatInstant(moment as Micros)} on, which is snapshot ${seq}: the horizon of its retention`,
  );
}

function limitOf({ limit = PAGE, include_vectors }: TimelineBody, limits: Limits): number {
  if (limit > limits.timeline_page) {
    throw new TidemarkError(
      'LIMIT_EXCEEDED',
      `got the limit ${limit}, the greatest is timeline_page, ${limits.timeline_page}; follow next for more`,
    );
  }
  return include_vectors ? Math.min(limit, limits.timeline_vectors_page) : limit;
}

/** A cursor goes on where its page was; asking for another version or snapshot is a mistake. */
function stateOf(
  { version, at_snapshot: snapshot }: TimelineBody,
  cursor: Cursor | undefined,
): { version: string | undefined; snapshot: number | undefined } {
  if (cursor === undefined) return { version, snapshot };
  if (
    (version ?? cursor.version) !== cursor.version ||
    (snapshot ?? cursor.snapshot) !== cursor.snapshot
  ) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `the cursor is of the version ${cursor.version} at snapshot ${cursor.snapshot}, and something else is asked beside it`,
    );
  }
  return cursor;
}

export function showRevision({ event, known, created, seq, vectorId }: Revision) {
  const deleted = vectorId === TOMBSTONE;
  return {
    event_timestamp: formatInstant(event as Micros),
    known_timestamp: formatInstant(known as Micros),
    created_timestamp: formatInstant(created as Micros),
    seq,
    deleted,
    vector_id: deleted ? null : vectorId,
  };
}

function vectorOf(
  { vectorId }: Revision,
  { dim, dtype }: ModelVersion,
  vectors: VectorPool,
): { vector: number[] | null; scale?: number } {
  if (vectorId === TOMBSTONE) return { vector: null };
  const bytes = new Uint8Array(vectors.vectorBytes);
  vectors.copyInto(vectorId, bytes, 0);
  return shownVector(bytes, dim, dtype);
}
