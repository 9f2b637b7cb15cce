import { Command } from 'commander';

import type { GatesAnswer } from '../../api/schemas/rollout.ts';
import { type Cli, clientOf, wantsJson, withJson, withUrl } from '../cli.ts';
import { EXIT } from '../exit.ts';
import { ServerRefused, UsageError } from '../failure.ts';
import type { Cell } from '../output.ts';

interface Why {
  reason?: string;
}

/** `tidemark promote`: has a model version answer where none is named. */
export function promoteCommand(cli: Cli): Command {
  const command = new Command('promote')
    .description('Have a model version answer where none is named, if it passes all gates.')
    .argument('<view@version>', 'the version, such as job@v2')
    .option('--check', 'look at the gates, and promote nothing')
    .option('--force', 'promote it although a gate is not passed; the history says so')
    .option('--keep <duration>', 'keep the version of before so long for a rollback, or "forever"')
    .option('--reason <text>', 'why, for the history');
  return withJson(withUrl(command)).action(
    async (name: string, options: PromoteOptions, self: Command) => {
      const { view, version } = versionOf(name);
      const client = clientOf(cli, self);
      if (options.check === true) {
        const gates = await client.gates(view, version);
        if (!gates.ok) cli.exitCode = EXIT.negative;
        if (wantsJson(self)) cli.output.printJson(gates);
        else showGates(cli, gates.gates);
        return;
      }
      const { force, keep } = options;
      const asked = client.promoteVersion(view, version, {
        ...(force === true && { force }),
        ...(keep !== undefined && { keep: keep === 'forever' ? null : keep }),
        ...whyOf(options),
      });
      const promoted = await asked.catch((error: unknown) => {
        if (error instanceof ServerRefused && error.gates !== undefined && !wantsJson(self)) {
          showGates(cli, error.gates);
        }
        throw error;
      });
      if (wantsJson(self)) return cli.output.printJson(promoted);
      const { aliases, kept_until, gates, snapshot } = promoted;
      if (gates.length > 0) showGates(cli, gates);
      cli.output.print(`${view}@${aliases.current} answers from snapshot ${snapshot} on.`);
      if (aliases.previous !== undefined) {
        const until = kept_until === null ? 'until it is retired' : `until ${kept_until}`;
        cli.output.say(
          `${view}@${aliases.previous} is kept ${until}; go back with: tidemark rollback ${view}`,
        );
      }
    },
  );
}

interface PromoteOptions extends Why {
  check?: boolean;
  force?: boolean;
  keep?: string;
}

/** `tidemark rollback`: has the version of before answer again. */
export function rollbackCommand(cli: Cli): Command {
  const command = new Command('rollback')
    .description('Have the version answer again that did before the last promotion.')
    .argument('<view>', 'the feature view')
    .option('--reason <text>', 'why, for the history');
  return withJson(withUrl(command)).action(async (view: string, options: Why, self: Command) => {
    const answer = await clientOf(cli, self).rollBack(view, whyOf(options));
    if (wantsJson(self)) return cli.output.printJson(answer);
    cli.output.print(
      `${view}@${answer.aliases.current} answers again, from snapshot ${answer.snapshot} on.`,
    );
  });
}

/** `tidemark retire`: drops a model version with all that it holds. */
export function retireCommand(cli: Cli): Command {
  const command = new Command('retire')
    .description('Drop a model version with all that it holds, for good.')
    .argument('<view@version>', 'the version, which is not the current one')
    .option('--reason <text>', 'why, for the history');
  return withJson(withUrl(command)).action(async (name: string, options: Why, self: Command) => {
    const { view, version } = versionOf(name);
    const answer = await clientOf(cli, self).retire(view, version, whyOf(options));
    if (wantsJson(self)) return cli.output.printJson(answer);
    cli.output.print(`${view}@${version} is gone.`);
  });
}

/** `tidemark history`: which versions answered from when on, and why. */
export function historyCommand(cli: Cli): Command {
  const command = new Command('history')
    .description('Show what became of a feature view: promotions, rollbacks, and who was forced.')
    .argument('<view>', 'the feature view');
  return withJson(withUrl(command)).action(async (view: string, _options, self: Command) => {
    const { events } = await clientOf(cli, self).history(view);
    if (wantsJson(self)) return cli.output.printJson({ feature_view: view, events });
    const rows = events.map(
      ({ created_timestamp, type, version, aliases, forced, reason, gates }) => [
        created_timestamp,
        type,
        version ?? '',
        aliases.current,
        aliases.candidate ?? '',
        aliases.previous ?? '',
        forced ? `forced: ${gates.flatMap(({ ok, gate }) => (ok ? [] : [gate])).join(', ')}` : '',
        reason ?? '',
      ],
    );
    cli.output.printTable(
      ['AT', 'WHAT', 'VERSION', 'CURRENT', 'CANDIDATE', 'PREVIOUS', 'FORCED', 'REASON'],
      rows,
    );
  });
}

const GATE_HEADS = ['GATE', 'PASSED', 'VALUE', 'BOUND', ''];

function showGates(cli: Cli, gates: GatesAnswer['gates']): void {
  const rows = gates.map(({ gate, ok, value, bound, message }): Cell[] => {
    return [gate, ok ? 'yes' : 'NO', shown(value), bound ?? '', message];
  });
  cli.output.printTable(GATE_HEADS, rows);
}

/** To three digits, but for whole numbers. */
function shown(value: number | null): Cell {
  if (value === null) return '';
  return Number.isInteger(value) ? value : Number(value.toPrecision(3));
}

/** Throws UsageError. */
function versionOf(name: string): { view: string; version: string } {
  const [view, version, ...more] = name.split('@');
  if (view && version && more.length === 0) return { view, version };
  throw new UsageError(`got ${JSON.stringify(name)}, expected view@version, such as job@v2`);
}

/** Of options that have others with them, as where the server is. */
function whyOf({ reason }: Why): Why {
  return reason === undefined ? {} : { reason };
}
