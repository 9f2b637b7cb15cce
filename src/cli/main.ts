#!/usr/bin/env node
import { setTimeout as sleep } from 'node:timers/promises';

import { EXIT } from './exit.ts';
import { Output } from './output.ts';
import { runCli } from './program.ts';

// Whoever reads the answer may have seen enough, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT.fine);
});

process.exitCode = await runCli(process.argv.slice(2), {
  output: new Output(process.stdout, process.stderr),
  stdin: process.stdin,
  env: process.env,
  sleep: async (ms) => sleep(ms),
  exitCode: EXIT.fine,
});
