import { assert } from '../../ground/assert.ts';
import type { Ask, Item, ReadyItem } from './ask.ts';
import type { Encoded } from './backend.ts';
import { type BatchLimits, cutBatch } from './batches.ts';

/** Batches are cut from as many texts as this many of them hold: sorted by length, few are padded. */
const WINDOW_BATCHES = 8;
/** Texts whose tokens are counted together: few enough that the other lane's soon have their turn. */
const ENCODE_TEXTS = 64;
/** Until a text's tokens are counted they are guessed, from below for most scripts. */
const CHARS_PER_TOKEN = 4;

/** How much may wait in a lane. */
export interface LaneLimits {
  texts: number;
  tokens: number;
}

/**
 * What waits of one kind of callers: asks outside, then their texts, first uncounted, then with
 * their tokens. An ask goes in whole where the lane is not full, so one that is larger than the
 * lane gets through.
 */
export class Lane<E extends Encoded> {
  /** Texts that wait inside, and their tokens. */
  texts = 0;
  tokens = 0;
  readonly #limits: LaneLimits;
  readonly #batch: BatchLimits;
  #outside: Ask[] = [];
  #uncounted: Item<E>[] = [];
  /** By age. */
  #ready: ReadyItem<E>[] = [];

  constructor(limits: LaneLimits, batch: BatchLimits) {
    this.#limits = limits;
    this.#batch = batch;
  }

  get isFull(): boolean {
    return this.texts >= this.#limits.texts || this.tokens >= this.#limits.tokens;
  }

  /** Whether a batch can be cut. */
  get hasReady(): boolean {
    return this.#ready.length > 0;
  }

  /** Whether there are texts to count, and not more than a window's worth is counted already. */
  get wantsCounting(): boolean {
    return this.#uncounted.length > 0 && this.#ready.length < this.#windowTexts;
  }

  /** Lets an ask wait until there is room. */
  add(ask: Ask): void {
    this.#outside.push(ask);
  }

  /** Lets asks in while there is room. `nextSeq` numbers their texts. */
  admit(nextSeq: () => number): void {
    while (this.#outside.length > 0 && !this.isFull) {
      const ask = this.#outside.shift()!;
      for (const [index, text] of ask.texts.entries()) {
        const tokens = 1 + Math.ceil(text.length / CHARS_PER_TOKEN);
        this.#uncounted.push({ ask, index, seq: nextSeq(), tokens });
        this.tokens += tokens;
      }
      this.texts += ask.texts.length;
    }
  }

  /** The oldest texts that are to be counted; they wait in the lane all the while. */
  takeUncounted(): Item<E>[] {
    return this.#uncounted.splice(0, ENCODE_TEXTS);
  }

  /** Notes a text's tokens; false when nobody waits for it any more. */
  counted(item: Item<E>, encoded: E): void {
    if (item.ask.isOver) return this.leave(item);
    this.tokens += encoded.tokens - item.tokens;
    item.tokens = encoded.tokens;
    const ready: ReadyItem<E> = Object.assign(item, { encoded });
    const last = this.#ready.at(-1);
    if (last === undefined || last.seq < item.seq) this.#ready.push(ready);
    // One that had to be counted twice is older than those that were counted meanwhile.
    else
      this.#ready.splice(
        this.#ready.findIndex(({ seq }) => seq > item.seq),
        0,
        ready,
      );
  }

  /** Takes note that a text is gone from the lane. */
  leave({ tokens }: Item<E>): void {
    this.texts--;
    this.tokens -= tokens;
  }

  /** Takes the next batch: the oldest text, and those of the window that go well with it. */
  cut(): ReadyItem<E>[] {
    assert(this.#ready.length > 0, 'a batch is cut of texts that are ready');
    const window = this.#ready.slice(0, this.#windowTexts);
    const taken = new Set(
      cutBatch(
        window.map(({ tokens }) => tokens),
        this.#batch,
      ),
    );
    const batch = [...taken].map((index) => window[index]!);
    this.#ready = this.#ready.filter((_, index) => !taken.has(index));
    for (const item of batch) this.leave(item);
    return batch;
  }

  /** Forgets an ask that is over, and its texts. Those that are being counted leave when they are. */
  drop(ask: Ask): void {
    const isOther = (item: Item<E>): boolean => {
      if (item.ask === ask) this.leave(item);
      return item.ask !== ask;
    };
    this.#outside = this.#outside.filter((other) => other !== ask);
    this.#uncounted = this.#uncounted.filter(isOther);
    this.#ready = this.#ready.filter(isOther);
  }

  get #windowTexts(): number {
    return WINDOW_BATCHES * this.#batch.rowsMax;
  }
}
