import { Readable } from 'node:stream';

import { TidemarkError } from '../ground/errors.ts';
import { parseObject, readLines } from '../timetravel/formats/ndjson.ts';
import {
  JSON_TYPE,
  isMsgpack,
  MSGPACK_TYPES,
  NDJSON_TYPE,
  requireBody,
  takeMsgpack,
  takeNdjson,
} from './media.ts';
import { push } from './push.ts';
import type { ApiServer, Context } from './route.ts';
import { answer, problems } from './schemas/common.ts';
import { pushAnswer, pushBody, type PushBody, pushLines, pushQuery } from './schemas/push.ts';

const DESCRIPTION =
  'Stores revisions, in the order of the request; answers when they are durable and in every answer from here on. ' +
  'Valid records are stored, bad ones come back in `rejected` with their index, unless the push is `atomic`. ' +
  'Sending the same again stores nothing: it comes back as `duplicate` (A4).\n\n' +
  'Bodies: JSON; MessagePack of the same object, in which a vector may be binary; NDJSON, one record a line, with the rest in the query. ' +
  'What stands in the body goes before what stands in the query.';

export async function pushRoutes(server: ApiServer, context: Context): Promise<void> {
  takeMsgpack(server);
  takeNdjson(server);
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
            'NO_MODEL',
            'VIEW_NOT_FOUND',
            'VERSION_NOT_FOUND',
            'MODEL_CHANGED',
            'LIMIT_EXCEEDED',
            'UNSUPPORTED_MEDIA_TYPE',
            'OVERLOADED',
            'READ_ONLY_REPLICA',
            'STORE_UNAVAILABLE',
          ),
        },
      },
    },
    async (request) => {
      const type = request.mediaType ?? '';
      const sent: PushBody =
        type === NDJSON_TYPE
          ? { records: await readRecordLines(request.body as Buffer) }
          : (request.body as PushBody);
      const { feature_view, ...asked } = { ...request.query, ...sent };
      if (feature_view === undefined) {
        throw new TidemarkError(
          'BAD_REQUEST',
          'feature_view is missing: say it in the body or the query',
        );
      }
      return push(context, { feature_view, ...asked, isPacked: isMsgpack(type) });
    },
  );
}

/** One a line: the record, or why it is none, so that it is rejected like any other. */
async function readRecordLines(body: Buffer): Promise<unknown[]> {
  const records: unknown[] = [];
  for await (const line of readLines(Readable.from([body]), body.byteLength)) {
    try {
      records.push(parseObject(line.bytes, `line ${line.number}`));
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error;
      records.push(new TidemarkError('BAD_RECORD', error.message));
    }
  }
  return records;
}
