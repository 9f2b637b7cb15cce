import { type Micros, MICROS_PER_SECOND } from './time.ts';

/** A clock is set by less than this in the ordinary course of things. */
const JUMP = 3_600 * MICROS_PER_SECOND;
/** One that stays ahead for so long is taken to be right. */
const PATIENCE = 24 * 3_600 * MICROS_PER_SECOND;

/**
 * Tells when the wall clock has gone ahead of the time that really passed: by a mistake, or because
 * it was wrong before. Times in µs; `passed` counts from any moment, and is never set.
 */
export class ClockWatch {
  /** How far the wall clock is ahead of `passed` when it is right. */
  private right: number;
  private aheadSince: number | undefined;

  constructor(now: Micros, passed: number) {
    this.right = now - passed;
  }

  isAhead(now: Micros, passed: number): boolean {
    const ahead = now - passed - this.right;
    if (ahead <= JUMP) {
      this.aheadSince = undefined;
      this.right = Math.min(this.right, now - passed);
      return false;
    }
    this.aheadSince ??= passed;
    if (passed - this.aheadSince < PATIENCE) return true;
    this.right = now - passed;
    this.aheadSince = undefined;
    return false;
  }
}
