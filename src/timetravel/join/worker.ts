import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';

import type { Utf8 } from 'apache-arrow';

import { assert } from '../../ground/assert.ts';
import { TidemarkError } from '../../ground/errors.ts';
import { openPinned, type PageVersion } from '../../store/pinned-version.ts';
import type { Answer, AnswerSchema } from '../formats/answer.ts';
import { wholeSchema } from '../formats/arrow-schema.ts';
import { arrowEncoding } from '../formats/arrow.ts';
import { encodingOf } from '../formats/encodings.ts';
import { readPiece } from '../spine/read.ts';
import type { RevisionPlace } from '../spine/window.ts';
import { answerOf, countsOf, invalidOf, type ResolvedWindow, resolveRows } from './join-window.ts';
import { KeptMemory } from './kept-memory.ts';
import type { FromWorker, JoinedWindow, Numbered, ToWorker, WindowTask } from './messages.ts';
import { writePart } from './part.ts';
import { scanRows } from './scan.ts';
import { summaryOf } from './summary.ts';
import { numberVectors, writeShard } from './vector-table.ts';
import type { AnswerColumn, WindowDone } from './window-done.ts';

/** Lookups, which somebody waits for, go before joins: as far as the kernel helps. */
const NICENESS = 10;

const port = parentPort!;
const memory = new KeptMemory();
let turn: PromiseWithResolvers<readonly Numbered[] | undefined> | undefined;

setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), NICENESS);
port.on('message', (message: ToWorker) => {
  if (message.type === 'turn') turn!.resolve(message.numbered);
  else void answer(message.task);
});

async function answer(task: WindowTask): Promise<void> {
  let reply: FromWorker;
  const moved: ArrayBuffer[] = [];
  try {
    const joined = await join(task);
    for (const { buffer } of joined.done.chunks ?? []) moved.push(buffer);
    reply = { type: 'done', joined };
  } catch (error) {
    reply = failureOf(error);
  }
  post(reply, [...new Set(moved)]);
}

function post(message: FromWorker, moved: ArrayBuffer[] = []): void {
  port.postMessage(message, moved);
}

function failureOf(error: unknown): FromWorker {
  if (error instanceof TidemarkError) {
    return { type: 'failed', code: error.code, message: error.message };
  }
  const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { type: 'failed', code: undefined, message: `a window of a join failed: ${why}` };
}

async function join(task: WindowTask): Promise<JoinedWindow> {
  const { index, piece, plan, files } = task;
  const versions = task.versions.map(openPinned);
  const { resolved, next } = await resolve(task, versions);
  const rows = resolved.window.batch.numRows;
  const done: WindowDone = {
    index,
    firstRow: piece.firstRow,
    rows,
    ...(next !== undefined && { next }),
    counts: countsOf(resolved),
    invalid: invalidOf(resolved),
  };
  if (files === undefined) return sent(done, answerOf(resolved), task);
  const numbered = plan.vectors === 'ref' ? await numberInTurn(resolved) : undefined;
  const shards = numbered?.map(({ fresh }, ref) =>
    writeShard(
      files.shards[ref]!,
      files.shardFormat,
      plan.refs[ref]!,
      fresh,
      resolved.vectors[ref]!,
      memory,
    ),
  );
  const whole = answerOf(
    resolved,
    numbered?.map((each) => each.rows),
  );
  const summary = { first_row: done.firstRow, ...summaryOf(plan, rows, done.counts, done.invalid) };
  const told = JSON.stringify(summary);
  const part = writePart(files.part, plan.format, whole, told, memory);
  const columns = columnsOf(whole);
  return { done: { ...done, part, columns, ...(shards !== undefined && { shards }) } };
}

async function resolve(
  { piece, plan }: WindowTask,
  versions: readonly PageVersion[],
): Promise<{ resolved: ResolvedWindow; next: RevisionPlace | undefined }> {
  if (piece.format === 'revisions') {
    const scanned = scanRows(piece, plan, versions);
    post({ type: 'scanned', rows: scanned.resolved.window.batch.numRows, next: scanned.next });
    return scanned;
  }
  const window = await readPiece(piece, { loose: plan.format === 'ndjson' });
  return { resolved: resolveRows(window, plan, versions), next: undefined };
}

/** The window's bytes, for an answer that is sent as it is made. */
function sent(done: WindowDone, whole: Answer, { plan, index }: WindowTask): JoinedWindow {
  const encoding = encodingOf(plan.format);
  assert(encoding !== undefined, 'what is sent has a format of windows');
  const { chunks, meta } = encoding.window(whole);
  if (index > 0) return { done: { ...done, chunks }, meta };
  const head = encoding.head(schemaOf(whole));
  const batch = arrowEncoding.head({ schema: whole.batch.schema, vectors: [] });
  const vectors = whole.vectors.map(({ name, at, dim, dtype }) => ({ name, at, dim, dtype }));
  return { done: { ...done, chunks: [head, ...chunks] }, meta, schema: { batch, vectors } };
}

function columnsOf(whole: Answer): AnswerColumn[] {
  const { fields } = wholeSchema(schemaOf(whole));
  // Every type can say what it is called; only the class that they share does not declare it.
  return fields.map(({ name, type }) => ({ name, type: (type as Utf8).toString() }));
}

function schemaOf({ batch, vectors }: Answer): AnswerSchema {
  return { schema: batch.schema, vectors };
}

/** Numbers the window's vectors when those of the windows before it are. */
async function numberInTurn(resolved: ResolvedWindow): Promise<ReturnType<typeof numberVectors>> {
  turn = Promise.withResolvers();
  post({ type: 'waiting' });
  const numbered = await turn.promise;
  if (numbered === undefined) throw new TidemarkError('SHUTTING_DOWN', 'the join was given up');
  const own = numberVectors(resolved, numbered);
  const now = own.map(({ numbers: { slabs, next } }): Numbered => ({ slabs, next }));
  post({ type: 'numbered', numbered: now });
  return own;
}
