import { resolve } from 'node:path';

import { Command } from 'commander';

import { systemClock } from '../../ground/time.ts';
import {
  type Cli,
  type ConfigOptions,
  loadSettings,
  wantsJson,
  withConfig,
  withJson,
} from '../cli.ts';
import { UsageError } from '../failure.ts';

interface RestoreOptions extends ConfigOptions {
  replace?: boolean;
  erasedFrom?: string;
  /** False where the command line says `--no-newer-erasures`. */
  newerErasures: boolean;
}

/** `tidemark restore`: a data directory out of a backup. */
export function restoreCommand(cli: Cli): Command {
  const command = new Command('restore')
    .description(
      'Put a backup into a data directory, checked byte by byte. What was erased since the backup was taken stays erased (A8).',
    )
    .argument('<backup>', 'the directory of the backup')
    .option(
      '--replace',
      'take the place of the store that the directory holds, which is kept beside',
    )
    .option(
      '--erased-from <directory>',
      'a data directory or a later backup of the same store, which knows what was erased since',
    )
    .option('--no-newer-erasures', 'nothing was erased since, or it may come back');
  return withJson(withConfig(command)).action(
    async (backup: string, options: RestoreOptions, self: Command) => {
      const { replace = false, erasedFrom, newerErasures, ...rest } = options;
      if (erasedFrom !== undefined && !newerErasures) {
        throw new UsageError('--erased-from and --no-newer-erasures say the opposite: take one');
      }
      const { data } = await loadSettings(cli, rest);
      const { restoreBackup } = await import('../../store/restore.ts');
      const progress = cli.output.startProgress('{bytes} of {of} bytes', 1, { bytes: 0, of: 0 });
      const restored = await restoreBackup(
        resolve(backup),
        data,
        {
          replace,
          erasedFrom: erasedFrom && resolve(erasedFrom),
          noNewerErasures: !newerErasures,
        },
        systemClock,
        Math.random,
        (bytes, of) => progress.update(bytes / of, { bytes, of }),
      ).finally(() => progress.stop());
      if (wantsJson(self)) {
        cli.output.printJson({ directory: data, ...restored, aside: restored.aside ?? null });
        return;
      }
      const { snapshot, created_timestamp, bytes, erasures, aside } = restored;
      cli.output.print(
        `${data}: restored snapshot ${snapshot} of ${created_timestamp}, ${bytes} bytes.`,
      );
      if (newerErasures) cli.output.print(`Erasures and lifts since then that hold: ${erasures}.`);
      if (aside !== undefined) {
        cli.output.say(
          `What was there before is in ${aside}: remove it when it is of no more use.`,
        );
      }
    },
  );
}
