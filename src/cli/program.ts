import { readFileSync } from 'node:fs';

import { Command, CommanderError } from 'commander';

import { type Cli, withJson, withUrl } from './cli.ts';
import { backfillCommand } from './commands/backfill.ts';
import { backfillsCommand } from './commands/backfills.ts';
import { backupCommand } from './commands/backup.ts';
import { compactCommand } from './commands/compact.ts';
import { demoCommand } from './commands/demo.ts';
import { diffCommand } from './commands/diff.ts';
import { dlqCommand } from './commands/dlq.ts';
import { eraseCommand, erasuresCommand } from './commands/erase.ts';
import { explainCommand } from './commands/explain.ts';
import { exportCommand } from './commands/export.ts';
import { exportsCommand } from './commands/exports.ts';
import { getCommand } from './commands/get.ts';
import { lakeCommand } from './commands/lake.ts';
import { modelCommand } from './commands/model.ts';
import { pushCommand } from './commands/push.ts';
import { replicaCommand } from './commands/replica.ts';
import { restoreCommand } from './commands/restore.ts';
import {
  historyCommand,
  promoteCommand,
  retireCommand,
  rollbackCommand,
} from './commands/rollout.ts';
import { serveCommand } from './commands/serve.ts';
import { shadowCommand } from './commands/shadow.ts';
import { timelineCommand } from './commands/timeline.ts';
import { verifyCommand } from './commands/verify.ts';
import { viewsCommand } from './commands/views.ts';
import { EXIT, EXIT_HELP, type ExitCode, explainFailure } from './exit.ts';

/** Runs one command line, without the interpreter's and the script's names. Never throws. */
export async function runCli(args: readonly string[], cli: Cli): Promise<ExitCode> {
  try {
    await programOf(cli).parseAsync(args, { from: 'user' });
    return cli.exitCode;
  } catch (error) {
    // Commander has said by itself what is wrong with the words, and shown help when asked.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.fine : EXIT.usage;
    const { code, message } = explainFailure(error);
    cli.output.say(`tidemark: ${message}`);
    return code;
  }
}

function programOf(cli: Cli): Command {
  const program = new Command('tidemark')
    .description('An embedding feature store with point-in-time lookups.')
    .version(readVersion())
    // `get --version v2` asks for a model version, not for Tidemark's.
    .enablePositionalOptions()
    .addHelpText('after', EXIT_HELP);
  withJson(withUrl(program));
  const commands = [
    serveCommand(cli),
    demoCommand(cli),
    pushCommand(cli),
    getCommand(cli),
    timelineCommand(cli),
    explainCommand(cli),
    diffCommand(cli),
    exportCommand(cli),
    exportsCommand(cli),
    lakeCommand(cli),
    viewsCommand(cli),
    promoteCommand(cli),
    rollbackCommand(cli),
    retireCommand(cli),
    historyCommand(cli),
    backfillCommand(cli),
    backfillsCommand(cli),
    shadowCommand(cli),
    modelCommand(cli),
    verifyCommand(cli),
    eraseCommand(cli),
    erasuresCommand(cli),
    dlqCommand(cli),
    compactCommand(cli),
    backupCommand(cli),
    restoreCommand(cli),
    replicaCommand(cli),
  ];
  for (const command of commands) program.addCommand(command);
  for (const command of [program, ...commands, ...commands.flatMap((each) => each.commands)]) {
    command
      .exitOverride()
      .showHelpAfterError('(see --help)')
      .configureOutput({
        writeOut: (text: string) => cli.output.print(text.trimEnd()),
        writeErr: (text: string) => cli.output.say(text.trimEnd()),
      });
  }
  return program;
}

function readVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
