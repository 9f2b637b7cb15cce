import { expect } from 'vitest';

import { formatInstant, type Micros, parseInstant } from '../../src/ground/time.ts';
import { TOMBSTONE } from '../../src/store/chunk.ts';
import type { Store } from '../../src/store/store.ts';
import { readHistory } from '../../src/timetravel/history.ts';
import type { JoinPlan, JoinRef } from '../../src/timetravel/join/plan.ts';
import { streamJoin } from '../../src/timetravel/join/stream.ts';
import { gather, resolveMany, resolveSpine } from '../../src/timetravel/lookup.ts';
import { ANY_AGE, BOUNDARIES, KNOWLEDGE, type Question } from '../../src/timetravel/question.ts';
import { readSpineStream } from '../../src/timetravel/spine/source.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { askPages } from '../support/pages.ts';
import type { NaiveStore } from './naive.ts';
import { IDS, type Target, vectorOf } from './target.ts';
import type { NaiveView, World } from './world.ts';

type Random = (below: number) => number;

/** An answer as it is compared: numbers are NaN, and the vector is null, where there is none. */
interface Row {
  status: string | undefined;
  reason: string | null | undefined;
  event: number;
  known: number;
  created: number;
  seq: number;
  vector: number[] | null;
}

/** Asks `count` random questions of every model version, each about every entity; how many rows that were. */
export function askAll(world: World, random: Random, count: number): number {
  let rows = 0;
  for (const [name, known] of world.views) expectAliases(world.store, name, known);
  for (const target of world.targets()) {
    for (let asked = 0; asked < count; asked++) {
      rows += expectAnswers(world, target, randomQuestion(world, target, random));
      rows += expectHistory(world, target, random);
    }
  }
  return rows;
}

/** The version that answers is that of the last flip, and the history tells all of them. */
function expectAliases({ catalogue }: Store, name: string, known: NaiveView): void {
  const { reigns, candidate, previous, targets } = known;
  const view = catalogue.mustGetView(name);
  const { current } = reigns.at(-1)!;
  expect(view.aliases).toEqual({
    current,
    ...(candidate !== undefined && { candidate }),
    ...(previous !== undefined && { previous }),
  });
  expect(catalogue.mustFindVersion(view).version).toBe(current);
  const names = targets.map(({ version }) => version);
  expect(Object.keys(view.versions).toSorted()).toEqual(names.toSorted());
  const told: NaiveView['reigns'] = [];
  for (const event of catalogue.history(name)) {
    const now = event.view.aliases.current;
    if (told.at(-1)?.current !== now) told.push({ seq: event.seq, current: now });
  }
  expect(told).toEqual(reigns);
}

function randomQuestion(world: World, target: Target, random: Random): Question {
  const { snapshot } = world.store;
  const asOf = random(6) === 0 ? undefined : randomMoment(world, target.naive, random);
  const ofView = world.store.catalogue.mustGetView(target.view).max_age;
  expect(ofView).toBe(world.views.get(target.view)!.view.max_age);
  return {
    asOf,
    boundary: BOUNDARIES[random(BOUNDARIES.length)]!,
    knowledge: KNOWLEDGE[random(KNOWLEDGE.length)]!,
    knownAt: random(3) > 0 ? undefined : randomMoment(world, target.naive, random),
    maxAge: [ANY_AGE, ofView ?? ANY_AGE, random(60)][random(3)]!,
    now: world.clock.now,
    snapshot: random(2) === 0 ? snapshot : world.snapshots[random(world.snapshots.length)]!,
  };
}

/** A moment where something changes, or just beside it. */
function randomMoment(world: World, naive: NaiveStore, random: Random): number {
  const ids = naive.ids();
  const facts = ids.length === 0 ? [] : naive.history(ids[random(ids.length)]!);
  const fact = facts[random(Math.max(1, facts.length))];
  const moments = [
    naive.horizon.moment,
    world.clock.now,
    random(world.clock.now + 20),
    ...(fact === undefined ? [] : [fact.event, fact.known, fact.created]),
  ].filter(Number.isFinite);
  return moments[random(moments.length)]! + random(3) - 1;
}

function expectAnswers(world: World, target: Target, question: Question): number {
  const version = world.open(target);
  const context = () => `${target.view}@${target.version} ${JSON.stringify(question)}`;
  const resolution = resolveMany(version, IDS, question);
  const got = answersOf(world.store, target, question);
  expect(got, context()).toEqual(IDS.map((id) => expectedOf(target, id, question)));
  if (question.asOf !== undefined) {
    // A3: the join, row by row, is the same question.
    const moments = new Float64Array(IDS.length).fill(question.asOf);
    const spine = resolveSpine(version, IDS, moments, { ...question, asOf: undefined });
    expect(spine, context()).toEqual(resolution);
  }
  // And so it is where a join reads the pages of the file, without the database.
  const pages = askPages(version, IDS, question);
  expect(pages.resolution, context()).toEqual(resolution);
  const vectors = new Uint8Array(pages.vectors.byteLength);
  gather(version.vectors, resolution, vectors);
  expect(pages.vectors, context()).toEqual(vectors);
  return IDS.length;
}

/** What a store answers about every entity. */
function answersOf(store: Store, target: Target, question: Question): Row[] {
  const { view, version, dim } = target;
  const opened = store.version(view, version);
  const resolution = resolveMany(opened, IDS, question);
  const vectors = new Float32Array(IDS.length * dim);
  gather(opened.vectors, resolution, new Uint8Array(vectors.buffer));
  return IDS.map((_, row) => {
    const status = STATUSES[resolution.statuses[row]!];
    return {
      status,
      reason: REASONS[resolution.reasons[row]!],
      event: resolution.events[row]!,
      known: resolution.knowns[row]!,
      created: resolution.createds[row]!,
      seq: resolution.seqs[row]!,
      vector:
        status === 'PRESENT' ? Array.from(vectors.subarray(row * dim, (row + 1) * dim)) : null,
    };
  });
}

function expectedOf({ naive, dim }: Target, id: string, question: Question): Row {
  const { status, reason, fact } = naive.ask(id, question);
  return {
    status,
    reason,
    event: fact?.event ?? Number.NaN,
    known: fact?.known ?? Number.NaN,
    created: fact?.created ?? Number.NaN,
    seq: fact?.seq ?? Number.NaN,
    vector: status === 'PRESENT' ? Array.from(vectorOf(fact!.value!, dim)) : null,
  };
}

/** The timeline of a random entity, page by page: no fact that retention has let go is in it. */
function expectHistory(world: World, target: Target, random: Random): number {
  const { naive } = target;
  const id = IDS[random(IDS.length)]!;
  const from = random(2) === 0 ? -1e9 : randomMoment(world, naive, random);
  const to = random(2) === 0 ? 1e9 : randomMoment(world, naive, random);
  const snapshot =
    random(2) === 0 ? world.store.snapshot : world.snapshots[random(world.snapshots.length)]!;
  const limit = 1 + random(30);
  const version = world.open(target);
  const shown = [];
  for (let below; ;) {
    const page = readHistory(version, id, { from, to, below, snapshot }, limit);
    shown.push(...page);
    below = page.at(-1);
    if (page.length < limit) break;
  }
  const letGo = new Set(naive.letGo(id));
  const expected = naive
    .history(id)
    .filter((fact) => !letGo.has(fact) && fact.seq <= snapshot)
    .filter(({ event }) => event >= from && event <= to)
    .toReversed();
  expect(
    shown.map(({ vectorId, ...revision }) => ({ ...revision, deleted: vectorId === TOMBSTONE })),
    `the timeline of ${id} in ${target.view}@${target.version}`,
  ).toEqual(expected.map(({ value, ...fact }) => ({ ...fact, deleted: value === null })));
  return shown.length;
}

/** Looks at what is answered now; the check that it is answered so later too (A9). */
export function glimpse(world: World, random: Random): () => void {
  const { snapshot } = world.store;
  const seen = world.targets().map((target) => {
    const question = { ...randomQuestion(world, target, random), snapshot };
    return { target, question, answers: answersOf(world.store, target, question) };
  });
  return () => {
    for (const { target, question, answers } of seen) {
      const later = answersOf(world.store, target, question);
      later.forEach((answer, row) => {
        // Erasure and retention may pass it (A8, A10).
        if (answer.reason === 'ERASED' || answer.reason === 'BEFORE_RETENTION') return;
        expect(answer, `${IDS[row]} ${JSON.stringify(question)}`).toEqual(answers[row]);
      });
    }
  };
}

/** A training join of random rows, line by line the naive model's answers (A3, A11). */
export async function expectJoin(world: World, random: Random, rows: number): Promise<number> {
  const { store } = world;
  const targets = world.targets().filter(() => random(3) > 0);
  if (targets.length === 0) return 0;
  const { asOf: _asOf, maxAge: _maxAge, ...question } = randomQuestion(world, targets[0]!, random);
  const refs = targets.map((target): JoinRef => {
    const view = store.catalogue.mustGetView(target.view);
    const { dim, dtype } = store.catalogue.mustGetVersion(view, target.version);
    const name = `${target.view}_${target.version}`;
    const { join_key: idColumn, max_age: maxAge = ANY_AGE } = view;
    return { name, view: target.view, version: target.version, dim, dtype, idColumn, maxAge };
  });
  const spine = Array.from({ length: rows }, (_, row) => ({
    ...Object.fromEntries(refs.map(({ idColumn }) => [idColumn, IDS[random(IDS.length)]!])),
    event_timestamp: formatInstant(
      randomMoment(world, targets[random(targets.length)]!.naive, random) as Micros,
    ),
    label: row,
  }));
  const plan: JoinPlan = {
    refs,
    question,
    timeColumn: 'event_timestamp',
    columns: { known: true, created: true },
    vectors: 'inline',
    order: 'spine',
    format: 'ndjson',
    strict: false,
  };
  const limits = { rowsMax: 64, bytesMax: 2 ** 20, lineBytesMax: 65_536 };
  const source = readSpineStream(streamOf(spine), 'ndjson', limits);
  const { signal } = new AbortController();
  const text = await Array.fromAsync(streamJoin({ store, pool: world.pool, plan, source, signal }));
  const lines = Buffer.concat(text)
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines.pop()).toMatchObject({ __summary: { rows, snapshot: question.snapshot } });
  expect(lines).toHaveLength(rows);
  lines.forEach((line, at) => {
    const row = spine[at]! as Record<string, unknown>;
    expect(line).toMatchObject(row);
    refs.forEach(({ name, idColumn, maxAge }, ref) => {
      const asOf = parseInstant(row['event_timestamp'] as string);
      const target = targets[ref]!;
      const expected = expectedOf(target, row[idColumn] as string, { ...question, asOf, maxAge });
      const time = (value: number) =>
        expected.status === 'PRESENT' ? formatInstant(value as Micros) : null;
      expect(line, `${name} ${JSON.stringify({ ...question, asOf, maxAge })}`).toMatchObject({
        [`${name}__status`]: expected.status,
        [`${name}__reason`]: expected.reason,
        [`${name}__vector`]: expected.vector,
        [`${name}__event_timestamp`]: time(expected.event),
        [`${name}__known_timestamp`]: time(expected.known),
        [`${name}__created_timestamp`]: time(expected.created),
      });
    });
  });
  return rows * refs.length;
}

async function* streamOf(rows: readonly object[]): AsyncGenerator<Uint8Array> {
  for (const row of rows) yield Buffer.from(`${JSON.stringify(row)}\n`);
}

/** Leader and replica answer alike, to the last seq, at every snapshot that both have (A9). */
export function expectAlike(world: World, replica: Store, random: Random, count: number): number {
  const { store } = world;
  expect(replica.snapshot).toBe(store.snapshot);
  for (const [name, known] of world.views) expectAliases(replica, name, known);
  let rows = 0;
  for (const target of world.targets()) {
    const leader = store.version(target.view, target.version);
    const follower = replica.version(target.view, target.version);
    for (let asked = 0; asked < count; asked++) {
      const question = randomQuestion(world, target, random);
      expect(resolveMany(follower, IDS, question)).toEqual(resolveMany(leader, IDS, question));
      expect(answersOf(replica, target, question)).toEqual(answersOf(store, target, question));
      rows += IDS.length;
    }
  }
  return rows;
}
