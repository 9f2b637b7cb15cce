/** `closed`: requests go. `open`: none goes until its pause is over. `half_open`: a trial is out. */
export type CircuitState = 'closed' | 'open' | 'half_open';

export interface CircuitSettings {
  /** Failures in a row that open it. */
  failuresMax: number;
  /** ms, of a clock that never goes back. */
  now: () => number;
  /** After so many failures in a row, ms. */
  backoffMs: (failures: number) => number;
}

/** A pause that a server asks for, ms, beyond which nobody should be kept waiting for it. */
const PATIENCE_MS = 30_000;

/** Whether a server can be asked, and from when on: told by what became of the requests to it. */
export class Circuit {
  state: CircuitState = 'closed';
  /** What the last failure was. */
  why = '';
  readonly #settings: CircuitSettings;
  #failures = 0;
  #resumesAt = 0;

  constructor(settings: CircuitSettings) {
    this.#settings = settings;
  }

  /** Until the next request may go, ms: also of a closed one, after a failure. */
  get waitMs(): number {
    return Math.max(0, this.#resumesAt - this.#settings.now());
  }

  /** The server answered. A pause that it asked for of another request is kept. */
  succeeded(): void {
    this.#failures = 0;
    this.state = 'closed';
  }

  /** `asksMs`: how long the server asks to be left alone. `isFinal`: no retry would help. */
  failed(why: string, asksMs = 0, isFinal = false): void {
    const { now, backoffMs, failuresMax } = this.#settings;
    this.why = why;
    this.#failures++;
    const wait = Math.max(asksMs, backoffMs(this.#failures));
    this.#resumesAt = Math.max(this.#resumesAt, now() + wait);
    const isOver = isFinal || asksMs > PATIENCE_MS || this.#failures >= failuresMax;
    if (this.state !== 'closed' || isOver) this.state = 'open';
  }

  /** A single request goes out to see whether the server is there again. */
  tryOut(): void {
    this.state = 'half_open';
  }
}
