import { allocateSafetensors, planSafetensors } from '../timetravel/formats/safetensors.ts';
import { REASON_WORDS, STATUS_WORDS } from './answer-plans.ts';
import { writeTimes } from './lookup-binary.ts';
import { wordsOf } from './lookup-json.ts';
import {
  BINARY_TYPES,
  contentOf,
  isMsgpack,
  packMessage,
  requireBody,
  SAFETENSORS_TYPE,
  takeMsgpack,
} from './media.ts';
import { prefetched } from './prefetched.ts';
import { columnTime, echoQuestion } from './question.ts';
import type { ApiServer, ReadContext } from './route.ts';
import { problems, READ_CODES } from './schemas/common.ts';
import { safetensorsScores, type ScoreAnswer, scoreAnswer, scoreBody } from './schemas/score.ts';
import { type AskedScores, describeScores, lookupsOf, scoreOthers, type Scores } from './score.ts';
import { takeJsonWithIds } from './sent-ids.ts';

const DESCRIPTION =
  'Compares one vector with those of many entities where they are stored, now or as of a moment: a number an entity instead of its vector. ' +
  'The vector is an entity’s, of any feature view with the same dim, or is sent. Statuses, reasons and the question are those of a lookup.';

export async function scoreRoutes(server: ApiServer, context: ReadContext): Promise<void> {
  takeMsgpack(server);
  const compiler = takeJsonWithIds(server, scoreBody, (asked, listOf) => ({
    ...asked,
    entity_ids: listOf(asked.entity_ids),
  }));
  server.post(
    '/v1/score',
    {
      config: BINARY_TYPES,
      preValidation: requireBody,
      validatorCompiler: compiler,
      preHandler: prefetched(context, ({ body: asked }) => {
        const all = asked as AskedScores;
        return { ...all, lookups: lookupsOf(all) };
      }),
      schema: {
        tags: ['time travel'],
        summary: 'Score entities against a vector',
        description: DESCRIPTION,
        body: { content: contentOf(scoreBody, scoreBody) },
        response: {
          200: {
            description: 'One score an entity, in order.',
            content: {
              ...contentOf(scoreAnswer, scoreAnswer),
              [SAFETENSORS_TYPE]: { schema: safetensorsScores },
            },
          },
          ...problems(...READ_CODES, 'BAD_VECTOR'),
        },
      },
    },
    (request, reply) => {
      const { answerType } = request;
      const isPacked = isMsgpack(request.mediaType ?? '');
      // As with lookups, nothing waits from here to the finished answer.
      const scored = scoreOthers(context, request.body as AskedScores, isPacked);
      void reply.type(answerType);
      if (answerType === SAFETENSORS_TYPE) return reply.send(safetensorsOf(scored));
      const told = jsonOf(scored);
      return reply.send(isMsgpack(answerType) ? packMessage(told) : told);
    },
  );
}

function jsonOf(scored: Scores): ScoreAnswer {
  const { lookups, others, scores } = scored;
  return {
    snapshot: lookups.question.snapshot,
    question: echoQuestion(lookups.question, lookups.isAged),
    ...describeScores(scored),
    ...wordsOf(others),
    event_timestamps: Array.from(others.resolution.events, columnTime),
    scores: Array.from(scores, (score) => (Number.isFinite(score) ? score : null)),
  };
}

function safetensorsOf(scored: Scores): Buffer {
  const { lookups, others, scores } = scored;
  const { question, isAged } = lookups;
  const { statuses, reasons, events } = others.resolution;
  const shape = [scores.length];
  const plan = planSafetensors(
    [
      { name: 'score', dtype: 'F32', shape },
      { name: 'event_timestamp', dtype: 'I64', shape },
      { name: 'status', dtype: 'U8', shape },
      { name: 'reason', dtype: 'U8', shape },
    ],
    {
      snapshot: String(question.snapshot),
      question: JSON.stringify(echoQuestion(question, isAged)),
      result: JSON.stringify(describeScores(scored)),
      statuses: STATUS_WORDS,
      reasons: REASON_WORDS,
    },
  );
  const file = allocateSafetensors(plan);
  const [score, event, status, reason] = plan.starts as [number, number, number, number];
  new Float32Array(file.buffer, score, scores.length).set(scores);
  writeTimes(events, file, event);
  file.set(statuses, status);
  file.set(reasons, reason);
  return file;
}
