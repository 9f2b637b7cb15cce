import { expect, test } from 'vitest';

import type { Store } from '../../src/store/store.ts';
import { gather, resolveMany, resolveSpine } from '../../src/timetravel/lookup.ts';
import { ANY_AGE, BOUNDARIES, KNOWLEDGE, type Question } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { batchOf, TestClock, type TestRow, testStore, viewOf } from '../support/store.ts';
import { NaiveStore } from './naive.ts';
import { seeded } from './random.ts';

interface Scenario {
  seed: number;
  entities: number;
  /** Event times are below this: the smaller, the more ties. */
  events: number;
  values: number;
  commits: number;
  rowsMax: number;
}

/** `MODEL_SEEDS` runs more of them, `MODEL_SEED` one of them again. */
const SEEDS =
  process.env['MODEL_SEED'] === undefined
    ? Array.from({ length: Number(process.env['MODEL_SEEDS'] ?? 6) }, (_, at) => at + 1)
    : [Number(process.env['MODEL_SEED'])];

const SCENARIOS = SEEDS.flatMap((seed): Scenario[] => [
  // Few moments: ties, corrections and redeliveries everywhere.
  { seed, entities: 3, events: 6, values: 2, commits: 60, rowsMax: 4 },
  // Long timelines: sealed chunks, splits, late rows far below the head.
  { seed, entities: 2, events: 4_000, values: 3, commits: 60, rowsMax: 60 },
  // Long ties: more revisions of one moment than a chunk holds.
  { seed, entities: 1, events: 2, values: 400, commits: 40, rowsMax: 40 },
]);

test.each(SCENARIOS)(
  'random revisions, late, tied, corrected, deleted and redelivered, answer every question as the naive model does (A1–A5, A7, A9): $seed, $events moments',
  async (scenario) => {
    const random = seeded(scenario.seed);
    const clock = new TestClock(1_000);
    const store = testStore(viewOf('job'), clock);
    const naive = new NaiveStore();
    const snapshots = [0];
    const sent: TestRow[] = [];
    for (let commit = 0; commit < scenario.commits; commit++) {
      // The clock of the machine may step back; created times may not.
      clock.now += random(40) - 5;
      const rows = Array.from({ length: 1 + random(scenario.rowsMax) }, () => {
        if (sent.length > 0 && random(10) === 0) return sent[random(sent.length)]!;
        return randomRow(random, scenario);
      });
      sent.push(...rows);
      const { snapshot, outcomes } = await store.commit('job', 'v1', { rows: batchOf(rows) });
      const created = createdOf(store, snapshot) ?? Number.NaN;
      const expected = rows.map(({ id, event, known, vector }, at) =>
        naive.add(id, {
          event,
          known: known ?? event,
          created,
          seq: snapshot - rows.length + 1 + at,
          value: vector && vector[0]!,
        }),
      );
      expect(outcomes).toEqual(expected);
      snapshots.push(snapshot);
    }
    for (let asked = 0; asked < 1_500; asked++) {
      const asOf = random(8) === 0 ? undefined : random(scenario.events + 2) - 1;
      const question: Question = {
        asOf: random(3) === 0 && asOf !== undefined ? asOf + random(1_500) : asOf,
        boundary: BOUNDARIES[random(2)]!,
        knowledge: KNOWLEDGE[random(3)]!,
        knownAt: random(2) === 0 ? undefined : random(scenario.events + 100),
        maxAge: ANY_AGE,
        now: 0,
        snapshot: random(2) === 0 ? store.snapshot : snapshots[random(snapshots.length)]!,
      };
      expectSame(store, naive, `e${random(scenario.entities + 1)}`, question);
    }
  },
);

function randomRow(random: (below: number) => number, scenario: Scenario): TestRow {
  const event = random(scenario.events);
  return {
    id: `e${random(scenario.entities)}`,
    event,
    known: event + random(4) * random(30),
    vector: random(5) === 0 ? null : [random(scenario.values), 1],
  };
}

/** The created time that the commit gave its rows; undefined when it stored none. */
function createdOf(store: Store, snapshot: number): number | undefined {
  const changes = store.version('job', 'v1').log.read(0, snapshot, Number.MAX_SAFE_INTEGER);
  return changes.at(-1)?.created;
}

function expectSame(store: Store, naive: NaiveStore, id: string, question: Question): void {
  const version = store.version('job', 'v1');
  const { status, reason, fact } = naive.ask(id, question);
  const resolution = resolveMany(version, [id], question);
  const vectors = new Float32Array(2);
  gather(version.vectors, resolution, new Uint8Array(vectors.buffer));
  const got = {
    status: STATUSES[resolution.statuses[0]!],
    reason: REASONS[resolution.reasons[0]!],
    event: resolution.events[0],
    known: resolution.knowns[0],
    created: resolution.createds[0],
    seq: resolution.seqs[0],
    value: status === 'PRESENT' ? vectors[0] : null,
  };
  expect(got, `${id} ${JSON.stringify(question)}`).toEqual({
    status,
    reason,
    event: fact?.event ?? Number.NaN,
    known: fact?.known ?? Number.NaN,
    created: fact?.created ?? Number.NaN,
    seq: fact?.seq ?? Number.NaN,
    value: fact?.value ?? null,
  });
  if (question.asOf !== undefined) {
    // A3: the join, row by row, is the same question.
    const { asOf, ...rest } = question;
    const spine = resolveSpine(version, [id], Float64Array.of(asOf), { ...rest, asOf: undefined });
    expect(spine).toEqual(resolution);
  }
}
