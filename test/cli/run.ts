import { Writable } from 'node:stream';

import type { Cli } from '../../src/cli/cli.ts';
import { EXIT, type ExitCode } from '../../src/cli/exit.ts';
import { Output, type OutputStream } from '../../src/cli/output.ts';
import { runCli } from '../../src/cli/program.ts';

/** A stream that keeps what is written to it. */
export class Sink extends Writable {
  text = '';
  isTTY: boolean;

  constructor(isTTY = false) {
    super();
    this.isTTY = isTTY;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

export interface RunSettings {
  /** What is piped in, in these pieces. */
  stdin?: readonly string[];
  env?: Record<string, string>;
  sleep?: Cli['sleep'];
}

/** Runs one command line in this process. */
export async function run(
  args: readonly string[],
  { stdin = [], env = {}, sleep = async () => {} }: RunSettings = {},
): Promise<{ code: ExitCode; out: string; err: string }> {
  const out = new Sink();
  const err = new Sink();
  const code = await runCli(args, {
    output: outputOf(out, err),
    stdin: pieces(stdin),
    env,
    sleep,
    exitCode: EXIT.fine,
  });
  return { code, out: out.text, err: err.text };
}

export function outputOf(out: Sink, err: Sink): Output {
  return new Output(out as OutputStream, err as OutputStream);
}

async function* pieces(texts: readonly string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text);
}
