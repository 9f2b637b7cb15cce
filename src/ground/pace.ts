import { setImmediate } from 'node:timers/promises';

/** Long work in the background holds up nobody for longer than this at a time, ms. */
const SLICE = 2;

/** Lets long work in slices share the thread with requests. */
export class Pace {
  private since = performance.now();

  /** Resolves at once within a slice, else when everybody else has had a turn. */
  async rest(): Promise<void> {
    if (performance.now() - this.since < SLICE) return;
    await setImmediate();
    this.since = performance.now();
  }
}
