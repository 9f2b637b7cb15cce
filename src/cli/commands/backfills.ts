import { Command } from 'commander';

import type { BackfillAnswer } from '../../api/schemas/backfills.ts';
import { type Cli, clientOf, countOption, wantsJson, withJson, withUrl } from '../cli.ts';
import type { Cell } from '../output.ts';

const LIMIT = 20;

/** `tidemark backfills`: those that there are, and the end of one. */
export function backfillsCommand(cli: Cli): Command {
  const command = new Command('backfills')
    .description('List backfills, the newest first; cancel one.')
    .option('--limit <count>', 'backfills to show at most', countOption(1), LIMIT)
    .action(async ({ limit }: { limit: number }, self: Command) => {
      const { backfills, next } = await clientOf(cli, self).backfills(limit);
      if (wantsJson(self)) {
        cli.output.printJson({ backfills, next });
        return;
      }
      cli.output.printTable(
        ['BACKFILL', 'VERSION', 'FROM', 'STATE', 'READ', 'OF', 'STORED', 'REJECTED', 'LEFT', 'WHY'],
        backfills.map(rowOf),
      );
      if (next !== null) cli.output.say('There are more: raise --limit.');
    });
  command.addCommand(cancelCommand(cli));
  return withJson(withUrl(command));
}

function rowOf(told: BackfillAnswer): Cell[] {
  const { id, feature_view, version, from, state, events, seconds_left, problem } = told;
  return [
    id,
    `${feature_view}@${version}`,
    `${from.kind} ${from.version ?? from.path ?? from.name ?? ''}`,
    state,
    events.read,
    events.total ?? '',
    events.stored,
    events.rejected,
    seconds_left === null ? '' : `${Math.round(seconds_left)} s`,
    problem?.code ?? told.waits_for ?? '',
  ];
}

function cancelCommand(cli: Cli): Command {
  return new Command('cancel')
    .description('Cancel a backfill that has not ended, and keep what it stored; forget another.')
    .argument('<id>', 'the backfill')
    .action(async (id: string, _options: object, self: Command) => {
      const client = clientOf(cli, self);
      const before = await client.backfill(id);
      const told = await client.removeBackfill(id);
      if (wantsJson(self)) return cli.output.printJson(told);
      const isCancelled = told.state === 'cancelled' && before.state !== 'cancelled';
      const what = isCancelled ? `cancelled at ${told.events.read} events` : 'forgotten';
      cli.output.print(`${id}: ${what}.`);
    });
}
