/** The part of the newest batch in the average. */
const WEIGHT = 0.1;

/** Tokens that one runner gets through in a second, as the last batches had it. */
export class ServiceRate {
  #secondsPerToken: number | undefined;

  note(tokens: number, seconds: number): void {
    const measured = seconds / tokens;
    const before = this.#secondsPerToken ?? measured;
    this.#secondsPerToken = before + (measured - before) * WEIGHT;
  }

  /** How long one runner takes for so many tokens; undefined before the first batch. */
  secondsFor(tokens: number): number | undefined {
    return this.#secondsPerToken === undefined ? undefined : tokens * this.#secondsPerToken;
  }
}
