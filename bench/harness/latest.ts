import type { Store } from '../../src/store/store.ts';
import { ANY_AGE, type Question } from '../../src/timetravel/question.ts';

/** What is in force now, at any age. */
export function latestOf({ snapshot }: Store): Question {
  return {
    asOf: undefined,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: 0,
    snapshot,
  };
}
