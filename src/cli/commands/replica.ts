import { Command } from 'commander';

import { systemClock } from '../../ground/time.ts';
import {
  type Cli,
  clientOf,
  type ConfigOptions,
  loadSettings,
  wantsJson,
  withJson,
  withUrl,
} from '../cli.ts';

/** `tidemark replica`: what is to be done about a read replica. */
export function replicaCommand(cli: Cli): Command {
  const promote = new Command('promote')
    .description(
      'Make a read replica a leader: a running one by its address, a stopped one by its directory.',
    )
    .option('--data <directory>', 'the data directory of a stopped replica');
  withJson(withUrl(promote)).action(async ({ data }: ConfigOptions, self: Command) => {
    const { snapshot } =
      data === undefined
        ? await clientOf(cli, self).promote()
        : await promoteDirectory((await loadSettings(cli, { data })).data);
    if (wantsJson(self)) cli.output.printJson({ snapshot });
    else {
      cli.output.print(`Promoted: it leads from snapshot ${snapshot} on.`);
      cli.output.say('Take `follow` out of its configuration, and keep the old leader stopped.');
    }
  });
  return new Command('replica').description('Read replicas.').addCommand(promote);
}

async function promoteDirectory(data: string): Promise<{ snapshot: number }> {
  const { checkDirectory } = await import('../../store/format.ts');
  const { openStore } = await import('../../store/store.ts');
  // Opening would make a directory that is not there.
  checkDirectory(data);
  const store = openStore(data, systemClock);
  try {
    await store.replica.promote(Math.random);
    return { snapshot: store.snapshot };
  } finally {
    await store.close();
  }
}
