import { Command } from 'commander';

import type { ExplainAnswer } from '../../api/schemas/explain.ts';
import { answered, type Cli, clientOf, countOption, wantsJson, withJson, withUrl } from '../cli.ts';
import type { Cell, Output } from '../output.ts';
import { questionOf, type QuestionOptions, withAsOf, withQuestion } from '../question.ts';

interface ExplainOptions extends QuestionOptions {
  limit?: number;
}

/** `tidemark explain`: why an entity has the answer that it has. */
export function explainCommand(cli: Cli): Command {
  const command = new Command('explain')
    .description('Show which rule of time kept or dropped each revision of an entity.')
    .argument('<view>', 'the feature view')
    .argument('<id>', 'the id of the entity');
  withQuestion(withAsOf(command)).option(
    '--limit <count>',
    'revisions to show at most, default 100',
    countOption(1),
  );
  return withJson(withUrl(command)).action(
    async (view: string, id: string, options: ExplainOptions, self: Command) => {
      const answer = await clientOf(cli, self).explain({
        feature_view: view,
        entity_id: id,
        ...(options.version !== undefined && { version: options.version }),
        ...(options.limit !== undefined && { limit: options.limit }),
        ...questionOf(options),
      });
      if (wantsJson(self)) cli.output.printJson(answer);
      else printExplanation(cli.output, answer);
      cli.exitCode = answered(answer.status === 'PRESENT');
    },
  );
}

function printExplanation(output: Output, answer: ExplainAnswer): void {
  const { feature_view, version, entity_id, snapshot, cut } = answer;
  output.print(`${entity_id} in ${feature_view}@${version}, snapshot ${snapshot}`);
  const rule = answer.rule === null ? '' : `${answer.rule}: `;
  output.print(`${answer.reason ?? answer.status}, ${rule}${answer.why}`);
  if (answer.revisions.length === 0) return;
  output.print();
  if (cut.newer) output.say('There are newer ones: raise --limit.');
  const rows = answer.revisions.map((revision): Cell[] => [
    revision.verdict === 'kept' ? '*' : '',
    revision.event_timestamp,
    revision.known_timestamp,
    revision.created_timestamp,
    revision.seq,
    revision.vector_id ?? 'deleted',
    revision.rule,
    revision.why,
  ]);
  output.printTable(['', 'EVENT TIME', 'KNOWN', 'CREATED', 'SEQ', 'VECTOR', 'RULE', 'WHY'], rows);
  if (cut.older) output.say('There are older ones: raise --limit.');
}
