/**
 * Another model version behind a live service, on the real change log of job postings: a version is
 * filled beside the one that answers, promoted, rolled back and promoted again, and the old one
 * retired, while somebody looks up and somebody pushes all the time. Prints what that took, and ends
 * with 1 if one lookup failed or was not wholly of the version that was current. All share the
 * machine. docs/model-versions.md explains the steps.
 *
 * Run with `npm run walk-through`; JOB_POSTINGS_PATH says where the log is, and
 * CHANGE_LOG_MODEL=minilm takes a real model.
 */
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type {
  BackfillAnswer,
  BackfillBody,
  BackfillPlanAnswer,
} from '../../src/api/schemas/backfills.ts';
import type { HistoryAnswer } from '../../src/api/schemas/rollout.ts';
import { openModel } from '../../src/ingest/inference/models.ts';
import { pullModel } from '../../src/ingest/inference/pull.ts';
import { CHANGE_LOG, changeLogMissing } from '../../test/support/change-log.ts';
import { startEmbedder, vectorsOf } from '../../test/support/embedder.ts';
import { foreignRows, startReader, strayAnswers } from '../../test/support/readers.ts';
import { atEnd } from '../harness/at-end.ts';
import { withFolder } from '../harness/folder.ts';
import { printGround } from '../harness/ground.ts';
import { Server } from '../harness/server.ts';
import { type AskedFlip, flipsTable, secondsAround, type Span, spansTable } from './flips.ts';
import { COLUMNS, type Postings, PROMPTS, writePostings } from './postings.ts';
import { Pusher } from './pusher.ts';

const MODEL = process.env['CHANGE_LOG_MODEL'] ?? 'hashing';
const MODELS = resolve('.cache/models');
const VIEW = '/v1/feature-views/job';
const PACE = { connections: 4, restMs: 5 };
/** Vectors of a lookup. */
const READ = 25;
/** Before the backfill, after it, and after each flip. */
const QUIET_MS = 4_000;
const POLL_MS = 50;
const CHUNK = 256;

const missing = changeLogMissing();
if (missing !== undefined) throw new Error(missing);
if (MODEL === 'minilm') await pullModel(MODELS, MODEL);
const model = await openModel(MODELS, MODEL);
const { dim } = model.manifest;

printGround();
await withFolder(async (folder) => {
  const file = join(folder, 'changes.ndjson');
  const postings = writePostings(file);
  const { events, live, texts } = postings;
  console.log(`${events} events of ${CHANGE_LOG}, ${live.size} postings at their end`);
  const bare = await bareRate(texts);
  console.log(`${texts.length} texts of v2 by ${MODEL} alone: ${bare.toFixed(0)} texts/s`);
  const server = await Server.start({
    folder,
    data: join(folder, 'data'),
    settings: { models: MODELS, backfill: { directories: [folder] }, log_level: 'info' },
    args: ['--workers', '2'],
  });
  await walk(server, file, postings, bare);
  await server.close();
});

async function walk(server: Server, file: string, postings: Postings, bare: number): Promise<void> {
  await server.ask('PUT', VIEW, { entity: 'job', join_key: 'job_id', ...versionOf('v1') });
  const alone = await backfill(server, 'v1', file);
  console.log(`v1 filled, with nobody else there: ${rateOf(alone, bare)}`);

  const live = [...postings.live];
  const lookup = { feature_view: 'job', entity_ids: spreadOut(live, READ).map(([id]) => id) };
  const reader = await startReader(server.url, PACE, [lookup]);
  atEnd(reader.kill);
  const pusher = Pusher.start(server.url, live);
  const spans: Span[] = [];
  const during = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const from = now();
    const done = await work();
    spans.push({ what, from, to: now() });
    return done;
  };
  await during('before the backfill', async () => delay(QUIET_MS));
  await server.ask('POST', `${VIEW}/versions`, versionOf('v2'));
  const plan = await server.ask<BackfillPlanAnswer>('POST', '/v1/backfills', {
    ...askedOf('v2', file),
    plan: true,
  });
  console.log(`v2 planned: ${plan.distinct_inputs} inputs in ${plan.seconds.toFixed(1)} s`);
  const busy = await during('during the backfill', async () => backfill(server, 'v2', file));
  console.log(`v2 filled, beside lookups and pushes: ${rateOf(busy, bare)}`);
  await during('after the backfill', async () => delay(QUIET_MS));
  await during('while gates are looked at', async () =>
    server.ask('GET', `${VIEW}/versions/v2/gates`),
  );
  await delay(QUIET_MS);
  const flips = [
    await flip(server, 'promote v2', 'v2', '/versions/v2/promote'),
    await flip(server, 'roll back', 'v1', '/rollback'),
    await flip(server, 'promote v2 again', 'v2', '/versions/v2/promote'),
  ];

  const pushes = await pusher.stop();
  const answered = await reader.stop();
  const { answers, rows, wrong } = answered;
  const { events } = await server.ask<HistoryAnswer>('GET', `${VIEW}/history`);
  const mixed = [...strayAnswers(answered, events), ...(await foreignRows(server, 'job', rows))];
  const { what, from, to } = await retire(server);
  console.log(`${what}: ${(to - from).toFixed(0)} ms\n`);
  console.log(spansTable('lookups', answers, [...spans, ...secondsAround(answers, flips)]));
  console.log(spansTable('pushes', pushes, spans));
  const noted = events.flatMap(({ type, created_timestamp }) =>
    type === 'view' ? [] : [Date.parse(created_timestamp)],
  );
  console.log(flipsTable(answers, flips, noted));
  console.log(
    `${answers.length + wrong.length} lookups of ${READ} vectors, ${wrong.length} failed or mixed, ` +
      `${mixed.length} of another version than the current one; ${pushes.length} pushes, 0 failed`,
  );
  for (const each of [...wrong, ...mixed].slice(0, 5)) console.error(each);
  if (wrong.length + mixed.length > 0) process.exitCode = 1;
}

/** Asks for it, and then leaves readers some time. */
async function flip(
  server: Server,
  what: string,
  version: string,
  path: string,
): Promise<AskedFlip> {
  const asked = now();
  await server.ask('POST', `${VIEW}${path}`, {});
  const answered = now();
  await delay(QUIET_MS);
  return { what, version, asked, answered, over: now() };
}

async function retire(server: Server): Promise<Span> {
  const from = now();
  await server.ask('DELETE', `${VIEW}/versions/v1`);
  return { what: 'v1 retired', from, to: now() };
}

function versionOf(version: keyof typeof PROMPTS): object {
  return { version, dim, dtype: 'float32', model: { name: MODEL, prompt: PROMPTS[version] } };
}

function askedOf(version: keyof typeof PROMPTS, path: string): Partial<BackfillBody> {
  const fields = Object.fromEntries(PROMPTS[version].fields.map((name) => [name, name]));
  const from = { kind: 'file' as const, path, columns: { ...COLUMNS, fields } };
  return { feature_view: 'job', version, from };
}

/** Until it has ended. */
async function backfill(
  server: Server,
  version: keyof typeof PROMPTS,
  path: string,
): Promise<BackfillAnswer> {
  const { id } = await server.ask<BackfillAnswer>('POST', '/v1/backfills', askedOf(version, path));
  for (;;) {
    const told = await server.ask<BackfillAnswer>('GET', `/v1/backfills/${id}`);
    if (told.state === 'done') return told;
    if (told.problem !== null) throw new Error(JSON.stringify(told.problem));
    await delay(POLL_MS);
  }
}

function rateOf({ events, inputs, ...told }: BackfillAnswer, bare: number): string {
  const ms = Date.parse(told.ended_timestamp!) - Date.parse(told.started_timestamp!);
  const [read, embedded] = [events.read, inputs.embedded].map((count) => (count * 1_000) / ms) as [
    number,
    number,
  ];
  return (
    `${events.read} events, ${inputs.embedded} texts in ${(ms / 1_000).toFixed(2)} s: ` +
    `${read.toFixed(0)} events/s, ${embedded.toFixed(0)} texts/s ` +
    `(${((100 * embedded) / bare).toFixed(0)} % of the model alone)`
  );
}

/** Texts a second of the model alone, with nothing read or stored. */
async function bareRate(texts: readonly string[]): Promise<number> {
  const embedder = await startEmbedder(model);
  await vectorsOf(embedder, texts.slice(0, CHUNK));
  const began = performance.now();
  for (let from = 0; from < texts.length; from += CHUNK) {
    await vectorsOf(embedder, texts.slice(from, from + CHUNK));
  }
  const seconds = (performance.now() - began) / 1_000;
  await embedder.close();
  return texts.length / seconds;
}

function spreadOut<T>(items: readonly T[], count: number): T[] {
  return Array.from({ length: count }, (_, at) => items[Math.floor((at * items.length) / count)]!);
}

/** The clock that the readers' times are of. */
function now(): number {
  return performance.timeOrigin + performance.now();
}
