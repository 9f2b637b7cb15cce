import { Command } from 'commander';

import type { Config } from '../../config.ts';
import type { Tidemark } from '../../main.ts';
import { type Cli, type ConfigOptions, loadSettings, withConfig } from '../cli.ts';
import { EXIT } from '../exit.ts';

interface ServeOptions extends ConfigOptions {
  host?: string;
  port?: string;
  follow?: string;
  workers?: string;
}

/** `tidemark serve`: the server, until it is told to stop. */
export function serveCommand(cli: Cli): Command {
  const command = new Command('serve')
    .description('Run the server until SIGTERM or SIGINT; a second signal ends it at once.')
    .option('--host <address>', 'the address to listen on')
    .option('--port <number>', 'the port; 0 takes a free one')
    .option('--follow <url>', 'be a read replica of the Tidemark that answers there')
    .option('--workers <number>', 'processes that answer lookups; 0, the default: one for all');
  return withConfig(command).action(async (asked: ServeOptions) => {
    const { host, port, follow, workers, ...options } = asked;
    // Before the start: a signal that comes during it is not lost.
    const signal = firstSignal();
    const serving = { workers: workers && numberOrText(workers) };
    const overrides = { host, port: port && numberOrText(port), follow, serving };
    const config = await loadSettings(cli, options, overrides);
    const server = await start(config);
    cli.output.say(`Tidemark serves ${config.data} at ${server.url}`);
    await signal;
    await server.stop();
    cli.exitCode = EXIT.fine;
  });
}

/** What only one of them needs is loaded for that one. */
async function start(config: Config): Promise<Tidemark> {
  if (config.serving.workers === 0) {
    const { startTidemark } = await import('../../main.ts');
    return startTidemark(config);
  }
  const { startProcesses } = await import('../../serving/supervisor.ts');
  return startProcesses(config);
}

/** What is no number stays as it is, so that the configuration can say what it got. */
function numberOrText(text: string): number | string {
  return /^\d+$/.test(text) ? Number(text) : text;
}

const SIGNAL_NUMBERS = { SIGINT: 2, SIGTERM: 15 } as const;

/** Resolves at the first signal; the next one ends the process on the spot. */
async function firstSignal(): Promise<void> {
  const first = Promise.withResolvers<void>();
  let count = 0;
  for (const [signal, number] of Object.entries(SIGNAL_NUMBERS)) {
    process.on(signal, () => {
      if (++count > 1) process.exit(128 + number);
      first.resolve();
    });
  }
  return first.promise;
}
