import type { LaneName } from './embedder.ts';

/** Of four tokens that run while both lanes wait, three are of requests. */
const SHARES: Record<LaneName, number> = { rest: 3, nearline: 1 };

/** Whose turn it is. A lane that did not wait has saved nothing for later. */
export class FairShare {
  readonly #spent: Record<LaneName, number> = { rest: 0, nearline: 0 };

  /** The lane that has had the least for its share, of those that wait. */
  next(waits: (lane: LaneName) => boolean): LaneName | undefined {
    const rest = waits('rest');
    const nearline = waits('nearline');
    if (!rest && !nearline) return undefined;
    const spent = this.#spent;
    if (rest && nearline) return spent.rest <= spent.nearline ? 'rest' : 'nearline';
    const [lane, other]: [LaneName, LaneName] = rest ? ['rest', 'nearline'] : ['nearline', 'rest'];
    spent[other] = Math.max(spent[other], spent[lane]);
    return lane;
  }

  /** Puts what a lane was given to its account. */
  charge(lane: LaneName, tokens: number): void {
    this.#spent[lane] += tokens / SHARES[lane];
  }

  /** What part of all a lane gets, given whether the other one waits. */
  static part(lane: LaneName, otherWaits: boolean): number {
    return otherWaits ? SHARES[lane] / (SHARES.rest + SHARES.nearline) : 1;
  }
}
