import { cpSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import type { Answered } from '../support/flip-reader.ts';
import { type Block, blocksOf } from '../support/page.ts';
import {
  type Flip,
  foreignRows,
  type Reader,
  startReader,
  strayAnswers,
} from '../support/readers.ts';
import { Workplace } from '../support/workplace.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const PAGE = join(ROOT, 'docs/model-versions.md');
/** The commands shall have some of the machine, too. */
const PACE = { connections: 2, restMs: 5 };
const FIRST_LIVE = 'The new version';
const FIRST_QUIET = 'Without the source';
const SERVE = /^tidemark serve --config tidemark.yaml --data \.\/data (.*)\n$/;

test('what the docs say of another model behind a live service is so, and whoever looks up meanwhile is answered by one version, the current one', async ({
  annotate,
}) => {
  const [settings, serve, ...rest] = blocksOf(PAGE);
  const words = SERVE.exec(serve!.code)![1]!.split(' ');
  const place = await Workplace.serving(settings!.code, words);
  cpSync(join(ROOT, 'samples'), join(place.folder, 'samples'), { recursive: true });

  let reader: Reader | undefined;
  let lookups = 0;
  let printed = '';
  for (const block of rest) {
    if (block.section === FIRST_LIVE && reader === undefined) {
      reader = await readAll(place);
      onTestFinished(reader.kill);
    }
    if (block.section === FIRST_QUIET && reader !== undefined) {
      const answered = await reader.stop();
      reader = undefined;
      await requireOneVersion(place, answered);
      lookups = answered.answers.length;
    }
    if (block.kind === 'sh') {
      printed = await place.run('bash', ['-euo', 'pipefail', '-c', block.code]);
      continue;
    }
    const where = `line ${block.line}`;
    expect(comparable(block, printed), where).toBe(comparable(block, block.code));
  }
  await annotate(`${lookups} lookups`);
  expect(lookups).toBeGreaterThan(0);
});

/** Looks up all jobs that there are, from now on. */
async function readAll({ server }: Workplace): Promise<Reader> {
  const ids = Array.from({ length: 41 }, (_, at) => `job-${101 + at}`);
  const lookup = { feature_view: 'job', entity_ids: ids };
  const { results } = await server.ask<{ results: [{ statuses: string[] }] }>(
    'POST',
    '/v1/lookup',
    { lookups: [lookup] },
  );
  const live = ids.filter((_, row) => results[0].statuses[row] === 'PRESENT');
  expect(live).toHaveLength(39);
  return startReader(server.url, PACE, [{ ...lookup, entity_ids: live }]);
}

/** Each answer is of the version that was current at its snapshot, with that version's vectors. */
async function requireOneVersion({ server }: Workplace, answered: Answered): Promise<void> {
  expect(answered.wrong).toEqual([]);
  const { events } = await server.ask<{ events: Flip[] }>('GET', '/v1/feature-views/job/history');
  expect(strayAnswers(answered, events)).toEqual([]);
  const inOrder = answered.answers.toSorted(([, , a], [, , b]) => a - b).map((each) => each[3]);
  const reigns = inOrder.filter((version, at) => version !== inOrder[at - 1]);
  expect(reigns).toEqual(['v1', 'v2', 'v1', 'v2']);
  expect(await foreignRows(server, 'job', answered.rows)).toEqual([]);
}

/** What is the same in every run. Of a block that varies that is what its lines begin with. */
function comparable({ kind }: Block, text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => (kind === 'text varies' ? line.split(' ')[0] : stable(line)))
    .join('\n');
}

function stable(line: string): string {
  return line
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
    .replaceAll(/"instance":"[^"]+"/g, '"instance":"<id>"')
    .replaceAll(/\b(snapshot"?:?) ?\d+/g, '$1 <seq>')
    .replaceAll(/[\d.]+ k?B\b/g, '<bytes>')
    .replace(/ +ok$/, '')
    .replaceAll(/ +/g, ' ')
    .trimEnd();
}
