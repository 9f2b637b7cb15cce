import { type Command, InvalidArgumentError } from 'commander';

import type { Config } from '../config.ts';
import { parseInstant } from '../ground/time.ts';
import { Client } from './client.ts';
import { EXIT, type ExitCode } from './exit.ts';
import type { Output } from './output.ts';
import type { Sleep } from './retry.ts';

const DEFAULT_URL = 'http://127.0.0.1:8080';

/** What a command works with, and where it leaves how it ended. */
export interface Cli {
  readonly output: Output;
  readonly stdin: AsyncIterable<Buffer>;
  readonly env: Record<string, string | undefined>;
  readonly sleep: Sleep;
  exitCode: ExitCode;
}

interface CommonOptions {
  url?: string;
  json?: boolean;
}

/** `--url` of a command that talks to a server. */
export function withUrl(command: Command): Command {
  return command.option('--url <url>', `the server, default $TIDEMARK_URL or ${DEFAULT_URL}`);
}

/** `--json` of a command that has an answer. */
export function withJson(command: Command): Command {
  return command.option('--json', 'answer in JSON');
}

export interface ConfigOptions {
  data?: string;
  config?: string;
}

/** `--data` and `--config` of a command that works on a data directory. */
export function withConfig(command: Command): Command {
  return command
    .option('--data <directory>', 'the data directory')
    .option('--config <file>', 'the settings; default: tidemark.yaml, where there is one');
}

/**
 * The settings, with what the command line says over them. What only some commands need is loaded
 * when they run, here as elsewhere: `get` is not to wait for a server's worth of modules.
 */
export async function loadSettings(
  cli: Cli,
  { config, data }: ConfigOptions,
  overrides: Record<string, unknown> = {},
): Promise<Config> {
  const { loadConfig } = await import('../config.ts');
  return loadConfig({ ...overrides, data }, cli.env, config);
}

/** The client for the server that the command line, the environment or the default names. */
export function clientOf(cli: Cli, command: Command): Client {
  return new Client(common(command).url ?? cli.env.TIDEMARK_URL ?? DEFAULT_URL);
}

export function wantsJson(command: Command): boolean {
  return common(command).json === true;
}

/** These options may stand before the command's name and after it; what stands nearer wins. */
function common(command: Command): CommonOptions {
  const above = command.parent === null ? {} : common(command.parent);
  return { ...above, ...command.opts<CommonOptions>() };
}

/** How a command ends whose answer is yes, or no. */
export function answered(yes: boolean): ExitCode {
  return yes ? EXIT.fine : EXIT.negative;
}

/** For options: a time as RFC 3339, passed on as written. */
export function timeOption(text: string): string {
  try {
    parseInstant(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
  return text;
}

/** For options: a whole number from `least` on. */
export function countOption(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`expected a whole number, ${least} or more`);
  };
}
