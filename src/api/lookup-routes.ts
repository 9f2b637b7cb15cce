import { AnswerMemory } from './answer-memory.ts';
import { AnswerPlans } from './answer-plans.ts';
import { msgpackAnswer, safetensorsAnswer } from './lookup-binary.ts';
import { jsonAnswer } from './lookup-json.ts';
import { type AskedLookups, resolveLookups } from './lookup.ts';
import {
  isMsgpack,
  JSON_TYPE,
  MSGPACK_TYPES,
  requireBody,
  SAFETENSORS_TYPE,
  takeMsgpack,
} from './media.ts';
import { prefetched } from './prefetched.ts';
import type { ApiServer, ReadContext } from './route.ts';
import { problems } from './schemas/common.ts';
import {
  lookupAnswer,
  lookupBody,
  packedLookupAnswer,
  safetensorsAnswer as safetensorsSchema,
} from './schemas/lookup.ts';
import { takeJsonWithIds } from './sent-ids.ts';

const DESCRIPTION =
  'For each entity id the vector in force at `as_of`, or the latest: columns with one row an id, in the order of the request. ' +
  'All lookups of a request are answered from one state, its `snapshot`. A row without a vector has a status and a reason; an id that none can have is INVALID and does not fail the others.\n\n' +
  'Answers by `Accept`: JSON; MessagePack; safetensors, the fast one: one matrix a result.';

export async function lookupRoutes(server: ApiServer, context: ReadContext): Promise<void> {
  takeMsgpack(server);
  const memory = new AnswerMemory();
  const plans = new AnswerPlans();
  const body = { schema: lookupBody };
  const compiler = takeJsonWithIds(server, lookupBody, (asked, listOf) => ({
    ...asked,
    lookups: asked.lookups.map((each) => ({ ...each, entity_ids: listOf(each.entity_ids) })),
  }));
  const packed = { schema: packedLookupAnswer };
  server.post(
    '/v1/lookup',
    {
      config: {
        consumes: [JSON_TYPE, ...MSGPACK_TYPES],
        produces: [JSON_TYPE, SAFETENSORS_TYPE, ...MSGPACK_TYPES],
      },
      preValidation: requireBody,
      validatorCompiler: compiler,
      preHandler: prefetched(context, ({ body: asked }) => asked as AskedLookups),
      schema: {
        tags: ['time travel'],
        summary: 'Look vectors up, now or as of a moment',
        description: DESCRIPTION,
        body: {
          content: { [JSON_TYPE]: body, [MSGPACK_TYPES[0]]: body, [MSGPACK_TYPES[1]]: body },
        },
        response: {
          200: {
            description: 'One result a lookup, in order.',
            content: {
              [JSON_TYPE]: { schema: lookupAnswer },
              [SAFETENSORS_TYPE]: { schema: safetensorsSchema },
              [MSGPACK_TYPES[0]]: packed,
              [MSGPACK_TYPES[1]]: packed,
            },
          },
          ...problems(
            'BAD_REQUEST',
            'BAD_TIMESTAMP',
            'BAD_DURATION',
            'NAME_COLLISION',
            'VIEW_NOT_FOUND',
            'VERSION_NOT_FOUND',
            'SNAPSHOT_UNAVAILABLE',
            'LIMIT_EXCEEDED',
            'UNSUPPORTED_MEDIA_TYPE',
            'STORE_CORRUPT',
          ),
        },
      },
    },
    (request, reply) => {
      const { answerType } = request;
      // From here to the finished answer nothing waits: every read is of one state.
      const resolved = resolveLookups(
        context,
        request.body as AskedLookups,
        isMsgpack(request.mediaType ?? ''),
      );
      void reply.type(answerType);
      if (answerType === SAFETENSORS_TYPE) {
        const room = (bytes: number) => memory.take(bytes, reply.raw);
        return reply.send(safetensorsAnswer(resolved, plans, room));
      }
      if (isMsgpack(answerType)) return reply.send(msgpackAnswer(resolved));
      return reply.send(jsonAnswer(resolved, context.limits));
    },
  );
}
