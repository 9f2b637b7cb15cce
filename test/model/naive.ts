import type { Outcome } from '../../src/store/batch.ts';
import type { Question } from '../../src/timetravel/question.ts';

/** A revision as the naive model keeps it. `value` stands for the vector; null is a delete. */
export interface Fact {
  event: number;
  known: number;
  created: number;
  seq: number;
  value: number | null;
}

export interface Answer {
  status: 'PRESENT' | 'NOT_FOUND';
  reason: 'DELETED' | 'NOT_YET_KNOWN' | null;
  fact: Fact | undefined;
}

/**
 * The rules of time written as naively as they read: a list of facts an entity, filtered and sorted
 * for every question. What it answers is right by inspection.
 */
export class NaiveStore {
  private facts = new Map<string, Fact[]>();

  add(id: string, fact: Fact): Outcome {
    const kept = this.facts.get(id) ?? [];
    this.facts.set(id, kept);
    const isDuplicate = kept.some(
      (other) =>
        other.event === fact.event && other.known <= fact.known && other.value === fact.value,
    );
    if (isDuplicate) return 'duplicate';
    kept.push(fact);
    kept.sort(inOrder);
    return kept.at(-1) === fact ? 'latest' : 'history';
  }

  ask(id: string, { asOf, boundary, knowledge, knownAt, snapshot }: Question): Answer {
    const inTime = (this.facts.get(id) ?? []).filter(
      ({ event, seq }) =>
        seq <= snapshot &&
        (asOf === undefined || (boundary === 'inclusive' ? event <= asOf : event < asOf)),
    );
    const candidates = inTime.filter(
      ({ known, created }) =>
        (knownAt === undefined || known <= knownAt) &&
        (asOf === undefined || knowledge !== 'input' || known <= asOf) &&
        (asOf === undefined || knowledge !== 'served' || created <= asOf),
    );
    const fact = candidates.toSorted(inOrder).at(-1);
    if (fact === undefined) {
      return {
        status: 'NOT_FOUND',
        reason: inTime.length > 0 ? 'NOT_YET_KNOWN' : null,
        fact: undefined,
      };
    }
    return fact.value === null
      ? { status: 'NOT_FOUND', reason: 'DELETED', fact }
      : { status: 'PRESENT', reason: null, fact };
  }

  history(id: string): readonly Fact[] {
    return this.facts.get(id) ?? [];
  }
}

function inOrder(a: Fact, b: Fact): number {
  return a.event - b.event || a.known - b.known || a.seq - b.seq;
}
