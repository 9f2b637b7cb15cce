import { z } from 'zod';

import { formatInstant } from '../ground/time.ts';
import { JSON_TYPE } from './media.ts';
import type { ApiServer, ReadContext } from './route.ts';
import { answer, problems, viewRef } from './schemas/common.ts';
import { shadowAnswer, type ShadowAnswer } from './schemas/shadow.ts';

/** What lookups have said of a view's candidate. */
export async function shadowRoutes(
  server: ApiServer,
  { store, shadow }: ReadContext,
): Promise<void> {
  server.get(
    '/v1/feature-views/:view/shadow',
    {
      config: { produces: [JSON_TYPE] },
      schema: {
        tags: ['model versions'],
        summary: 'Compare the candidate with the current version, as lookups ask',
        description:
          'A sample of the lookups of the latest that name no version is asked of the view’s candidate too, after they are answered: how many entities it covers, and how far its answers are from those that were given. Of a server with workers, what this shows is of the one that answers, which it names; `/metrics` has the numbers of all.',
        params: z.strictObject({ view: viewRef }),
        response: {
          200: answer('What was found so far.', shadowAnswer),
          ...problems('VIEW_NOT_FOUND', 'STORE_UNAVAILABLE'),
        },
      },
    },
    async ({ params }): Promise<ShadowAnswer> => {
      const view = store.catalogue.mustGetView(params.view);
      const { current, candidate = null } = view.aliases;
      const tally = shadow?.tallyOf(view);
      const overlap = tally?.overlap;
      return {
        feature_view: view.name,
        current,
        candidate,
        sample: shadow?.sample ?? 0,
        process: shadow?.process ?? null,
        since: tally === undefined ? null : formatInstant(tally.since),
        lookups: tally?.lookups ?? 0,
        dropped: tally?.dropped ?? 0,
        ids: tally?.ids ?? 0,
        present: tally?.present ?? 0,
        covered: tally?.covered ?? 0,
        coverage: tally?.coverage ?? null,
        cosine: tally?.cosine ?? null,
        neighbour_overlap: overlap
          ? { lookups: overlap.lookups, mean: overlap.mean, by_chance: overlap.byChance }
          : null,
      };
    },
  );
}
