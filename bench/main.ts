/**
 * Runs benchmarks: `npm run bench -- list`, `npm run bench -- lookup score --quick`,
 * `npm run bench -- all` (those that have a page). Each is a program of its own; what follows the
 * names is given to each.
 *
 * A scenario with a page is made of bench/harness: options.ts (its command line), folder.ts and
 * at-end.ts (a temporary folder, and what is undone however a run ends), data-set.ts and keys.ts
 * (seeded vectors, and who asks for which), server.ts, redis.ts, child.ts and cores.ts (who is
 * started, and on which core), load.ts and wrk.ts (who asks), disk.ts (what the disk takes), rows.ts
 * (contenders in turns), page.ts (JSON, Markdown and SVG, and what changed since the run before).
 * serving/score.ts is a short one.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import { type Scenario, SCENARIOS } from './scenarios.ts';

const NAMES_OF_PAGES = Object.keys(SCENARIOS).filter((name) => SCENARIOS[name]!.hasPage);

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

const words = process.argv.slice(2);
const asked = words.filter((word) => word in SCENARIOS || word === 'all');
const rest = words.filter((word) => !asked.includes(word));
const [first] = words;
if (first === undefined || first === 'list') {
  for (const [name, { says, hasPage }] of Object.entries(SCENARIOS)) {
    console.log(`${name.padEnd(24)} ${says}${hasPage ? '' : ' (prints only)'}`);
  }
  console.log('\nModels on a machine with a GPU: bench/gpu/README.md');
} else if (asked[0] !== first) {
  console.error(`there is no scenario ${first}; npm run bench -- list`);
  process.exitCode = 2;
} else {
  const names = asked.flatMap((name) => (name === 'all' ? NAMES_OF_PAGES : [name]));
  const failed: string[] = [];
  for (const name of names) {
    const start = performance.now();
    if (!(await succeeds(name, SCENARIOS[name]!))) failed.push(name);
    console.error(`=== ${name}: ${((performance.now() - start) / 1_000).toFixed(0)} s`);
  }
  if (failed.length > 0) {
    console.error(`failed: ${failed.join(', ')}`);
    process.exitCode = 1;
  }
}

async function succeeds(name: string, { file }: Scenario): Promise<boolean> {
  console.error(`\n=== ${name}`);
  const path = join(import.meta.dirname, file);
  const child = spawn(process.execPath, [path, ...rest], { stdio: 'inherit' });
  // Who breaks it off breaks off the scenario, which leaves nothing behind.
  const stop = () => child.kill('SIGTERM');
  process.once('exit', stop);
  const [code] = (await once(child, 'exit')) as [number | null];
  process.off('exit', stop);
  return code === 0;
}
