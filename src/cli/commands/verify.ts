import { Command } from 'commander';

import type { Verification } from '../../store/verify.ts';
import {
  answered,
  type Cli,
  type ConfigOptions,
  loadSettings,
  wantsJson,
  withConfig,
  withJson,
} from '../cli.ts';
import type { Output } from '../output.ts';

/** `tidemark verify`: whether a data directory is whole. */
export function verifyCommand(cli: Cli): Command {
  const command = new Command('verify').description(
    'Check every checksum, order, reference and counter of a data directory; changes nothing.',
  );
  return withJson(withConfig(command)).action(async (options: ConfigOptions, self: Command) => {
    const { data } = await loadSettings(cli, options);
    const { verifyStore } = await import('../../store/verify.ts');
    const progress = cli.output.startProgress('{checked} chunks and vectors', undefined, {
      checked: 0,
    });
    const verification = await verifyStore(data, {
      onProgress: ({ checked }) => progress.update(checked, { checked }),
    });
    progress.stop();
    if (wantsJson(self)) cli.output.printJson({ directory: data, ...verification });
    else printVerification(cli.output, data, verification);
    cli.exitCode = answered(verification.problems.length === 0);
  });
}

function printVerification(
  output: Output,
  directory: string,
  { problems, checked, counters }: Verification,
): void {
  for (const { where, what } of problems) output.print(`${where}: ${what}`);
  const counts = Object.entries(checked).map(([name, count]) => `${count} ${name}`);
  output.print(`${directory}: checked ${counts.join(', ')}`);
  if (!counters) {
    output.say(
      'A server is writing to it meanwhile, so its pages and its totals were not compared.',
    );
  }
  output.print(
    problems.length === 0
      ? output.style('green', 'No damage found.')
      : output.style('red', `Damage found: ${problems.length} problems. Restore a backup.`),
  );
}
