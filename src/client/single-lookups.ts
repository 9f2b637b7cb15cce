import type { Numbers } from '../store/dtype.ts';
import { TidemarkRefused } from './errors.ts';
import type { LookupAnswer } from './lookup-answer.ts';
import type { CallOptions, EntityId, LookupRequest } from './requests.ts';
import { isPassing } from './retry.ts';
import type { Reason, Status } from './rows.ts';

/** What is known of one entity, in memory of its own. */
export interface EntityVector {
  feature_view: string;
  version: string;
  snapshot: number;
  status: Status;
  reason: Reason;
  /** µs since the epoch; −2^63 where there is none. */
  event_timestamp: bigint;
  /** Undefined where the entity is not PRESENT. */
  vector: Numbers | undefined;
  /** Of a vector of int8: what its numbers are times. */
  scale: number | undefined;
}

/** What is asked of one entity. */
export type SingleQuestion = Omit<LookupRequest, 'lookups'>;

/** Of one request; more go into several. */
const IDS_MAX = 1_000;

interface Waiting {
  feature_view: string;
  version: string | undefined;
  entityId: EntityId;
  found: PromiseWithResolvers<EntityVector>;
}

/**
 * Lookups of single entities that are asked for in the same turn of the event loop, as one request
 * for each question: a ranking service asks for them from many places at once.
 */
export class SingleLookups {
  private ask: (request: LookupRequest, options: CallOptions) => Promise<LookupAnswer>;
  private waiting = new Map<
    string,
    { question: SingleQuestion; options: CallOptions; all: Waiting[] }
  >();

  constructor(ask: (request: LookupRequest, options: CallOptions) => Promise<LookupAnswer>) {
    this.ask = ask;
  }

  async get(
    { feature_view, version }: { feature_view: string; version: string | undefined },
    entityId: EntityId,
    question: SingleQuestion,
    options: CallOptions,
  ): Promise<EntityVector> {
    const found = Promise.withResolvers<EntityVector>();
    const one: Waiting = { feature_view, version, entityId, found };
    if (options.signal !== undefined) {
      // Who may give up alone asks alone.
      void this.answer(question, options, [one]);
      return found.promise;
    }
    const key = JSON.stringify([question, options.deadlineMs]);
    if (this.waiting.size === 0) setImmediate(() => this.send());
    const together = this.waiting.get(key);
    if (together === undefined) this.waiting.set(key, { question, options, all: [one] });
    else together.all.push(one);
    return found.promise;
  }

  private send(): void {
    const groups = [...this.waiting.values()];
    this.waiting.clear();
    for (const { question, options, all } of groups) {
      for (let from = 0; from < all.length; from += IDS_MAX) {
        void this.answer(question, options, all.slice(from, from + IDS_MAX));
      }
    }
  }

  private async answer(
    question: SingleQuestion,
    options: CallOptions,
    all: readonly Waiting[],
  ): Promise<void> {
    const byView = Map.groupBy(all, ({ feature_view, version }) =>
      JSON.stringify([feature_view, version]),
    );
    const groups = [...byView.values()];
    const lookups = groups.map((group, at) => ({
      feature_view: group[0]!.feature_view,
      ...(group[0]!.version !== undefined && { version: group[0]!.version }),
      entity_ids: group.map(({ entityId }) => entityId),
      name: `r${at}`,
    }));
    try {
      using answer = await this.ask({ ...question, lookups }, options);
      groups.forEach((group, at) => {
        const result = answer.results[at]!;
        group.forEach(({ found }, row) =>
          found.resolve({
            feature_view: result.feature_view,
            version: result.version,
            snapshot: answer.snapshot,
            status: result.status(row),
            reason: result.reason(row),
            event_timestamp: result.event_timestamps[row]!,
            vector: result.vector(row)?.slice(),
            scale: result.scale(row),
          }),
        );
      });
    } catch (error) {
      if (groups.length > 1 && error instanceof TidemarkRefused && !isPassing(error.status)) {
        // What is wrong with one of them, or of so many together, is not wrong with the others.
        for (const group of groups) void this.answer(question, options, group);
        return;
      }
      for (const { found } of all) found.reject(error);
    }
  }
}
