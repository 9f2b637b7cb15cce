import { parseDuration } from '../../../src/ground/duration.ts';
import { formatInstant } from '../../../src/ground/time.ts';
import type { Case, Question } from '../cases.ts';

/** What Feast is given and asked; the names are those that ask.py reads. */
export interface Plan {
  views: { name: string; max_age_seconds: number }[];
  rows: { view: string; entity: string; event: string; created: string; value: number | null }[];
  /** `known`: leave out what was created after the row's moment. */
  spines: { view: string; known: boolean; rows: { entity: string; as_of: string }[] }[];
  latest: { view: string; entity: string }[];
}

/** A question of a case, and where its answer will be. */
export interface Asked {
  /** The case's number and which of its questions: `101.2`. */
  label: string;
  of: Case;
  question: Question;
  /** Its spine and row, or its place among the latest. */
  at: { spine: number; row: number } | { latest: number };
}

/** A question that Feast has no way to be asked, and what it lacks. */
export interface Unasked {
  label: string;
  lacks: string;
}

/**
 * What of the cases Feast can be asked. A model version is a feature view of its own, `max_age` its
 * ttl, a delete a row without a vector, and the known time Feast's created timestamp.
 */
export function planFeast(cases: readonly Case[]): {
  plan: Plan;
  asked: Asked[];
  unasked: Unasked[];
} {
  const plan: Plan = { views: [], rows: [], spines: [], latest: [] };
  const asked: Asked[] = [];
  const unasked: Unasked[] = [];
  for (const of of cases) {
    const spines = new Map<string, number>();
    const before = asked.length;
    of.questions.forEach((question, index) => {
      const label = `${of.number}.${index + 1}`;
      const lacks = lackOf(of, question);
      if (lacks === undefined)
        asked.push({ label, of, question, at: place(plan, spines, of, question) });
      else unasked.push({ label, lacks });
    });
    if (asked.length > before) addHistory(plan, of);
  }
  return { plan, asked, unasked };
}

/** Adds the question to the plan: the spine rows of one case, view and knowledge are one spine. */
function place(
  { spines, latest }: Plan,
  known: Map<string, number>,
  of: Case,
  { entity, as_of, knowledge, version }: Question,
): Asked['at'] {
  const view = viewName(of, version ?? of.view.versions[0]!);
  if (as_of === undefined) return { latest: latest.push({ view, entity }) - 1 };
  const key = `${view} ${knowledge}`;
  const spine = known.get(key) ?? spines.push({ view, known: knowledge === 'input', rows: [] }) - 1;
  known.set(key, spine);
  return { spine, row: spines[spine]!.rows.push({ entity, as_of: formatInstant(as_of) }) - 1 };
}

/** A row that Tidemark refuses is pushed all the same: Feast is to decide for itself. */
function addHistory({ views, rows }: Plan, of: Case): void {
  const { versions, max_age } = of.view;
  for (const version of versions) {
    views.push({
      name: viewName(of, version),
      max_age_seconds: max_age === undefined ? 0 : parseDuration(max_age) / 1e6,
    });
  }
  for (const row of of.history) {
    if (!('event' in row)) continue;
    for (const version of row.version === undefined ? versions : [row.version]) {
      rows.push({
        view: viewName(of, version),
        entity: row.entity,
        event: formatInstant(row.event),
        created: formatInstant(row.known),
        value: 'put' in row ? row.put : null,
      });
    }
  }
}

function viewName({ number }: Case, version: string): string {
  return `case_${number}_${version}`;
}

/** What Feast would need for the question and does not have. */
function lackOf({ history, view }: Case, question: Question): string | undefined {
  if (history.some((event) => 'erase' in event)) {
    return 'erasing an entity, so that it stays erased (A8)';
  }
  if (history.some((event) => 'horizon' in event)) {
    return 'a horizon before which nothing is answered (A10)';
  }
  if (question.at_snapshot !== undefined) return 'asking for a state that was (A9)';
  if (question.known_at !== undefined) {
    return 'a bound on what was known other than the moment of the row (A5)';
  }
  if (question.boundary === 'exclusive') return 'an exclusive boundary (A1)';
  if (question.knowledge === 'served' && question.as_of !== undefined) {
    return 'a created time beside the known time: it has one column for both (A5)';
  }
  if (question.max_age !== undefined) return 'a max_age of a question’s own (A6)';
  if (view.max_age !== undefined && question.now !== undefined && question.answer.value !== null) {
    return 'a clock that can be set: what was fresh in a case is old by now (A6)';
  }
  if (view.versions.length > 1 && question.version === undefined) {
    return 'a name for the model version in force (A14)';
  }
  return undefined;
}
