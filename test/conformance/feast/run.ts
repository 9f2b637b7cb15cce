import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { pythonWith, runPython } from '../../python.ts';
import { readCases } from '../cases.ts';
import { FEAST_PACKAGES } from './packages.ts';
import { planFeast } from './plan.ts';
import { type Difference, type FeastRun, reportOf } from './report.ts';

/** Gives the conformance cases to Feast and writes how its answers compare. */
const HERE = import.meta.dirname;
const REPORT = join(HERE, '../../../docs/feast-conformance.md');

process.stdout.write('asking Feast; the first time it is installed, which takes a minute more\n');
const python = await pythonWith(FEAST_PACKAGES);
const { plan, asked, unasked } = planFeast(readCases());
const answers = await runPython(python, [join(HERE, 'ask.py')], JSON.stringify(plan));
const differences = JSON.parse(
  await readFile(join(HERE, 'differences.json'), 'utf8'),
) as Difference[];
await writeFile(REPORT, reportOf(JSON.parse(answers) as FeastRun, asked, unasked, differences));
process.stdout.write(`wrote docs/feast-conformance.md: ${asked.length} questions asked\n`);
