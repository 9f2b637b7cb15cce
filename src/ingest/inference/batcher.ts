import { TidemarkError, TryLater } from '../../ground/errors.ts';
import { Ask, type Item, type ReadyItem } from './ask.ts';
import {
  type Backend,
  BatchLost,
  type Encoded,
  type Ran,
  type Runner,
  TRIAL_TEXT,
} from './backend.ts';
import { Convicts, halves, KILLS_MAX, killsOfHalf } from './blame.ts';
import { Counting } from './counting.ts';
import type { AskOptions, Embedded, Embedder, LaneName } from './embedder.ts';
import { messageOf } from './failure.ts';
import { FairShare } from './fair-share.ts';
import { Lane, type LaneLimits } from './lane.ts';
import type { ModelMetrics } from './metrics.ts';
import { ServiceRate } from './service-rate.ts';

const RETRY_AFTER_MAX_SECONDS = 60;
/** Texts whose tokens are only counted, at a time: those that are to run soon have their turn. */
const COUNT_TEXTS = 64;

export interface BatcherSettings {
  /** Of each lane. */
  queue: LaneLimits;
  /** ms, of a clock that never goes back. */
  now: () => number;
  metrics: ModelMetrics;
}

export interface BatcherStatus {
  state: 'warming' | 'warm' | 'failed';
  message?: string;
}

interface Batch<E extends Encoded> {
  items: readonly ReadyItem<E>[];
  /** How often it was lost and blamed. */
  kills: number;
  /** It, or what it was cut from, was blamed before: it runs with nothing else, and is told apart. */
  isSuspect: boolean;
}

interface Slot<E extends Encoded> {
  runner: Runner<E>;
  state: BatcherStatus['state'];
  /** Batches that it holds. */
  held: number;
  /** It holds a batch that was blamed before: nothing else is to be lost with that. */
  isAlone: boolean;
}

/**
 * One queue between the callers of a model and its runners. A batch is cut when a runner has room
 * for one, of texts of whoever asked: nothing waits for a batch to fill.
 *
 *   asks → lane rest     → texts → counted ┐  whose turn?   ┌ runner: runs one, holds the next
 *   asks → lane nearline → texts → counted ┼→ cut a batch → ┴ runner
 *   asks → lane backfill → texts → counted ┘
 */
export class Batcher<E extends Encoded> implements Embedder {
  readonly fingerprint: string;
  readonly dim: number;
  readonly #backend: Backend<E>;
  readonly #now: () => number;
  readonly #metrics: ModelMetrics;
  readonly #lanes: Record<LaneName, Lane<E>>;
  readonly #slots: Slot<E>[];
  readonly #counting: Counting<E>;
  readonly #runTurns = new FairShare();
  readonly #rate = new ServiceRate();
  readonly #convicts = new Convicts();
  readonly #asks = new Set<Ask>();
  /** Batches that were lost, the first to go. */
  #again: Batch<E>[] = [];
  /** A text that is beyond doubt, while it is on its way. */
  #trial: { ask: Ask; over: Promise<void> } | undefined;
  #lastSeq = 0;
  #down: TidemarkError | undefined;
  #closing: Promise<void> | undefined;
  readonly #drained = Promise.withResolvers<void>();

  constructor(backend: Backend<E>, { queue, now, metrics }: BatcherSettings) {
    this.#backend = backend;
    this.fingerprint = backend.fingerprint;
    this.dim = backend.dim;
    this.#now = now;
    this.#lanes = {
      rest: new Lane(queue, backend.limits),
      nearline: new Lane(queue, backend.limits),
      backfill: new Lane(queue, backend.limits),
    };
    this.#metrics = metrics;
    metrics.watch(() => this.#lanes);
    this.#counting = new Counting({
      backend,
      lanes: this.#lanes,
      now,
      metrics,
      refuse: (item, failure) => this.#refuse(item, failure),
      fail: (ask, reason) => this.#fail(ask, reason),
      verdictOn: (text) => this.#convicts.verdictOn(text),
      convict: (item, lost) => void this.#convict(item, lost),
      moved: () => this.#pump(),
    });
    this.#slots = backend.runners.map((runner) => ({
      runner,
      state: 'warming',
      held: 0,
      isAlone: false,
    }));
    for (const slot of this.#slots) void this.#await(slot);
  }

  /** What can be said of the runners: one that is warm is enough to go on. */
  get status(): BatcherStatus {
    if (this.#slots.some(({ state }) => state === 'warm')) return { state: 'warm' };
    if (this.#down === undefined) return { state: 'warming' };
    return { state: 'failed', message: this.#down.message };
  }

  async embed(texts: readonly string[], options: AskOptions): Promise<Embedded> {
    const { lane, signal } = options;
    if (this.#closing !== undefined) throw closed();
    if (texts.length === 0) return { vectors: new Float32Array(0), failures: new Map() };
    signal?.throwIfAborted();
    if (this.#down !== undefined) throw this.#noted(this.#down);
    if (lane === 'rest' && this.#lanes.rest.isFull) throw this.#noted(this.#overloaded());
    const ask = new Ask(texts, options, this.dim, this.#now());
    this.#asks.add(ask);
    const onAbort = (): void => this.#end(ask, signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#lanes[lane].add(ask);
    this.#pump();
    try {
      return await ask.answer;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#answered(ask);
    }
  }

  async countTokens(texts: readonly string[]): Promise<number> {
    let tokens = 0;
    for (let from = 0; from < texts.length; from += COUNT_TEXTS) {
      const encoded = await this.#backend.encode(texts.slice(from, from + COUNT_TEXTS));
      for (const one of encoded) if (!(one instanceof TidemarkError)) tokens += one.tokens;
    }
    return tokens;
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  #answered(ask: Ask): void {
    this.#asks.delete(ask);
    if (this.#isOver) this.#drained.resolve();
  }

  async #close(): Promise<void> {
    if (this.#asks.size > 0) await this.#drained.promise;
    await this.#backend.close();
    this.#metrics.forget();
  }

  /** Moves on whatever can move. Called after everything that may have made room or work. */
  #pump(): void {
    for (const lane of Object.values(this.#lanes)) lane.admit(() => ++this.#lastSeq);
    this.#counting.pump();
    for (const slot of this.#slots) {
      for (let batch = this.#next(slot); batch !== undefined; batch = this.#next(slot)) {
        this.#start(slot, batch);
      }
    }
  }

  /** The next batch for a runner, or undefined where it has no room or there is none. */
  #next({ state, runner, held, isAlone }: Slot<E>): Batch<E> | undefined {
    if (state !== 'warm' || held >= runner.depth || isAlone) return undefined;
    while (this.#again.length > 0) {
      const [first] = this.#again as [Batch<E>];
      const items = first.items.filter(({ ask }) => !ask.isOver);
      if (items.length > 0) {
        // A suspect runs by itself, so that what happens to it is its own doing; until a runner has
        // nothing else, none is given more.
        if (held > 0) return undefined;
        this.#again.shift();
        return { ...first, items };
      }
      this.#again.shift();
    }
    const turn = this.#runTurns.next((lane) => this.#lanes[lane].hasReady);
    if (turn === undefined) return undefined;
    const items = this.#lanes[turn].cut();
    this.#runTurns.charge(turn, tokensOf(items));
    const now = this.#now();
    for (const { ask } of items) this.#metrics.waited(turn, (now - ask.since) / 1_000);
    return { items, kills: 0, isSuspect: false };
  }

  #start(slot: Slot<E>, batch: Batch<E>): void {
    slot.held++;
    slot.isAlone = batch.isSuspect;
    void this.#run(slot, batch).finally(() => {
      slot.held--;
      slot.isAlone = false;
      this.#pump();
    });
  }

  async #run(slot: Slot<E>, batch: Batch<E>): Promise<void> {
    let ran: Ran;
    try {
      ran = await slot.runner.run(batch.items.map(({ encoded }) => encoded));
    } catch (error) {
      if (error instanceof BatchLost) this.#lost(slot, batch, error);
      else for (const { ask } of batch.items) this.#fail(ask, error);
      return;
    }
    const tokens = tokensOf(batch.items);
    const longest = Math.max(...batch.items.map((item) => item.tokens));
    this.#rate.note(tokens, ran.seconds);
    this.#metrics.ran(ran.seconds, batch.items.length, tokens, batch.items.length * longest);
    for (const [row, item] of batch.items.entries()) {
      item.ask.tokens += item.tokens;
      const failure = ran.failures.get(row);
      if (failure === undefined) item.ask.take(item.index, ran.vectors, row);
      else this.#refuse(item, failure);
    }
  }

  #lost(slot: Slot<E>, batch: Batch<E>, error: BatchLost): void {
    if (slot.state === 'warm') {
      slot.state = 'warming';
      void this.#await(slot);
    }
    const kills = batch.kills + (error.isBlamed ? 1 : 0);
    const isSuspect = batch.isSuspect || error.isBlamed;
    if (kills < KILLS_MAX) this.#again.unshift({ ...batch, kills, isSuspect });
    else if (batch.items.length === 1) void this.#convict(batch.items[0]!, error);
    else {
      const parts = halves(batch.items).map((items) => ({
        items,
        kills: killsOfHalf(items),
        isSuspect,
      }));
      this.#again.unshift(...parts);
    }
  }

  /** Waits until a runner can run; while none can, those who wait hear why. */
  async #await(slot: Slot<E>): Promise<void> {
    while (slot.state !== 'warm') {
      try {
        await slot.runner.ready();
        slot.state = 'warm';
        this.#down = undefined;
      } catch (error) {
        if (this.#isOver) return;
        slot.state = 'failed';
        if (this.#slots.every(({ state }) => state === 'failed')) this.#fall(error);
      }
    }
    this.#pump();
  }

  get #isOver(): boolean {
    return this.#closing !== undefined && this.#asks.size === 0;
  }

  #fall(error: unknown): void {
    const reason =
      error instanceof TidemarkError
        ? error
        : new TidemarkError('MODEL_UNAVAILABLE', messageOf(error), { cause: error });
    this.#down = reason;
    this.#again = [];
    for (const ask of this.#asks) this.#fail(ask, reason);
  }

  /**
   * Fails the text that killed the model by itself; where the model fails on any, as without memory,
   * that text is not to blame, and who asked hears MODEL_UNAVAILABLE. Never rejects.
   */
  async #convict(item: Item<E>, lost: BatchLost): Promise<void> {
    const { ask, index } = item;
    if (ask === this.#trial?.ask) return this.#fail(ask, failsOnAny(lost));
    try {
      await this.#tryOut();
    } catch (error) {
      return this.#fail(ask, error);
    }
    this.#refuse(item, this.#convicts.add(ask.texts[index]!, lost));
  }

  /** Has a text run that is beyond doubt, by itself. Rejects with why it does not. */
  async #tryOut(): Promise<void> {
    if (this.#trial === undefined) {
      const ask = new Ask([TRIAL_TEXT], { lane: 'rest' }, this.dim, this.#now());
      this.#asks.add(ask);
      const over = this.#runAlone(ask).finally(() => {
        this.#trial = undefined;
        this.#answered(ask);
      });
      this.#trial = { ask, over };
    }
    await this.#trial.over;
  }

  async #runAlone(ask: Ask): Promise<void> {
    const queue = async (): Promise<void> => {
      const [encoded] = await this.#backend.encode(ask.texts);
      // Then it cannot be tried; what counts tokens lives.
      if (encoded === undefined || encoded instanceof TidemarkError) return ask.refuse(0, encoded!);
      const item = { ask, index: 0, seq: 0, tokens: encoded.tokens, encoded };
      this.#again.unshift({ items: [item], kills: 0, isSuspect: true });
      this.#pump();
    };
    queue().catch((error: unknown) =>
      this.#fail(ask, error instanceof BatchLost ? failsOnAny(error) : error),
    );
    await ask.answer;
  }

  #refuse({ ask, index }: Item<E>, failure: TidemarkError): void {
    if (ask.isOver) return;
    this.#metrics.failed(failure.code);
    ask.refuse(index, failure);
  }

  #fail(ask: Ask, reason: unknown): void {
    if (ask.isOver) return;
    this.#metrics.failed(reason instanceof TidemarkError ? reason.code : 'INTERNAL');
    this.#end(ask, reason);
  }

  /** Ends an ask: what of it does not run yet leaves the queue, and makes room. */
  #end(ask: Ask, reason: unknown): void {
    if (ask.isOver) return;
    ask.fail(reason);
    this.#lanes[ask.lane].drop(ask);
    this.#pump();
  }

  #noted(error: TidemarkError): TidemarkError {
    this.#metrics.failed(error.code);
    return error;
  }

  /** Says to come back when half of what waits has run: then there is room, and still work. */
  #overloaded(): TryLater {
    const { rest, nearline } = this.#lanes;
    const runners = this.#slots.filter(({ state }) => state === 'warm').length;
    const alone = this.#rate.secondsFor(rest.tokens / 2) ?? 0;
    const part = FairShare.part('rest', nearline.texts > 0);
    const seconds = Math.ceil(alone / Math.max(1, runners) / part);
    return new TryLater(
      'OVERLOADED',
      `${rest.texts} texts wait for the model ${this.#backend.name} already: try again later`,
      Math.min(RETRY_AFTER_MAX_SECONDS, Math.max(1, seconds)),
    );
  }
}

function tokensOf(items: readonly Item[]): number {
  return items.reduce((sum, { tokens }) => sum + tokens, 0);
}

function failsOnAny({ message }: BatchLost): TidemarkError {
  return new TidemarkError('MODEL_UNAVAILABLE', `the model fails on every text: ${message}`);
}

function closed(): TidemarkError {
  return new TidemarkError('SHUTTING_DOWN', 'the embedder is closed and takes no more texts');
}
