import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { beforeAll, expect, test } from 'vitest';

import type { Findings } from '../../src/cli/demo/story.ts';
import type { Embedder } from '../../src/ingest/inference/embedder.ts';
import { openModel } from '../../src/ingest/inference/models.ts';
import { startEmbedder, vectorsOf } from '../support/embedder.ts';
import { tempDirectory } from '../support/temp.ts';

const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname;

/** What the command says; rejects unless it ends with 0. */
async function tidemark(args: string[], env: Record<string, string> = {}): Promise<string> {
  const options = { env: { ...process.env, ...env } };
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, ...args], options);
  return stdout;
}

interface Change {
  ts: string;
  known_ts?: string;
  id: string;
  after: Fields | null;
}

function sample(name: string): Change[] {
  const file = new URL(`../../samples/${name}.ndjson`, import.meta.url);
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line, listsInWords) as Change);
}

function listsInWords(_key: string, value: unknown): unknown {
  return Array.isArray(value) ? value.join(', ') : value;
}

type Fields = Record<string, string>;

const PROMPTS = {
  job: ({ title, company, location, requirements }: Fields) =>
    `${title}\n${company}, ${location}\n${requirements}`,
  member: ({ headline, location, about, skills }: Fields) =>
    `${headline}\n${location}\n${about}\n${skills}`,
  resume: ({ title, experience, skills }: Fields) => `${title}\n${experience}\n${skills}`,
};
type View = keyof typeof PROMPTS;

const CHANGES: Record<View, Change[]> = {
  job: sample('jobs'),
  member: sample('members'),
  resume: sample('resumes'),
};
const NOW = '2027-01-01T00:00:00Z';

/**
 * The text in force at a moment, by reading all changes; undefined where there is none. With
 * `known`, only what had been heard of by then counts.
 */
function textAt(view: View, id: string, moment: string, known = NOW): string | undefined {
  let winner: Change | undefined;
  for (const change of CHANGES[view]) {
    const { ts, known_ts = ts } = change;
    const counts = change.id === id && ts <= moment && known_ts <= known;
    // The changes stand in the order in which they were heard of.
    if (counts && (winner === undefined || ts >= winner.ts)) winner = change;
  }
  return winner?.after ? PROMPTS[view](winner.after) : undefined;
}

let embedder: Embedder;
beforeAll(async () => {
  embedder = await startEmbedder(await openModel('/nowhere', 'hashing'));
  return async () => embedder.close();
});

async function cosine(a: string | undefined, b: string | undefined): Promise<number | null> {
  if (a === undefined || b === undefined) return null;
  const [x, y] = (await vectorsOf(embedder, [a, b])) as [Float32Array, Float32Array];
  return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, x, i) => sum + x * b[i]!, 0);
}

test('the demo tells its story, leaves nothing behind, and ends by itself', async () => {
  const temporary = tempDirectory();
  const story = await tidemark(['demo'], { TMPDIR: temporary });
  expect(readdirSync(temporary)).toEqual([]);
  expect(story.match(/^\d\. .*$/gm)).toHaveLength(5);
  expect(story).toMatch(/^2026-03-10 .*job-109 Care coordinator .*LEAK: job of 2026-04-09$/m);
  expect(story).toMatch(/^2026-03-02 .*job-125 Transport planner .*LEAK: member of 2026-04-27$/m);
  expect(story).toMatch(/^2026-04-02 .*none +LOST: job deleted 2026-04-19$/m);
  expect(story).toMatch(/^\d of 12 rows would leak/m);
  expect(story).toContain('not for ranking');
  expect(story).toContain('npm run demo -- --data ./demo-data');
  for (const text of story.split('\n')) expect(text.length).toBeLessThan(120);
});

test('its numbers are those of reading all changes one by one', async () => {
  const findings = JSON.parse(await tidemark(['demo', '--json'])) as Findings;
  for (const { feature_view, events, deletes, embedded, shared } of findings.loaded) {
    const view = feature_view as View;
    const texts = CHANGES[view].flatMap(({ after }) => (after ? PROMPTS[view](after) : []));
    expect(events).toBe(CHANGES[view].length);
    expect(deletes).toBe(events - texts.length);
    expect(embedded).toBe(new Set(texts).size);
    expect(shared).toBe(texts.length - embedded);
  }

  const { member_id, as_of, earlier, latest } = findings.ranking;
  for (const [moment, { jobs }] of [
    [as_of, earlier],
    [NOW, latest],
  ] as const) {
    const member = textAt('member', member_id, moment);
    const ids = new Set(CHANGES.job.map(({ id }) => id));
    const scores = new Map<string, number>();
    for (const id of ids) {
      const score = await cosine(member, textAt('job', id, moment));
      if (score !== null) scores.set(id, score);
    }
    expect(jobs).toHaveLength(scores.size);
    for (const { job_id, score } of jobs) expect(score).toBeCloseTo(scores.get(job_id)!, 5);
    expect(jobs.map(({ score }) => score)).toEqual(
      jobs.map(({ score }) => score).toSorted((a, b) => b - a),
    );
  }

  expect(findings.training).toHaveLength(12);
  for (const row of findings.training) {
    const { member_id: member, job_id: job, event_timestamp: moment } = row;
    const then = [textAt('member', member, moment, moment), textAt('job', job, moment, moment)];
    const now = [textAt('member', member, NOW), textAt('job', job, NOW)];
    const asOf = await cosine(then[0], then[1]);
    const today = await cosine(now[0], now[1]);
    expect(row.as_of_score).toBeCloseTo(asOf!, 5);
    if (today === null) expect(row.latest_score).toBeNull();
    else expect(row.latest_score).toBeCloseTo(today, 5);
    expect(row.job_deleted !== null).toBe(now[1] === undefined);
    const leaking = [
      ...(now[1] !== undefined && now[1] !== then[1] ? ['job'] : []),
      ...(now[0] !== then[0] ? ['member'] : []),
    ];
    expect(row.leaks.map(({ feature_view }) => feature_view)).toEqual(leaking);
    for (const { since } of row.leaks) expect(since > moment).toBe(true);
  }
  expect(findings.training.filter(({ leaks }) => leaks.length > 0).length).toBeGreaterThan(2);
});

test('a directory that is kept can be filled again, which stores nothing, and verified', async () => {
  const data = join(tempDirectory(), 'kept');
  const first = await tidemark(['demo', '--data', data]);
  expect(first).toContain(`npm start -- --data ${data}`);
  expect(existsSync(data)).toBe(true);
  const again = JSON.parse(await tidemark(['demo', '--data', data, '--json'])) as Findings;
  for (const { events, duplicate } of again.loaded) expect(duplicate).toBe(events);
  const { checked } = JSON.parse(await tidemark(['verify', '--data', data, '--json']));
  const events = again.loaded.reduce((sum, view) => sum + view.events, 0);
  expect(checked.revisions).toBe(events);
});
