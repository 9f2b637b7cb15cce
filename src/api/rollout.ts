import { z } from 'zod';

import { formatInstant, micros } from '../ground/time.ts';
import type { Why } from '../store/store.ts';
import { goneSignal } from './gone.ts';
import { JSON_TYPE } from './media.ts';
import { GatesFailed } from './problem.ts';
import type { ApiServer, Context } from './route.ts';
import { answer, problems, versionRef, viewRef } from './schemas/common.ts';
import {
  type AliasesAnswer,
  aliasesAnswer,
  gatesAnswer,
  type HistoryAnswer,
  historyAnswer,
  promoteBody,
  type PromotionAnswer,
  promotionAnswer,
  whyBody,
  whyQuery,
} from './schemas/rollout.ts';

const tags = ['model versions'];
const config = { produces: [JSON_TYPE] };
const ofVersion = z.strictObject({ view: viewRef, version: versionRef });
const ofView = z.strictObject({ view: viewRef });
const writeProblems = [
  'BAD_REQUEST',
  'VIEW_NOT_FOUND',
  'VERSION_NOT_FOUND',
  'READ_ONLY_REPLICA',
  'UNSUPPORTED_MEDIA_TYPE',
  'LIMIT_EXCEEDED',
  'STORE_UNAVAILABLE',
] as const;

/** A promotion of which nothing is said. */
const AS_USUAL = promoteBody.parse({});

/** Which version of a view answers: gates, promotion, rollback, retirement, and what has been. */
export async function rolloutRoutes(server: ApiServer, context: Context): Promise<void> {
  const { store, checkGates } = context;

  server.get(
    '/v1/feature-views/:view/versions/:version/gates',
    {
      config,
      schema: {
        tags,
        summary: 'Look at the gates of a model version',
        description: 'What a promotion would look at now, without promoting.',
        params: ofVersion,
        response: {
          200: answer('Every gate, passed or not.', gatesAnswer),
          ...problems('VIEW_NOT_FOUND', 'VERSION_NOT_FOUND'),
        },
      },
    },
    async ({ params }, reply) => {
      const { view, version } = asked(params);
      const gates = await checkGates(view, version, goneSignal(reply));
      return { feature_view: view, version, ok: gates.every(({ ok }) => ok), gates };
    },
  );

  server.post(
    '/v1/feature-views/:view/versions/:version/promote',
    {
      config: { ...config, writes: true },
      schema: {
        tags,
        summary: 'Promote a model version',
        description:
          'Has the version answer where none is named, if it passes all gates. Where another version has become the current one while gates were looked at, nothing is promoted. No request sees two versions: what is under way ends with the one that it began with, and what is asked after this is answered, by all processes, with the new one. The version that was current becomes `previous`, goes on receiving updates, and is kept for a rollback. Repeating it changes nothing.',
        params: ofVersion,
        body: promoteBody.nullable(),
        response: {
          200: answer('It is the current version.', promotionAnswer),
          ...problems(...writeProblems, 'BAD_DURATION', 'GATES_FAILED', 'VIEW_CONFLICT'),
        },
      },
    },
    async ({ params, body }, reply): Promise<PromotionAnswer> => {
      const { view, version } = asked(params);
      const { force, keep, reason } = body ?? AS_USUAL;
      const of = store.catalogue.mustGetView(view);
      const isCurrent = of.aliases.current === version;
      const gates = isCurrent ? [] : await checkGates(view, version, goneSignal(reply));
      const forced = gates.some(({ ok }) => !ok);
      if (forced && !force) throw new GatesFailed(`${view}@${version}`, gates);
      await store.promote(view, version, {
        of,
        kept_until: keep === null ? undefined : micros(store.clock() + keep),
        gates,
        ...(forced && { forced }),
        ...whyOf({ reason }),
      });
      const { aliases, versions } = store.catalogue.mustGetView(view);
      const until = versions[aliases.previous ?? version]?.kept_until;
      return {
        ...shown(view),
        kept_until: until === undefined ? null : formatInstant(until),
        forced,
        gates,
      };
    },
  );

  server.post(
    '/v1/feature-views/:view/rollback',
    {
      // Of all that is asked of a server under pressure this may be what relieves it.
      config: { ...config, writes: true, vital: true },
      schema: {
        tags,
        summary: 'Roll back to the previous version',
        description:
          'Has the version answer again that did before the last promotion. It has received all updates meanwhile. The one that was current becomes `candidate`. Nothing is looked at beforehand.',
        params: ofView,
        body: whyBody.nullable(),
        response: {
          200: answer('The previous version answers.', aliasesAnswer),
          ...problems(...writeProblems, 'NO_PREVIOUS'),
        },
      },
    },
    async ({ params: { view }, body }): Promise<AliasesAnswer> => {
      await store.rollBack(view, whyOf(body ?? {}));
      return shown(view);
    },
  );

  server.delete(
    '/v1/feature-views/:view/versions/:version',
    {
      config: { ...config, writes: true },
      schema: {
        tags,
        summary: 'Retire a model version',
        description:
          'Drops the version with all that it holds, for good, and unlinks its files. The current version cannot be retired.',
        params: ofVersion,
        querystring: whyQuery,
        response: {
          200: answer('The version is gone.', aliasesAnswer),
          ...problems(...writeProblems, 'VERSION_IN_USE'),
        },
      },
    },
    async ({ params, query }): Promise<AliasesAnswer> => {
      const { view, version } = asked(params);
      await store.retire(view, version, whyOf(query));
      return shown(view);
    },
  );

  server.get(
    '/v1/feature-views/:view/history',
    {
      config,
      schema: {
        tags,
        summary: 'Show what became of a feature view',
        description:
          'Which versions answered from when on, why they were promoted, with every gate’s value and bound, and what was forced, rolled back and retired.',
        params: ofView,
        response: { 200: answer('In order.', historyAnswer), ...problems('VIEW_NOT_FOUND') },
      },
    },
    async ({ params }): Promise<HistoryAnswer> => {
      const { name } = store.catalogue.mustGetView(params.view);
      const events = store.catalogue.history(name).map((event) => {
        const audit = 'audit' in event ? event.audit : undefined;
        return {
          seq: event.seq,
          created_timestamp: formatInstant(event.created),
          type: event.type as HistoryAnswer['events'][number]['type'],
          aliases: event.view.aliases,
          version: audit?.version ?? null,
          forced: audit?.forced ?? false,
          reason: audit?.reason ?? null,
          gates: [...(audit?.gates ?? [])],
        };
      });
      return { feature_view: name, events };
    },
  );

  /** The names as the catalogue has them. Throws VIEW_NOT_FOUND, VERSION_NOT_FOUND. */
  function asked(params: z.output<typeof ofVersion>): { view: string; version: string } {
    const view = store.catalogue.mustGetView(params.view);
    const { version } = store.catalogue.mustFindVersion(view, params.version);
    return { view: view.name, version };
  }

  function shown(view: string): AliasesAnswer {
    const { aliases } = store.catalogue.mustGetView(view);
    return { feature_view: view, aliases, snapshot: store.snapshot };
  }
}

function whyOf({ reason }: { reason?: string | undefined }): Why {
  return reason === undefined ? {} : { reason };
}
