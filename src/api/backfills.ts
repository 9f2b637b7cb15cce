import { extname } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import { formatInstant, micros } from '../ground/time.ts';
import type { AskedBackfill, BackfillTold, PlanTold } from './backfilling.ts';
import { goneSignal } from './gone.ts';
import { JSON_TYPE } from './media.ts';
import type { ApiServer, Context } from './route.ts';
import {
  backfillAnswer,
  type BackfillAnswer,
  type BackfillBody,
  backfillBody,
  backfillPath,
  backfillPlanAnswer,
  type BackfillPlanAnswer,
  backfillsAnswer,
  backfillsQuery,
} from './schemas/backfills.ts';
import { answer, problems } from './schemas/common.ts';
import { serverFile } from './server-file.ts';

const tags = ['model versions'];
const config = { produces: [JSON_TYPE] };

const DESCRIPTION =
  'Fills a model version from the history of its sources: the kept inputs of another version, a file on the server’s disk, or the topics of a configured source. ' +
  'Event and known times are those of the history, so that joins on the version are right for the past under `input` knowledge, and the order of arrival changes nothing (A2, A5). ' +
  'It runs in the background, after live traffic, one of a version at a time; it survives the server’s restart, goes on exactly where it was, and stores what the live stream brings too once (A4, A12).';

/** Model versions that are filled from what was. */
export async function backfillRoutes(server: ApiServer, context: Context): Promise<void> {
  const { backfills, backfillDirectories } = context;

  server.post(
    '/v1/backfills',
    {
      config: { ...config, writes: true },
      schema: {
        tags,
        summary: 'Fill a model version from the history of its sources',
        description: DESCRIPTION,
        body: backfillBody,
        response: {
          200: answer('With `plan`: what it would do.', backfillPlanAnswer),
          202: answer('It was taken in, and is told of at `Location`.', backfillAnswer),
          ...problems(
            'BAD_REQUEST',
            'BAD_TIMESTAMP',
            'VIEW_NOT_FOUND',
            'VERSION_NOT_FOUND',
            'NO_MODEL',
            'MODEL_CHANGED',
            'MODEL_UNAVAILABLE',
            'READ_ONLY_REPLICA',
            'UNSUPPORTED_MEDIA_TYPE',
            'LIMIT_EXCEEDED',
            'OVERLOADED',
            'STORE_UNAVAILABLE',
          ),
        },
      },
    },
    async ({ body }, reply): Promise<BackfillAnswer | BackfillPlanAnswer> => {
      const asked = askedIn(body, backfillDirectories);
      if (body.plan) return planTold(asked, await backfills.plan(asked, goneSignal(reply)));
      const told = await backfills.submit(asked);
      void reply.code(202).header('location', `/v1/backfills/${told.record.id}`);
      return backfillTold(told);
    },
  );

  server.get(
    '/v1/backfills',
    {
      config,
      schema: {
        tags,
        summary: 'List backfills',
        description: 'The newest first.',
        querystring: backfillsQuery,
        response: {
          200: answer('The backfills, the newest first.', backfillsAnswer),
          ...problems('BAD_REQUEST'),
        },
      },
    },
    async ({ query: { limit, cursor } }) => {
      const found = backfills.list(limit + 1, cursor);
      const page = found.slice(0, limit);
      return {
        backfills: page.map(backfillTold),
        next: found.length > limit ? page.at(-1)!.record.id : null,
      };
    },
  );

  server.get(
    '/v1/backfills/:id',
    {
      config,
      schema: {
        tags,
        summary: 'How far a backfill is',
        description:
          'Its state, what became of the events so far, how fast it goes, and how long it will take.',
        params: backfillPath,
        response: {
          200: answer('The backfill as it is now.', backfillAnswer),
          ...problems('BACKFILL_NOT_FOUND'),
        },
      },
    },
    async ({ params: { id } }) => backfillTold(backfills.mustGet(id)),
  );

  server.delete(
    '/v1/backfills/:id',
    {
      config: { ...config, writes: true },
      schema: {
        tags,
        summary: 'Cancel a backfill, or remove one that has ended',
        description:
          'What a cancelled one has stored stays, and another one of the same history goes over it. One that was cancelled is still told of, and removed when it is deleted again.',
        params: backfillPath,
        response: {
          200: answer('The backfill as it was last.', backfillAnswer),
          ...problems('BACKFILL_NOT_FOUND', 'READ_ONLY_REPLICA'),
        },
      },
    },
    async ({ params: { id } }) => backfillTold(await backfills.remove(id)),
  );
}

/** Throws BAD_REQUEST. */
function askedIn(
  { feature_view: view, version, from, window, entity_ids: entities }: BackfillBody,
  directories: readonly string[],
): AskedBackfill {
  const asked = { view, version, window, entities };
  if (from.kind !== 'file') return { ...asked, from };
  const { kind, path, columns } = from;
  const allowed = { what: 'file', setting: 'backfill.directories', directories };
  const found = serverFile(path, allowed);
  const format = from.format ?? formatOf(path);
  return { ...asked, from: { kind, ...found, format, columns } };
}

/** Throws BAD_REQUEST. */
function formatOf(path: string): 'ndjson' | 'parquet' {
  const end = extname(path);
  if (end === '.parquet') return 'parquet';
  if (end === '.ndjson' || end === '.jsonl') return 'ndjson';
  throw new TidemarkError(
    'BAD_REQUEST',
    `the file ${excerpt(path)} ends with none of .parquet, .ndjson, .jsonl; say its format`,
  );
}

function backfillTold({ record, eventsPerSecond, trouble }: BackfillTold): BackfillAnswer {
  const { id, state, view, version, from, window, total, counts, inputs, failure } = record;
  const isKnown = total !== undefined && eventsPerSecond !== undefined;
  return {
    id,
    state,
    feature_view: view,
    version,
    from: {
      kind: from.kind,
      ...(from.kind === 'inputs' && { version: from.version }),
      ...(from.kind === 'file' && { path: from.path }),
      ...(from.kind === 'source' && { name: from.name }),
    },
    window: { from: textOf(window.from), to: textOf(window.to) },
    entities: record.entities ?? null,
    created_timestamp: formatInstant(record.created),
    started_timestamp: textOf(record.started),
    ended_timestamp: textOf(record.ended),
    events: { total: total ?? null, ...counts },
    inputs: { embedded: inputs.embedded, shared: inputs.pooled + inputs.repeated },
    rejected: record.rejected.map(({ topic, partition, offset, code, message }) => ({
      position: { topic, partition, offset },
      reason: code,
      message,
    })),
    events_per_second: eventsPerSecond ?? null,
    seconds_left: isKnown ? Math.max(0, total - counts.read) / eventsPerSecond : null,
    waits_for: trouble ?? null,
    problem: failure === undefined ? null : { code: failure.code, detail: failure.message },
  };
}

function planTold({ view, version }: AskedBackfill, plan: PlanTold): BackfillPlanAnswer {
  return {
    feature_view: view,
    version,
    exact: plan.isExact,
    events: plan.events,
    wanted: plan.wanted,
    deletes: plan.deletes,
    rejected: plan.rejected,
    erased: plan.erased,
    distinct_inputs: plan.distinctInputs,
    pooled_inputs: plan.pooledInputs,
    tokens: plan.tokens,
    sampled_inputs: plan.sampledInputs,
    tokens_per_second: plan.tokensPerSecond ?? null,
    device_seconds: plan.deviceSeconds,
    bytes: plan.bytes,
    seconds: plan.seconds,
    ends_timestamp: formatInstant(plan.ends),
  };
}

function textOf(time: number | undefined): string | null {
  return time === undefined ? null : formatInstant(micros(time));
}
