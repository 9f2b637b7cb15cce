import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { Command } from 'commander';

import type { Config } from '../../config.ts';
import { type Cli, wantsJson, withJson } from '../cli.ts';
import { Client } from '../client.ts';
import { readHistory } from '../demo/history.ts';
import { loadSamples } from '../demo/load.ts';
import { tellNextSteps } from '../demo/next-steps.ts';
import { rankJobs } from '../demo/ranking.ts';
import { type Findings, tellBeginning, tellStory } from '../demo/story.ts';
import { joinApplications } from '../demo/training.ts';

/** Who changes trade between the two moments, and the job whose past has the most to show. */
const MEMBER = 'member-6';
const EARLIER = '2026-02-12T12:00:00Z';
const JOB = 'job-109';

/** `tidemark demo`: what a feature store is, shown on a small one of its own. */
export function demoCommand(cli: Cli): Command {
  const command = new Command('demo')
    .description('Show on a small job market what Tidemark does; needs nothing, ends by itself.')
    .option('--data <directory>', 'keep the data there; default: a temporary directory');
  return withJson(command).action(async (options: { data?: string }, self: Command) => {
    const data = options.data ?? mkdtempSync(join(tmpdir(), 'tidemark-demo-'));
    try {
      if (wantsJson(self)) {
        cli.output.printJson(await findOut(data));
        return;
      }
      tellBeginning(cli.output);
      tellStory(cli.output, await findOut(data));
      tellNextSteps(cli.output, options.data);
    } finally {
      if (options.data === undefined) rmSync(data, { recursive: true, force: true });
    }
  });
}

/** Starts a server on the directory, as `serve` would, and asks it over REST as anyone would. */
async function findOut(data: string): Promise<Findings> {
  const { startTidemark } = await import('../../main.ts');
  const server = await startTidemark(await configOf(data));
  try {
    const client = new Client(server.url);
    return {
      loaded: await loadSamples(client),
      ranking: await rankJobs(client, MEMBER, EARLIER),
      history: { job_id: JOB, revisions: await readHistory(client, JOB) },
      training: await joinApplications(client),
    };
  } finally {
    await server.stop();
  }
}

/** The defaults, whatever the environment and the working directory would set. */
async function configOf(directory: string): Promise<Config> {
  const { configSchema } = await import('../../config.ts');
  const data = resolve(directory);
  const settings = configSchema.parse({ data, port: 0, log_level: 'silent' });
  return { ...settings, models: join(data, 'models') };
}
