import { Command } from 'commander';

import type { LookupAnswer } from '../../api/schemas/lookup.ts';
import { answered, type Cli, clientOf, wantsJson, withJson, withUrl } from '../cli.ts';
import type { Cell, Output } from '../output.ts';
import { questionOf, type QuestionOptions, withAsOf, withQuestion } from '../question.ts';

type LookupResult = LookupAnswer['results'][number];

/** `tidemark get`: the vectors of entities, latest or as of a moment. */
export function getCommand(cli: Cli): Command {
  const command = new Command('get')
    .description('Show the vectors of entities: the latest, or those in force at a moment.')
    .argument('<view>', 'the feature view')
    .argument('<ids...>', 'ids of entities');
  return withJson(withUrl(withQuestion(withAsOf(command)))).action(
    async (view: string, ids: string[], options: QuestionOptions, self: Command) => {
      const answer = await clientOf(cli, self).lookup({
        lookups: [
          {
            feature_view: view,
            entity_ids: ids,
            ...(options.version !== undefined && { version: options.version }),
          },
        ],
        ...questionOf(options),
      });
      const result = answer.results[0]!;
      if (wantsJson(self)) cli.output.printJson(documentOf(answer, result, ids));
      else printTable(cli.output, answer, result, ids);
      cli.exitCode = answered(result.statuses.every((status) => status === 'PRESENT'));
    },
  );
}

/** Row by row, as scripts like it; the wire has columns. */
function documentOf({ snapshot, question }: LookupAnswer, result: LookupResult, ids: string[]) {
  const { feature_view, version, dim, dtype } = result;
  const entities = ids.map((entity_id, row) => ({
    entity_id,
    status: result.statuses[row],
    reason: result.reasons[row],
    event_timestamp: result.event_timestamps[row],
    vector: result.vectors[row],
    ...(result.scales && { scale: result.scales[row] }),
  }));
  return { feature_view, version, dim, dtype, snapshot, question, entities };
}

function printTable(
  output: Output,
  { snapshot }: LookupAnswer,
  result: LookupResult,
  ids: string[],
): void {
  const { feature_view, version, dim, dtype } = result;
  output.print(`${feature_view}@${version}, ${dim} × ${dtype}, snapshot ${snapshot}`);
  output.print();
  const rows = ids.map((id, row): Cell[] => [
    id,
    result.reasons[row] ?? result.statuses[row]!,
    result.event_timestamps[row] ?? '',
    headOf(result.vectors[row] ?? null, result.scales?.[row]),
  ]);
  output.printTable(['ENTITY', 'STATUS', 'EVENT TIME', 'VECTOR'], rows);
}

const NUMBERS_SHOWN = 4;

/** `scale`: of int8, what the numbers are times. */
function headOf(vector: number[] | null, scale?: number | null): string {
  if (vector === null) return '';
  const shown = vector.slice(0, NUMBERS_SHOWN).map(shortOf).join(' ');
  const head = vector.length > NUMBERS_SHOWN ? `${shown} …` : shown;
  return typeof scale === 'number' ? `${head} × ${shortOf(scale)}` : head;
}

function shortOf(number: number): string {
  return String(Number(number.toPrecision(4)));
}
