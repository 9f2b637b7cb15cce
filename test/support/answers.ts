import type { CatalogueEvent } from '../../src/store/catalogue.ts';
import type { Store } from '../../src/store/store.ts';
import type { VersionStore } from '../../src/store/version-store.ts';
import { readHistory } from '../../src/timetravel/history.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE, KNOWLEDGE, type Question } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';

/** Whom and when is asked about. */
export interface Asked {
  ids: readonly string[];
  /** Times and moments, µs. */
  moments: readonly number[];
  /** The state that is asked; the feed goes up to it. */
  snapshot: number;
}

/**
 * All that a store answers, by what was asked: every entity of every version at every moment, with
 * its vector; every timeline; and the feed. What throws is answered with its code.
 */
export function answersOf(store: Store, asked: Asked): Map<string, string> {
  const answers = new Map<string, string>();
  const note = (question: string, answer: () => unknown): void => {
    answers.set(question, attempt(answer));
  };
  for (const { name, versions } of store.catalogue.views()) {
    note(`the view ${name}`, () => store.catalogue.mustGetView(name));
    for (const each of Object.keys(versions)) {
      const version = store.version(name, each);
      for (const id of asked.ids) {
        for (const question of questionsOf(asked)) {
          note(`${name}@${each} ${id} ${JSON.stringify(question)}`, () =>
            answerOf(version, id, question),
          );
        }
        note(`${name}@${each} timeline of ${id}`, () => historyOf(version, id, asked.snapshot));
      }
    }
  }
  note('the feed', () => feedOf(store, asked.snapshot));
  return answers;
}

/** Where two stores' answers are not the same, each cut to what can be read. */
export function differences(
  expected: ReadonlyMap<string, string>,
  got: ReadonlyMap<string, string>,
): string[] {
  return [...new Set([...expected.keys(), ...got.keys()])].flatMap((question) => {
    const [a = 'nothing', b = 'nothing'] = [expected.get(question), got.get(question)];
    if (a === b) return [];
    let at = 0;
    while (a[at] === b[at]) at++;
    const from = Math.max(0, at - 40);
    return [`${question}: …${b.slice(from, at + 80)}, expected …${a.slice(from, at + 80)}`];
  });
}

function attempt(answer: () => unknown): string {
  try {
    return JSON.stringify(answer());
  } catch (error) {
    const { code } = error as { code?: string };
    return `throws ${code ?? String(error)}`;
  }
}

function questionsOf({ moments, snapshot }: Asked): Question[] {
  return [undefined, ...moments].flatMap((asOf) =>
    KNOWLEDGE.map((knowledge): Question => ({
      asOf,
      boundary: 'inclusive',
      knowledge,
      knownAt: undefined,
      maxAge: ANY_AGE,
      now: 0,
      snapshot,
    })),
  );
}

function answerOf(version: VersionStore, id: string, question: Question): unknown[] {
  const resolution = resolveMany(version, [id], question);
  const vector = new Uint8Array(version.vectors.vectorBytes);
  gather(version.vectors, resolution, vector);
  return [
    STATUSES[resolution.statuses[0]!],
    REASONS[resolution.reasons[0]!],
    resolution.events[0],
    resolution.knowns[0],
    resolution.createds[0],
    resolution.seqs[0],
    Buffer.from(vector).toString('hex'),
  ];
}

function historyOf(version: VersionStore, id: string, snapshot: number): unknown[] {
  const { MIN_SAFE_INTEGER: from, MAX_SAFE_INTEGER: to } = Number;
  const range = { from, to, below: undefined, snapshot };
  return readHistory(version, id, range, Number.POSITIVE_INFINITY);
}

function feedOf(store: Store, snapshot: number): unknown[] {
  const told: unknown[] = [];
  for (let after = 0; after < snapshot;) {
    const { items, upTo } = store.changes({ after, upTo: snapshot, limit: 1_000 });
    for (const item of items) {
      if ('event' in item) {
        told.push(plain(item.event));
        continue;
      }
      const { view, version } = item.version;
      for (const change of item.changes) told.push([view, version, change]);
    }
    if (upTo <= after) break;
    after = upTo;
  }
  return told;
}

function plain(event: CatalogueEvent): unknown {
  return 'hashes' in event
    ? { ...event, hashes: Buffer.from(event.hashes).toString('hex') }
    : event;
}
