import { Readable } from 'node:stream';

import { TidemarkError } from '../ground/errors.ts';
import { PayloadMemory } from '../store/batch.ts';
import { parseObject, readLines } from '../timetravel/formats/ndjson.ts';
import { goneSignal } from './gone.ts';
import {
  JSON_TYPE,
  isMsgpack,
  MSGPACK_TYPES,
  NDJSON_TYPE,
  requireBody,
  takeMsgpack,
  takeNdjson,
} from './media.ts';
import { PushRejected } from './problem.ts';
import { push } from './push.ts';
import type { ApiServer, Context } from './route.ts';
import { answer, problems } from './schemas/common.ts';
import {
  pushAnswer,
  type PushAnswer,
  pushBody,
  type PushBody,
  pushLines,
  pushQuery,
} from './schemas/push.ts';

const DESCRIPTION =
  'Stores revisions, in the order of the request; answers when they are durable and in every answer from here on. ' +
  'Valid records are stored, bad ones come back in `rejected` with their index, unless the push is `atomic`. ' +
  'Sending the same again stores nothing: it comes back as `duplicate` (A4).\n\n' +
  'Bodies: JSON; MessagePack of the same object, in which a vector may be binary; NDJSON, one record a line, with the rest in the query. ' +
  'What stands in the body goes before what stands in the query.';

export async function pushRoutes(server: ApiServer, context: Context): Promise<void> {
  takeMsgpack(server);
  takeNdjson(server);
  const memory = new PayloadMemory();
  const body = { schema: pushBody };
  server.post(
    '/v1/push',
    {
      config: {
        consumes: [JSON_TYPE, ...MSGPACK_TYPES, NDJSON_TYPE],
        produces: [JSON_TYPE],
        writes: true,
      },
      preValidation: requireBody,
      schema: {
        tags: ['data'],
        summary: 'Push embeddings, texts or deletes',
        description: DESCRIPTION,
        querystring: pushQuery,
        body: {
          content: {
            [JSON_TYPE]: body,
            [MSGPACK_TYPES[0]]: body,
            [MSGPACK_TYPES[1]]: body,
            [NDJSON_TYPE]: { schema: pushLines },
          },
        },
        response: {
          200: answer('What became of the records; what is not rejected is durable.', pushAnswer),
          ...problems(
            'BAD_REQUEST',
            'BAD_RECORD',
            'VERSION_REQUIRED',
            'VIEW_NOT_FOUND',
            'VERSION_NOT_FOUND',
            'MODEL_CHANGED',
            'MODEL_DRIFTED',
            'MODEL_UNAVAILABLE',
            'LIMIT_EXCEEDED',
            'UNSUPPORTED_MEDIA_TYPE',
            'OVERLOADED',
            'READ_ONLY_REPLICA',
            'STORE_UNAVAILABLE',
          ),
        },
      },
    },
    async (request, reply) => {
      const type = request.mediaType ?? '';
      const lines =
        type === NDJSON_TYPE ? await readRecordLines(request.body as Buffer) : undefined;
      const sent: PushBody = lines ? { records: lines.records } : (request.body as PushBody);
      const { feature_view, ...asked } = { ...request.query, ...sent };
      if (feature_view === undefined) {
        throw new TidemarkError(
          'BAD_REQUEST',
          'feature_view is missing: say it in the body or the query',
        );
      }
      const pushed = push(context, {
        feature_view,
        ...asked,
        isPacked: isMsgpack(type),
        signal: goneSignal(reply),
        memory,
      });
      return lines === undefined ? pushed : withLines(pushed, lines.numbers);
    },
  );
}

/** Blank lines are passed over, so the index of a record does not tell its line. */
async function withLines(
  pushed: Promise<PushAnswer>,
  numbers: readonly number[],
): Promise<PushAnswer> {
  const onLine = <T extends { index: number }>(each: T) => ({
    ...each,
    line: numbers[each.index]!,
  });
  try {
    const { rejected, ...rest } = await pushed;
    return { ...rest, rejected: rejected.map(onLine) };
  } catch (error) {
    if (!(error instanceof PushRejected)) throw error;
    throw new PushRejected(error.rejected.map(onLine), error.records);
  }
}

/** One a line: the record, or why it is none, so that it is rejected like any other. */
async function readRecordLines(body: Buffer): Promise<{ records: unknown[]; numbers: number[] }> {
  const records: unknown[] = [];
  const numbers: number[] = [];
  for await (const line of readLines(Readable.from([body]), body.byteLength)) {
    numbers.push(line.number);
    try {
      records.push(parseObject(line.bytes, `line ${line.number}`));
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error;
      records.push(new TidemarkError('BAD_RECORD', error.message));
    }
  }
  return { records, numbers };
}
