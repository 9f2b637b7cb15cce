import { TidemarkError } from '../ground/errors.ts';
import { isGone } from '../store/maintain.ts';
import { JSON_TYPE } from './media.ts';
import type { ApiServer, Context } from './route.ts';
import { answer, problems } from './schemas/common.ts';
import { compactAnswer, type CompactAnswer, compactBody } from './schemas/compact.ts';

export async function compactRoutes(
  server: ApiServer,
  { store, compacted }: Context,
): Promise<void> {
  server.post(
    '/v1/compact',
    {
      config: { produces: [JSON_TYPE] },
      schema: {
        tags: ['operations'],
        summary: 'Compact model versions',
        description:
          'Writes what is in force into new files, one model version after another, and goes on with these; reads and writes go on meanwhile, and no answer changes. Answers when it is done, which takes as long as reading and writing the data. It happens by itself, too: see the settings `maintenance`.',
        body: compactBody,
        response: {
          200: answer('What became of each version.', compactAnswer),
          ...problems(
            'BAD_REQUEST',
            'VIEW_NOT_FOUND',
            'VERSION_NOT_FOUND',
            'LIMIT_EXCEEDED',
            'UNSUPPORTED_MEDIA_TYPE',
            'STORE_CORRUPT',
            'STORE_UNAVAILABLE',
          ),
        },
      },
    },
    async ({ body: { feature_view, version } }): Promise<CompactAnswer> => {
      if (feature_view === undefined && version !== undefined) {
        throw new TidemarkError('BAD_REQUEST', 'a version was named without its feature_view');
      }
      const compactions: CompactAnswer['compactions'] = [];
      for (const each of store.catalogue.select(feature_view, version)) {
        try {
          compactions.push(await store.compact(each.view, each.version));
          compacted('done');
        } catch (error) {
          if (!isGone(error)) compacted('failed');
          // All that there are: one that was dropped meanwhile is not among them.
          if (feature_view !== undefined || !isGone(error)) throw error;
        }
      }
      return { compactions };
    },
  );
}
