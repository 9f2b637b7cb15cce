/** Both in ms: the time, and how much of it the event loop has spent waiting for work. */
export interface LoopClocks {
  now: () => number;
  idle: () => number;
}

/** For how long one turn of the event loop works on requests before it looks for others. */
const TURN_MS = 5;

/** Of one turn, however short they are. */
const TURN_REQUESTS = 32;

/** A loop that waited for less had work at once. */
const IDLE_MS = 0.05;

interface Waiting {
  since: number;
  settle: (isLate: boolean) => void;
}

/** Refusals to one request that is let in: they cost little, and must not be all that is done. */
const REFUSALS = 4;

/**
 * Requests that wait for their turn. Without it they would wait where nobody sees them: the event
 * loop reads all that has come and works it off before it reads again, which a hundred requests make
 * a second. New connections and questions after the health of the process would wait as long; of
 * callers that leave nothing would be known, and nobody could be refused in time.
 *
 * A burst is worked off, first come, first served. Once the line has stood for twice the bound there
 * is more to do than can be done. Then the last to come is the first to be served: who has waited for
 * long has a caller that is about to give up, and would only keep the next one waiting as long. Who
 * has waited for longer than the bound is late.
 */
export class WaitingLine {
  private clocks: LoopClocks;
  private maxWaitMs: number;
  private line: Waiting[] = [];
  /** When the first came to wait since nobody did. */
  private standsSince = 0;
  private idleThen = 0;
  private turnBegan = 0;
  private isTurnKnown = false;
  /** Of requests, in this turn of the event loop; and when it ends. */
  private turns = 0;
  private ends: number | undefined;

  /** `maxWaitMs`: 0 for any. */
  constructor(maxWaitMs: number, clocks: LoopClocks) {
    this.maxWaitMs = maxWaitMs;
    this.clocks = clocks;
  }

  get length(): number {
    return this.line.length;
  }

  /** Nobody waits, and this turn of the event loop is young: a request need not join. */
  isFree(): boolean {
    return this.turnMs() < TURN_MS && this.line.length === 0;
  }

  /** `settle` is called when the request’s turn has come, or it is late. */
  join(settle: Waiting['settle']): void {
    const since = this.clocks.now();
    if (this.line.length === 0) this.standsSince = since;
    this.line.push({ since, settle });
    if (this.turns < TURN_REQUESTS) this.schedule();
  }

  /** One each: what a request sets off is done before the next has its turn. */
  private schedule(): void {
    this.turns++;
    setImmediate(() => this.next());
  }

  private next(): void {
    const now = this.clocks.now();
    this.ends ??= now + TURN_MS;
    if (now < this.ends) this.serve(now);
    if (--this.turns > 0) return;
    // The others after what has come meanwhile.
    this.ends = undefined;
    const count = Math.min(this.line.length, TURN_REQUESTS);
    for (let at = 0; at < count; at++) this.schedule();
  }

  private serve(now: number): void {
    const { line, maxWaitMs } = this;
    if (maxWaitMs === 0 || now - this.standsSince < 2 * maxWaitMs) {
      line.shift()?.settle(false);
      return;
    }
    for (let count = 0; count < REFUSALS; count++) {
      if (line.length === 0 || now - line[0]!.since <= maxWaitMs) break;
      line.shift()!.settle(true);
    }
    line.pop()?.settle(false);
  }

  /** For how long this turn of the event loop has been reading requests. */
  private turnMs(): number {
    const now = this.clocks.now();
    const idle = this.clocks.idle();
    if (idle - this.idleThen > IDLE_MS) {
      this.idleThen = idle;
      this.turnBegan = now;
    } else if (!this.isTurnKnown) {
      this.isTurnKnown = true;
      this.turnBegan = now;
      setImmediate(() => (this.isTurnKnown = false));
    }
    return now - this.turnBegan;
  }
}
