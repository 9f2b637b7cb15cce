import { TidemarkError } from '../ground/errors.ts';
import { formatInstant } from '../ground/time.ts';
import { diffNdjson, type DiffPlan } from '../timetravel/diff.ts';
import { goneSignal } from './gone.ts';
import { sendLines } from './lines.ts';
import { NDJSON_TYPE } from './media.ts';
import { maxAgeOf, resolveQuestion } from './question.ts';
import type { ApiServer, Context } from './route.ts';
import { problems, READ_CODES } from './schemas/common.ts';
import { diffBody, type DiffBody, diffLines } from './schemas/diff.ts';

const DESCRIPTION =
  'Compares the vectors of all entities of a view as of two moments, and streams those that were added, removed or changed, with how far they moved. ' +
  'A confirmation, or the same vector anew, is no change. All of it is answered at one snapshot; a moment before the horizon of retention is refused (A10).';

export async function diffRoutes(server: ApiServer, context: Context): Promise<void> {
  server.post(
    '/v1/diff',
    {
      config: { produces: [NDJSON_TYPE] },
      schema: {
        tags: ['time travel'],
        summary: 'Compare a view between two moments',
        description: DESCRIPTION,
        body: diffBody,
        response: {
          200: {
            description: 'The entities that differ, then the summary.',
            content: { [NDJSON_TYPE]: { schema: diffLines } },
          },
          ...problems(...READ_CODES, 'BEFORE_RETENTION'),
        },
      },
    },
    async (request, reply) => {
      const lines = whileAwaited(diffNdjson(planDiff(context, request.body)), goneSignal(reply));
      return sendLines(request, reply, lines, context.limits);
    },
  );
}

async function* whileAwaited(
  lines: AsyncGenerator<Buffer>,
  gone: AbortSignal,
): AsyncGenerator<Buffer> {
  for await (const line of lines) {
    gone.throwIfAborted();
    yield line;
  }
}

function planDiff({ store }: Context, asked: DiffBody): DiffPlan {
  const { from, to, min_distance: minDistance } = asked;
  if (from > to) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `from, ${formatInstant(from)}, is after to, ${formatInstant(to)}: swap them`,
    );
  }
  const view = store.catalogue.mustGetView(asked.feature_view);
  const version = store.catalogue.mustFindVersion(view, asked.version);
  const question = { ...resolveQuestion(asked, store, [version]), maxAge: maxAgeOf(asked, view) };
  return { store, view, version, from, to, question, minDistance };
}
