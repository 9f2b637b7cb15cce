import { parseDuration } from '../../src/ground/duration.ts';
import { formatInstant, type Micros, parseInstant } from '../../src/ground/time.ts';
import type { FeatureView } from '../../src/store/catalogue.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';
import { PRESENT, REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { type Api, JOB } from '../api/harness.ts';
import { type Answer, type Case, MIDNIGHT, type Question } from './cases.ts';

/** A case that Tidemark has lived through, ready to be asked. */
export interface Lived {
  api: Api;
  /** The states that the history named. */
  snapshots: Map<string, number>;
}

/** Makes the view of the case and plays its history; what became of its rows, one after another. */
export async function live(
  api: Api,
  { view, history }: Case,
): Promise<Lived & { outcomes: string[] }> {
  // Created times never go back, and the view has one too.
  api.clock.now = MIDNIGHT;
  await makeView(api, view);
  const { store } = api.deps;
  const snapshots = new Map<string, number>();
  const outcomes: string[] = [];
  let rows: Row[] = [];
  for (const [at, event] of history.entries()) {
    if ('clock' in event) api.clock.now = event.clock;
    if ('event' in event) {
      rows.push(event);
      if (isSamePush(event, history[at + 1])) continue;
      outcomes.push(...(await push(api, rows)));
      rows = [];
    } else if ('snapshot' in event) snapshots.set(event.snapshot, store.snapshot);
    else if ('horizon' in event) await store.advanceHorizon('job', event.horizon);
    else if ('compact' in event) await compact(api, view.versions);
    else if ('erase' in event) await store.erase({ entity: 'job' }, [event.erase]);
    else await store.liftErasure({ entity: 'job' }, [event.lift]);
  }
  return { api, snapshots, outcomes };
}

async function makeView(api: Api, { versions, ...settings }: Case['view']): Promise<void> {
  const [version, ...others] = versions;
  const { dim, dtype } = JOB;
  await good(api.send('PUT', '/v1/feature-views/job', { ...JOB, ...settings, version }));
  for (const other of others) {
    await good(api.send('POST', '/v1/feature-views/job/versions', { version: other, dim, dtype }));
  }
}

type Row = Extract<Case['history'][number], { event: unknown }>;

/** Rows that are committed one after another at one time are one push. */
function isSamePush(row: Row, next: Case['history'][number] | undefined): boolean {
  if (next === undefined || !('event' in next)) return false;
  return next.clock === row.clock && next.version === row.version;
}

/** What became of each row, in all versions alike, or the code that it was refused with. */
async function push(api: Api, rows: readonly Row[]): Promise<string[]> {
  const { body } = await api.send('POST', '/v1/push', {
    feature_view: 'job',
    version: rows[0]!.version,
    results: true,
    records: rows.map((row) => ({
      entity_id: row.entity,
      event_timestamp: formatInstant(row.event),
      known_timestamp: formatInstant(row.known),
      ...('put' in row ? { vector: [row.put, 1] } : { deleted: true }),
    })),
  });
  if ('code' in body) return rows.map(() => body['code'] as string);
  const { rejected, results } = body as {
    rejected: { index: number; code: string }[];
    results: (Record<string, string> | null)[];
  };
  return results.map((byVersion, at) =>
    byVersion === null
      ? rejected.find(({ index }) => index === at)!.code
      : [...new Set(Object.values(byVersion))].join(' and '),
  );
}

async function good(sent: ReturnType<Api['send']>): Promise<void> {
  const { status, body } = await sent;
  if (status >= 300) throw new Error(`${status} ${JSON.stringify(body)}`);
}

/** Removes from the files what no question can ask for any more. */
export async function compact(api: Api, versions: readonly string[]): Promise<void> {
  for (const version of versions) await api.deps.store.compact('job', version);
}

/** Asks the store in this process. */
export function askStore(lived: Lived, question: Question): Answer {
  const { api } = lived;
  const { store } = api.deps;
  setClock(lived, question);
  const view = store.catalogue.mustGetView('job');
  const { version } = store.catalogue.mustGetVersion(view, question.version);
  const opened = store.version('job', version);
  const resolution = resolveMany(opened, [question.entity], {
    asOf: question.as_of,
    boundary: question.boundary,
    knowledge: question.knowledge,
    knownAt: question.known_at,
    maxAge: maxAgeOf(view, question),
    now: store.clock(),
    snapshot: snapshotOf(lived, question) ?? store.snapshot,
  });
  const vector = new Float32Array(2);
  gather(opened.vectors, resolution, new Uint8Array(vector.buffer));
  const isPresent = resolution.statuses[0] === PRESENT;
  return {
    status: STATUSES[resolution.statuses[0]!]!,
    reason: REASONS[resolution.reasons[0]!]!,
    value: isPresent ? vector[0]! : null,
    event: isPresent ? resolution.events[0]! : null,
  };
}

function maxAgeOf(view: FeatureView, { max_age }: Question): number {
  if (max_age === undefined) return view.max_age ?? ANY_AGE;
  return max_age === 'none' ? ANY_AGE : parseDuration(max_age);
}

/** Asks `POST /v1/lookup`, in JSON. */
export async function askLookup(lived: Lived, question: Question): Promise<Answer> {
  setClock(lived, question);
  const { version, entity } = question;
  const { body } = await lived.api.send('POST', '/v1/lookup', {
    lookups: [{ feature_view: 'job', version, entity_ids: [entity] }],
    as_of: textOf(question.as_of),
    ...commonOf(lived, question),
  });
  const { statuses, reasons, vectors, event_timestamps } = resultsOf(body)[0];
  return answerOf(statuses[0], reasons[0], vectors[0], event_timestamps[0]);
}

interface Column {
  statuses: [string];
  reasons: [string | null];
  vectors: [number[] | null];
  event_timestamps: [string | null];
}

function resultsOf(body: Record<string, unknown>): [Column] {
  if (!('results' in body)) throw new Error(JSON.stringify(body));
  return body['results'] as [Column];
}

/** Asks `GET /v1/feature-views/{view}/entities/{entity_id}`. */
export async function askEntity(lived: Lived, question: Question): Promise<Answer> {
  setClock(lived, question);
  const { version, as_of, entity } = question;
  const query = queryOf({ version, as_of: textOf(as_of), ...commonOf(lived, question) });
  const path = `/v1/feature-views/job/entities/${encodeURIComponent(entity)}?${query}`;
  const { body } = await lived.api.send('GET', path);
  if (!('status' in body)) throw new Error(JSON.stringify(body));
  const { status, reason, vector, event_timestamp } = body as unknown as {
    status: string;
    reason: string | null;
    vector: number[] | null;
    event_timestamp: string | null;
  };
  return answerOf(status, reason, vector, event_timestamp);
}

/**
 * Asks `POST /v1/get-historical-features`: the questions that differ in their entity and moment
 * alone are one spine. The answers come in the order of the questions.
 */
export async function askJoin(lived: Lived, questions: readonly Question[]): Promise<Answer[]> {
  const answers = new Map<Question, Answer>();
  const queries = Map.groupBy(questions, (question) => {
    const { version } = question;
    const ref = version === undefined ? 'job' : `job=job@${version}`;
    return queryOf({ feature_views: ref, ...commonOf(lived, question) });
  });
  for (const [query, asked] of queries) {
    const spine = asked.map(({ entity, as_of }) =>
      JSON.stringify({ job_id: entity, event_timestamp: textOf(as_of) }),
    );
    const { bytes } = await lived.api.send(
      'POST',
      `/v1/get-historical-features?${query}`,
      spine.join('\n'),
      { 'content-type': 'application/x-ndjson' },
    );
    const lines = bytes.toString().trimEnd().split('\n');
    asked.forEach((question, at) => answers.set(question, joined(lines[at]!)));
    if (lines.length !== asked.length + 1) throw new Error(`got ${lines.length} lines`);
  }
  return questions.map((question) => answers.get(question)!);
}

function joined(line: string): Answer {
  const { job__status, job__reason, job__vector, job__event_timestamp } = JSON.parse(line) as {
    job__status: string;
    job__reason: string | null;
    job__vector: number[] | null;
    job__event_timestamp: string | null;
  };
  return answerOf(job__status, job__reason, job__vector, job__event_timestamp);
}

function answerOf(
  status: string,
  reason: string | null,
  vector: number[] | null,
  event: string | null,
): Answer {
  return {
    status,
    reason,
    value: vector === null ? null : vector[0]!,
    // Some doors also tell the event time of a tombstone; a join does not.
    event: vector === null || event === null ? null : parseInstant(event),
  };
}

function setClock({ api }: Lived, { now }: Question): void {
  if (now !== undefined) api.clock.now = now;
}

/** What lookups and joins have in common, in the words of the wire. */
function commonOf(lived: Lived, question: Question): Record<string, string | number | undefined> {
  const { boundary, knowledge, known_at, max_age } = question;
  return {
    boundary,
    knowledge,
    known_at: textOf(known_at),
    max_age,
    at_snapshot: snapshotOf(lived, question),
  };
}

function snapshotOf({ snapshots }: Lived, { at_snapshot }: Question): number | undefined {
  if (at_snapshot === undefined) return undefined;
  const snapshot = snapshots.get(at_snapshot);
  if (snapshot === undefined) throw new Error(`the history names no snapshot ${at_snapshot}`);
  return snapshot;
}

function textOf(moment: Micros | undefined): string | undefined {
  return moment === undefined ? undefined : formatInstant(moment);
}

function queryOf(values: Record<string, string | number | undefined>): string {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined);
  return new URLSearchParams(
    Object.fromEntries(pairs.map(([name, value]) => [name, String(value)])),
  ).toString();
}
