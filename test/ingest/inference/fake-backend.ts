import { TidemarkError } from '../../../src/ground/errors.ts';
import {
  type Backend,
  BatchLost,
  type Encoded,
  type Ran,
  type Runner,
} from '../../../src/ingest/inference/backend.ts';
import type { BatchLimits } from '../../../src/ingest/inference/batches.ts';

/** A text is `name:tokens`; its vector is its tokens and the number in its name. */
export interface FakeText extends Encoded {
  text: string;
}

export function vectorOf(text: string): [number, number] {
  const [name = '', tokens = '1'] = text.split(':');
  return [Number(tokens), Number(name.replaceAll(/\D/g, '')) + 1];
}

/** Runs a batch when it is told to, or at once. A text with `poison` in its name kills it. */
export class FakeRunner implements Runner<FakeText> {
  readonly depth: number;
  /** Batches that were given and not answered, the one that runs first. */
  given: { texts: string[]; answer: PromiseWithResolvers<Ran> }[] = [];
  /** All that ever began to run. */
  ran: string[][] = [];
  /** Answers by itself, a turn later. */
  isAutomatic: boolean;
  /** Why it cannot start; a try that is under way waits for `retry`. */
  down: TidemarkError | undefined;
  retry = Promise.withResolvers<void>();
  starts = 0;
  /** Dies of whatever it runs. */
  isDoomed = false;

  constructor(depth: number, isAutomatic: boolean) {
    this.depth = depth;
    this.isAutomatic = isAutomatic;
  }

  async ready(): Promise<void> {
    this.starts++;
    if (this.down === undefined) return;
    if (this.starts > 1) await this.retry.promise;
    this.retry = Promise.withResolvers();
    if (this.down !== undefined) throw this.down;
  }

  async run(batch: readonly FakeText[]): Promise<Ran> {
    const answer = Promise.withResolvers<Ran>();
    this.given.push({ texts: batch.map(({ text }) => text), answer });
    if (this.isAutomatic) setImmediate(() => this.finish());
    return answer.promise;
  }

  /** Ends what runs: with vectors, or all that it holds with a death. */
  finish(): void {
    const [first] = this.given;
    if (first === undefined) return;
    this.ran.push(first.texts);
    const isLost = this.isDoomed || first.texts.some((text) => text.includes('poison'));
    if (isLost) return this.die();
    this.given.shift();
    const bad = first.texts.flatMap((text, at): [number, TidemarkError][] =>
      text.includes('bad') ? [[at, new TidemarkError('BAD_VECTOR', 'all zeros')]] : [],
    );
    const vectors = Float32Array.from(first.texts.flatMap(vectorOf));
    first.answer.resolve({ vectors, failures: new Map(bad), seconds: 0.5 });
  }

  die(): void {
    for (const [at, { answer }] of this.given.entries()) {
      answer.reject(new BatchLost('it died', at === 0));
    }
    this.given = [];
  }
}

export class FakeBackend implements Backend<FakeText> {
  readonly name = 'fake';
  readonly fingerprint = 'fake-1';
  readonly dim = 2;
  readonly limits: BatchLimits;
  readonly runners: FakeRunner[];
  isClosed = false;
  /** Texts of each count, in order. */
  encoded: string[][] = [];

  constructor({
    runners = 1,
    depth = 2,
    isAutomatic = false,
    limits = { rowsMax: 4, paddedTokensMax: 100 },
  } = {}) {
    this.limits = limits;
    this.runners = Array.from({ length: runners }, () => new FakeRunner(depth, isAutomatic));
  }

  async encode(texts: readonly string[]): Promise<(FakeText | TidemarkError)[]> {
    this.encoded.push([...texts]);
    if (texts.some((text) => text.includes('murder'))) throw new BatchLost('it died', true);
    return texts.map((text) =>
      text.startsWith('empty')
        ? new TidemarkError('BAD_INPUT', 'no tokens')
        : { text, tokens: vectorOf(text)[0], isTruncated: text.includes('long') },
    );
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}
