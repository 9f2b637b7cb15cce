import type { FastifyReply, FastifyRequest } from 'fastify';

import { TidemarkError } from '../ground/errors.ts';
import type { AnswerFormat } from '../timetravel/formats/answer.ts';
import type { JoinPlan } from '../timetravel/join/plan.ts';
import { streamJoin, streamLimits } from '../timetravel/join/stream.ts';
import { SPINE_TYPES } from '../timetravel/spine/naming.ts';
import { openSpineFile, readSpineStream } from '../timetravel/spine/source.ts';
import { goneSignal } from './gone.ts';
import { parseColumnTypes, planJoin } from './join-plan.ts';
import { sendPieces } from './lines.ts';
import { requireBody, streamBodies } from './media.ts';
import type { ApiServer, Context } from './route.ts';
import { problems } from './schemas/common.ts';
import { historicalQuery, joinedBodies, spineBodies } from './schemas/historical.ts';
import { formatOfBody, readBody, SPINE_BODIES } from './spines.ts';

const DESCRIPTION =
  'Joins a spine to the vectors in force at each of its rows’ moments, without leakage: exactly one row a row, in spine order, misses as nulls with a status (A11). ' +
  'Both bodies are streamed, whatever their length, but for a spine in Parquet, which is read when it is whole. All rows are answered at one snapshot. `POST /v1/exports` does the same into files.';

/** The content types that are answered, the best liked first. */
const ANSWERS: Record<string, AnswerFormat> = {
  [SPINE_TYPES.ndjson]: 'ndjson',
  [SPINE_TYPES.arrow]: 'arrow',
  [SPINE_TYPES.parquet]: 'parquet',
};

export async function historicalRoutes(server: ApiServer, context: Context): Promise<void> {
  server.removeAllContentTypeParsers();
  streamBodies(server, SPINE_BODIES);
  let streams = 0;

  /** The pieces, of a stream that counts until they end. */
  async function* counted(pieces: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
    streams++;
    try {
      yield* pieces;
    } finally {
      streams--;
    }
  }

  server.post(
    '/v1/get-historical-features',
    {
      config: { consumes: SPINE_BODIES, produces: Object.keys(ANSWERS) },
      preValidation: requireBody,
      schema: {
        tags: ['training'],
        summary: 'Join a spine to vectors as of its moments',
        description: DESCRIPTION,
        querystring: historicalQuery,
        body: { content: spineBodies },
        response: {
          200: {
            description: 'The spine with its vectors, then the summary.',
            content: joinedBodies,
          },
          ...problems(
            'BAD_REQUEST',
            'BAD_TIMESTAMP',
            'BAD_DURATION',
            'NAME_COLLISION',
            'VIEW_NOT_FOUND',
            'VERSION_NOT_FOUND',
            'SNAPSHOT_UNAVAILABLE',
            'BEFORE_RETENTION',
            'LIMIT_EXCEEDED',
            'UNSUPPORTED_MEDIA_TYPE',
            'OVERLOADED',
            'STORE_CORRUPT',
            'STORE_UNAVAILABLE',
          ),
        },
      },
    },
    async (request, reply) => {
      const { vectors, column_types, ...asked } = request.query;
      if (vectors === 'ref') {
        throw new TidemarkError(
          'BAD_REQUEST',
          'a stream has its vectors inline: ask POST /v1/exports for vectors=ref, which writes files',
        );
      }
      const { store, limits } = context;
      const format = ANSWERS[request.answerType]!;
      const plan = planJoin(asked, { format, vectors, order: 'spine' }, store, limits);
      const columnTypes = parseColumnTypes(column_types, formatOfBody(request)!);
      if (streams >= limits.spine_streams) {
        throw new TidemarkError(
          'OVERLOADED',
          `${streams} training joins are streamed, the limit spine_streams is ${limits.spine_streams}; ` +
            'try again, or ask POST /v1/exports, which waits for its turn',
        );
      }
      const pieces = counted(joined(request, reply, context, plan, columnTypes));
      return sendPieces(request, reply, pieces, request.answerType, limits);
    },
  );
}

/** The bytes of the answer, as they come to be. */
function joined(
  request: FastifyRequest,
  reply: FastifyReply,
  { store, joinPool: pool, exports, limits }: Context,
  plan: JoinPlan,
  columnTypes: ReturnType<typeof parseColumnTypes>,
): AsyncGenerator<Uint8Array> {
  const format = formatOfBody(request)!;
  const signal = goneSignal(reply);
  const cut = { ...streamLimits(plan), lineBytesMax: limits.spine_line_bytes, columnTypes };
  const join = { store, pool, plan, signal };
  if (format !== 'parquet') {
    return streamJoin({ ...join, source: readSpineStream(readBody(request), format, cut) });
  }
  return exports.spooled(readBody(request), async function* joinFile(path) {
    yield* streamJoin({ ...join, source: await openSpineFile(path, format, cut) });
  });
}
