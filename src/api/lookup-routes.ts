import { AnswerMemory } from './answer-memory.ts';
import { AnswerPlans } from './answer-plans.ts';
import { msgpackAnswer, safetensorsAnswer } from './lookup-binary.ts';
import { jsonAnswer } from './lookup-json.ts';
import { type AskedLookups, resolveLookups } from './lookup.ts';
import {
  BINARY_TYPES,
  contentOf,
  isMsgpack,
  requireBody,
  SAFETENSORS_TYPE,
  takeMsgpack,
} from './media.ts';
import { prefetched } from './prefetched.ts';
import type { ApiServer, ReadContext } from './route.ts';
import { problems, READ_CODES } from './schemas/common.ts';
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
  const compiler = takeJsonWithIds(server, lookupBody, (asked, listOf) => ({
    ...asked,
    lookups: asked.lookups.map((each) => ({ ...each, entity_ids: listOf(each.entity_ids) })),
  }));
  server.post(
    '/v1/lookup',
    {
      config: BINARY_TYPES,
      preValidation: requireBody,
      validatorCompiler: compiler,
      preHandler: prefetched(context, ({ body: asked }) => asked as AskedLookups),
      schema: {
        tags: ['time travel'],
        summary: 'Look vectors up, now or as of a moment',
        description: DESCRIPTION,
        body: { content: contentOf(lookupBody, lookupBody) },
        response: {
          200: {
            description: 'One result a lookup, in order.',
            content: {
              ...contentOf(lookupAnswer, packedLookupAnswer),
              [SAFETENSORS_TYPE]: { schema: safetensorsSchema },
            },
          },
          ...problems(...READ_CODES, 'NAME_COLLISION'),
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
