import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from 'vitest';

import { formatInstant, micros, type Micros } from '../../src/ground/time.ts';
import { type Api, pushTo, startWithJob } from '../api/harness.ts';
import { run } from '../cli/run.ts';

const DOCS = join(import.meta.dirname, '../../docs/lakes.md');
const HOUR = 3_600e6;
const START = Date.UTC(2026, 1, 1) * 1_000;
const ENTITIES = 24;
/** How long the history is that other engines are asked about. */
export const HOURS = 40 * 24;
/** Moments are few, so that many revisions of an entity have one. */
const STEP = 12;

export interface SpineRow {
  row_id: number;
  job_id: string;
  event_timestamp: string;
}

/** A row of an answer, as Tidemark's and those of other engines can be compared. */
export interface LakeAnswer {
  row_id: number;
  status: string;
  deleted: boolean;
  /** µs; null where nothing answers. */
  event: number | null;
  vector: number[] | null;
}

/** Of the same seed the same numbers from 0 up to 1. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A server whose clock stands before all moments of `pushHistory`. */
export async function startForLake(): Promise<Api> {
  const api = await startWithJob();
  api.clock.now = START;
  return api;
}

/**
 * Revisions whose times often tie: late ones, corrections, tombstones, and vectors that come again.
 * The clock goes on to when the last of them was stored.
 */
export async function pushHistory(
  api: Api,
  random: () => number,
  from: number,
  to: number,
  count = 300,
): Promise<void> {
  api.clock.now = START + to * HOUR;
  const records = Array.from({ length: count }, () => {
    const event = START + STEP * HOUR * Math.floor((random() * to) / STEP);
    const late = STEP * HOUR * Math.floor(random() ** 2 * 6);
    const known = Math.min(api.clock.now, Math.max(event, START + from * HOUR) + late);
    const vector = [Math.fround(random() < 0.5 ? Math.floor(random() * 8) : random()), 1];
    return {
      entity_id: nameOf(random),
      event_timestamp: textOf(event),
      known_timestamp: textOf(known),
      ...(random() < 0.15 ? { deleted: true } : { vector }),
    };
  });
  const { body } = await pushTo(api, records);
  expect(body['rejected']).toEqual([]);
}

/** Rows of entities that there are, and of some that there never were, at and beside moments of revisions. */
export function spineOf(random: () => number, rows: number): SpineRow[] {
  return Array.from({ length: rows }, (_, row_id) => ({
    row_id,
    job_id: random() < 0.05 ? 'nobody' : nameOf(random),
    event_timestamp: textOf(
      START +
        STEP * HOUR * Math.floor((random() * (HOURS + 40 * 24)) / STEP) +
        Math.floor(random() * 3) -
        1,
    ),
  }));
}

/** What Tidemark answers, by the spine's rows. */
export async function askTidemark(
  api: Api,
  spine: readonly SpineRow[],
  question: Record<string, string>,
): Promise<LakeAnswer[]> {
  const query = new URLSearchParams({ feature_views: 'job', ...question });
  const lines = spine.map((row) => `${JSON.stringify(row)}\n`).join('');
  const { status, bytes } = await api.send(
    'POST',
    `/v1/get-historical-features?${query.toString()}`,
    lines,
    { 'content-type': 'application/x-ndjson' },
  );
  expect(status).toBe(200);
  const rows = bytes
    .toString()
    .trimEnd()
    .split('\n')
    .map((text) => JSON.parse(text) as Record<string, unknown>);
  expect(rows.pop()).toHaveProperty('__summary');
  return rows.map((row) => ({
    row_id: row['row_id'] as number,
    status: row['job__status'] as string,
    deleted: row['job__reason'] === 'DELETED',
    event: microsOf(row['job__event_timestamp'] as string | null),
    vector: row['job__vector'] as number[] | null,
  }));
}

/** Runs `tidemark lake export` into `lake` of a folder; what it says. */
export async function exportLake(
  api: Api,
  folder: string,
  more: readonly string[] = [],
): Promise<Record<string, unknown>> {
  const asked = ['lake', 'export', 'job', '--out', join(folder, 'lake'), '--json', ...more];
  const { code, out, err } = await run([...asked, '--url', api.url]);
  expect([code, err]).toEqual([0, '']);
  return JSON.parse(out) as Record<string, unknown>;
}

/** The blocks of the page about lakes under these words, in order. */
export function lakeQueries(words: string): string[] {
  const page = readFileSync(DOCS, 'utf8');
  const blocks = page.split('```').filter((block) => block.startsWith(`${words}\n`));
  expect(blocks).not.toEqual([]);
  return blocks.map((block) => block.slice(words.length + 1));
}

function nameOf(random: () => number): string {
  return `job-${Math.floor(random() * ENTITIES)}-é`;
}

function textOf(value: number): string {
  return formatInstant(micros(value));
}

function microsOf(text: string | null): Micros | null {
  return text === null ? null : ((Date.parse(text) * 1_000) as Micros);
}
