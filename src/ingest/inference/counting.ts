import { TidemarkError } from '../../ground/errors.ts';
import type { Ask, Item } from './ask.ts';
import { type Backend, BatchLost, type Encoded } from './backend.ts';
import { halves, KILLS_MAX, killsOfHalf } from './blame.ts';
import type { LaneName } from './embedder.ts';
import { FairShare } from './fair-share.ts';
import type { Lane } from './lane.ts';
import type { ModelMetrics } from './metrics.ts';

/** Counts of tokens that are under way at once: the next is there when one is done. */
const COUNTS_AT_ONCE = 2;

export interface CountingParts<E extends Encoded> {
  backend: Backend<E>;
  lanes: Record<LaneName, Lane<E>>;
  /** ms, of a clock that never goes back. */
  now: () => number;
  metrics: ModelMetrics;
  /** A text has no vector, and why. */
  refuse: (item: Item<E>, failure: TidemarkError) => void;
  /** Who asked has no answer, and why. */
  fail: (ask: Ask, reason: unknown) => void;
  /** Why a text has no vector, where it is known to kill the model. */
  verdictOn: (text: string) => TidemarkError | undefined;
  /** A text killed what counts, by itself. */
  convict: (item: Item<E>, lost: BatchLost) => void;
  /** There may be room, or work. */
  moved: () => void;
}

/** Counts the tokens of the texts that wait in the lanes, which have their turns. */
export class Counting<E extends Encoded> {
  readonly #parts: CountingParts<E>;
  readonly #turns = new FairShare();
  #underWay = 0;

  constructor(parts: CountingParts<E>) {
    this.#parts = parts;
  }

  /** Starts what can be started. */
  pump(): void {
    const { lanes, moved } = this.#parts;
    while (this.#underWay < COUNTS_AT_ONCE) {
      const turn = this.#turns.next((lane) => lanes[lane].wantsCounting);
      if (turn === undefined) break;
      const items = lanes[turn].takeUncounted();
      this.#turns.charge(turn, items.length);
      this.#underWay++;
      void this.#count(items, 0).finally(() => {
        this.#underWay--;
        moved();
      });
    }
  }

  /** Texts that cannot be counted fail alone. Never rejects. */
  async #count(taken: readonly Item<E>[], kills: number): Promise<void> {
    const { backend, lanes, now, metrics, refuse, fail, convict } = this.#parts;
    const start = now();
    const items = taken.filter((item) => !this.#isConvicted(item));
    if (items.length === 0) return;
    const texts = items.map(({ ask, index }) => ask.texts[index]!);
    let encoded: (E | TidemarkError)[];
    try {
      encoded = await backend.encode(texts);
    } catch (error) {
      if (!(error instanceof BatchLost)) for (const { ask } of items) fail(ask, error);
      else if (!error.isBlamed || kills + 1 < KILLS_MAX) {
        return this.#count(items, kills + (error.isBlamed ? 1 : 0));
      } else if (items.length > 1) {
        for (const half of halves(items)) await this.#count(half, killsOfHalf(half));
        return;
      } else convict(items[0]!, error);
      for (const item of items) lanes[item.ask.lane].leave(item);
      return;
    }
    let truncated = 0;
    for (const [at, item] of items.entries()) {
      const one = encoded[at]!;
      const lane = lanes[item.ask.lane];
      if (one instanceof TidemarkError) {
        lane.leave(item);
        refuse(item, one);
      } else {
        if (one.isTruncated) truncated++;
        lane.counted(item, one);
      }
    }
    metrics.tokenised((now() - start) / 1_000, truncated);
  }

  #isConvicted(item: Item<E>): boolean {
    const { lanes, refuse, verdictOn } = this.#parts;
    const { ask, index } = item;
    const verdict = verdictOn(ask.texts[index]!);
    if (verdict === undefined) return false;
    lanes[ask.lane].leave(item);
    refuse(item, verdict);
    return true;
  }
}
