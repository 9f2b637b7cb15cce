import type { Store } from '../../src/store/store.ts';
import type { JoinPlan, JoinRef } from '../../src/timetravel/join/plan.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';

/** A reference to a version, as it is where nothing else is said. */
export function refOf(store: Store, view = 'job', changes: Partial<JoinRef> = {}): JoinRef {
  const { versions, join_key } = store.catalogue.mustGetView(view);
  const { version, dim, dtype } = Object.values(versions)[0]!;
  return { name: view, view, version, dim, dtype, idColumn: join_key, maxAge: ANY_AGE, ...changes };
}

/** A join to the view `job` as the store is now. */
export function planOf(
  store: Store,
  {
    question,
    ...changes
  }: Partial<Omit<JoinPlan, 'question'>> & {
    question?: Partial<JoinPlan['question']>;
  } = {},
): JoinPlan {
  return {
    refs: [refOf(store)],
    question: {
      boundary: 'inclusive',
      knowledge: 'event',
      knownAt: undefined,
      now: 0,
      snapshot: store.snapshot,
      ...question,
    },
    timeColumn: 'event_timestamp',
    columns: { known: false, created: false },
    vectors: 'inline',
    order: 'spine',
    format: 'arrow',
    strict: false,
    ...changes,
  };
}
