import { TidemarkError } from '../ground/errors.ts';
import { parseEntityId } from '../store/entity-id.ts';
import { explain } from '../timetravel/explain.ts';
import { ANY_AGE } from '../timetravel/question.ts';
import { REASONS, STATUSES } from '../timetravel/status.ts';
import { JSON_TYPE } from './media.ts';
import { echoQuestion, maxAgeOf, maxAgeText, resolveQuestion } from './question.ts';
import type { ApiServer, ReadContext } from './route.ts';
import { answer, problems } from './schemas/common.ts';
import {
  explainAnswer,
  type ExplainAnswer,
  explainBody,
  type ExplainBody,
} from './schemas/explain.ts';
import { showRevision } from './timeline.ts';

const LIMIT = 100;
const DESCRIPTION =
  'Why a lookup of one entity has the answer that it has: the answer’s status and reason, the rule that decided it, and for each revision whether it was kept or dropped, by which rule and what was compared.\n\n' +
  'Dropped are revisions above the snapshot (A9), after `as_of` (A1), known or stored too late (A5), and those that count but come before the winner in order (A2). ' +
  'The winner answers PRESENT, or is too old (A6), or a tombstone (A7). An erased entity shows no revisions (A8), and a question that reaches before the horizon of retention has no winner (A10).';

export async function explainRoutes(server: ApiServer, context: ReadContext): Promise<void> {
  server.post(
    '/v1/explain',
    {
      config: { produces: [JSON_TYPE] },
      schema: {
        tags: ['time travel'],
        summary: 'Explain an answer, revision by revision',
        description: DESCRIPTION,
        body: explainBody,
        response: {
          200: answer('The answer, and what each revision had to do with it.', explainAnswer),
          ...problems(
            'BAD_REQUEST',
            'BAD_ENTITY_ID',
            'BAD_TIMESTAMP',
            'BAD_DURATION',
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
    (request) => showExplanation(context, request.body),
  );
}

function showExplanation({ store, limits }: ReadContext, asked: ExplainBody): ExplainAnswer {
  const { limit = LIMIT } = asked;
  if (limit > limits.timeline_page) {
    throw new TidemarkError(
      'LIMIT_EXCEEDED',
      `got the limit ${limit}, the greatest is timeline_page, ${limits.timeline_page}`,
    );
  }
  const entityId = parseEntityId(asked.entity_id);
  const view = store.catalogue.mustGetView(asked.feature_view);
  const modelVersion = store.catalogue.mustFindVersion(view, asked.version);
  const { version } = modelVersion;
  const maxAge = maxAgeOf(asked, view);
  const question = { ...resolveQuestion(asked, store, [modelVersion]), maxAge };
  const opened = store.version(view.name, version);
  const explained = explain(opened, entityId, question, store.snapshot, limit);
  const { resolution, rule, why, revisions, cut } = explained;
  const seq = resolution.seqs[0]!;
  return {
    feature_view: view.name,
    version,
    entity_id: entityId,
    snapshot: question.snapshot,
    question: echoQuestion(question, maxAge !== ANY_AGE),
    max_age: maxAgeText(maxAge),
    status: STATUSES[resolution.statuses[0]!]!,
    reason: REASONS[resolution.reasons[0]!] ?? null,
    rule,
    why,
    winner: Number.isNaN(seq) ? null : seq,
    revisions: revisions.map(({ revision, ...judged }) => ({
      ...showRevision(revision),
      verdict: judged.verdict,
      rule: judged.rule,
      why: judged.why,
    })),
    cut,
  };
}
