import { TidemarkError } from '../ground/errors.ts';

/**
 * The long works on the files of a store, one at a time: compaction, backup, the removal of what was
 * erased. None of them sees the others' half-done work.
 */
export class Maintenance {
  private last: Promise<unknown> = Promise.resolve();
  private stopping = new AbortController();
  private stopped = new Map<string, AbortController>();
  private waiting = 0;

  /** Whether a work is going on or waits. */
  get busy(): boolean {
    return this.waiting > 0;
  }

  /**
   * Runs `work` when those before it are done. Its signal is aborted when the store closes, or when
   * `what` (a model version, where it is about one) goes.
   */
  async run<T>(what: string | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.waiting++;
    const before = this.last;
    const one = (async () => {
      await before;
      const signals = [this.stopping.signal];
      if (what !== undefined) signals.push(this.controllerOf(what).signal);
      const signal = AbortSignal.any(signals);
      signal.throwIfAborted();
      return work(signal);
    })();
    this.last = one.catch(() => {});
    try {
      return await one;
    } finally {
      this.waiting--;
    }
  }

  /** Ends the works about those versions that were asked so far, and resolves when they have ended. */
  async stop(names: readonly string[]): Promise<void> {
    if (!this.busy) return;
    for (const name of names) {
      const reason = new TidemarkError('VERSION_NOT_FOUND', `the model version ${name} is gone`);
      this.controllerOf(name).abort(reason);
    }
    await this.last;
    for (const name of names) this.stopped.delete(name);
  }

  /** Ends all works for good. */
  async close(): Promise<void> {
    this.stopping.abort(new TidemarkError('SHUTTING_DOWN', 'the store is closing'));
    await this.last;
  }

  private controllerOf(what: string): AbortController {
    let controller = this.stopped.get(what);
    if (controller === undefined) this.stopped.set(what, (controller = new AbortController()));
    return controller;
  }
}
