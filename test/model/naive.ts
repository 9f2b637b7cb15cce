import type { Outcome } from '../../src/store/batch.ts';
import { type Horizon, NO_HORIZON } from '../../src/store/horizon.ts';
import { ANY_AGE, type Question } from '../../src/timetravel/question.ts';

/** A revision as the naive model keeps it. `value` stands for the vector; null is a delete. */
export interface Fact {
  event: number;
  known: number;
  created: number;
  seq: number;
  value: number | null;
}

export interface Answer {
  status: 'PRESENT' | 'NOT_FOUND' | 'OUTSIDE_MAX_AGE' | 'INVALID';
  reason: 'DELETED' | 'NOT_YET_KNOWN' | 'ERASED' | 'BEFORE_RETENTION' | null;
  fact: Fact | undefined;
}

/**
 * The rules of time written as naively as they read: a list of facts an entity, filtered and sorted
 * for every question. What it answers is right by inspection. It keeps every fact for ever, whatever
 * compaction drops: an answer that needed a dropped one would differ.
 */
export class NaiveStore {
  /** What lies before it cannot be asked any more (A10). */
  horizon: Horizon = NO_HORIZON;
  isErased: (id: string) => boolean = () => false;
  /** Facts that a compaction may have dropped, and those that one has. */
  readonly perhapsDropped = new Set<Fact>();
  readonly dropped = new Set<Fact>();
  private facts = new Map<string, Fact[]>();

  /** Takes a row in as the store must; what must become of it (A4). */
  add(id: string, fact: Fact): Outcome {
    return this.isDuplicate(id, fact) ? 'duplicate' : this.keep(id, fact);
  }

  /**
   * Whether the row says nothing new (A4). Undefined where only facts say so that a compaction may
   * have dropped.
   */
  isDuplicate(
    id: string,
    { event, known, value }: Pick<Fact, 'event' | 'known' | 'value'>,
  ): boolean | undefined {
    const equal = this.history(id).filter(
      (other) =>
        other.event === event &&
        other.known <= known &&
        other.value === value &&
        !this.dropped.has(other),
    );
    if (equal.some((other) => !this.perhapsDropped.has(other))) return true;
    return equal.length === 0 ? false : undefined;
  }

  keep(id: string, fact: Fact): 'latest' | 'history' {
    const kept = this.facts.get(id) ?? [];
    this.facts.set(id, kept);
    kept.push(fact);
    kept.sort(inOrder);
    return kept.at(-1) === fact ? 'latest' : 'history';
  }

  ask(id: string, question: Question): Answer {
    const { asOf, boundary, knowledge, knownAt, maxAge, now, snapshot } = question;
    if (this.isErased(id)) return miss('NOT_FOUND', 'ERASED');
    if (this.isBeforeHorizon(question)) return miss('INVALID', 'BEFORE_RETENTION');
    const inTime = this.history(id).filter(
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
      return miss('NOT_FOUND', inTime.length > 0 ? 'NOT_YET_KNOWN' : null);
    }
    if (fact.value === null) return { status: 'NOT_FOUND', reason: 'DELETED', fact };
    const isOld = maxAge !== ANY_AGE && (asOf ?? now) - fact.event > maxAge;
    return { status: isOld ? 'OUTSIDE_MAX_AGE' : 'PRESENT', reason: null, fact };
  }

  /** Whether the question reaches before the horizon: in time, in knowledge, or in its snapshot. */
  private isBeforeHorizon({ asOf, boundary, knownAt, snapshot }: Question): boolean {
    const { moment, seq } = this.horizon;
    const last = asOf !== undefined && boundary === 'exclusive' ? asOf - 1 : asOf;
    return (
      (last !== undefined && last < moment) ||
      (knownAt !== undefined && knownAt < moment) ||
      snapshot < seq
    );
  }

  ids(): string[] {
    return [...this.facts.keys()];
  }

  /** Every fact of the entity, in order. */
  history(id: string): readonly Fact[] {
    return this.facts.get(id) ?? [];
  }

  /**
   * The facts that retention lets go: of event times before that of what is in force at the horizon,
   * as it was then known and stored (A10). Those of its own event time stay: they tell a redelivery
   * from a correction (A4).
   */
  letGo(id: string): Fact[] {
    const { moment } = this.horizon;
    const facts = this.history(id);
    const inForce = facts.findLast(
      ({ event, known, created }) => event <= moment && known <= moment && created <= moment,
    );
    return inForce === undefined ? [] : facts.filter(({ event }) => event < inForce.event);
  }

  /** All that a compaction which begins now drops, if it ends well. */
  dropping(): Fact[] {
    return this.ids()
      .flatMap((id) => this.letGo(id))
      .filter((fact) => !this.dropped.has(fact));
  }

  /** The same facts, and which of them were dropped. */
  copy(): NaiveStore {
    const copy = new NaiveStore();
    copy.horizon = this.horizon;
    for (const [id, facts] of this.facts) copy.facts.set(id, [...facts]);
    for (const fact of this.dropped) copy.dropped.add(fact);
    for (const fact of this.perhapsDropped) copy.perhapsDropped.add(fact);
    return copy;
  }

  erase(id: string): void {
    this.facts.delete(id);
  }
}

function miss(status: Answer['status'], reason: Answer['reason']): Answer {
  return { status, reason, fact: undefined };
}

function inOrder(a: Fact, b: Fact): number {
  return a.event - b.event || a.known - b.known || a.seq - b.seq;
}
