import type { LaneName } from './embedder.ts';

/** Of four tokens that run while both lanes wait, three are of requests. */
const SHARES = { rest: 3, nearline: 1 };
type Shared = keyof typeof SHARES;

/** For so many tokens of others one of a backfill's runs, so that it is over some day. */
const OTHERS_PER_BACKFILL = 19;

/**
 * Whose turn it is. A lane that did not wait has saved nothing for later. Backfills have what the
 * other two leave, and while these always wait, one token in twenty.
 */
export class FairShare {
  readonly #spent: Record<Shared, number> = { rest: 0, nearline: 0 };
  /** Tokens that backfills may have although others wait. */
  #owed = 0;

  /** The lane that has had the least for its share, of those that wait. */
  next(waits: (lane: LaneName) => boolean): LaneName | undefined {
    const lane = this.#nextShared(waits);
    const isWaiting = waits('backfill');
    if (!isWaiting || lane === undefined) this.#owed = 0;
    return isWaiting && (lane === undefined || this.#owed > 0) ? 'backfill' : lane;
  }

  /** Puts what a lane was given to its account. */
  charge(lane: LaneName, tokens: number): void {
    if (lane === 'backfill') {
      this.#owed -= tokens;
      return;
    }
    this.#spent[lane] += tokens / SHARES[lane];
    this.#owed += tokens / OTHERS_PER_BACKFILL;
  }

  #nextShared(waits: (lane: LaneName) => boolean): Shared | undefined {
    const rest = waits('rest');
    const nearline = waits('nearline');
    if (!rest && !nearline) return undefined;
    const spent = this.#spent;
    if (rest && nearline) return spent.rest <= spent.nearline ? 'rest' : 'nearline';
    const [lane, other]: [Shared, Shared] = rest ? ['rest', 'nearline'] : ['nearline', 'rest'];
    spent[other] = Math.max(spent[other], spent[lane]);
    return lane;
  }

  /** What part of all a lane gets, given whether the other one waits. */
  static part(lane: Shared, otherWaits: boolean): number {
    return otherWaits ? SHARES[lane] / (SHARES.rest + SHARES.nearline) : 1;
  }
}
