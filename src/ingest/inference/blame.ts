import { hash } from 'node:crypto';

import { TidemarkError } from '../../ground/errors.ts';
import type { Item } from './ask.ts';
import type { BatchLost } from './backend.ts';

/** A batch that was lost so often with nobody else to blame is halved, or its one text fails. */
export const KILLS_MAX = 2;
/** Convicted texts that are remembered. */
const CONVICTED_MAX = 10_000;

/** The texts that were found to kill their model, by their hashes, the oldest first. */
export class Convicts {
  #verdicts = new Map<string, TidemarkError>();

  /** What is said of a text from now on; it is not given to the model again. */
  add(text: string, { message }: BatchLost): TidemarkError {
    const verdict = new TidemarkError(
      'INFERENCE_FAILED',
      `the model failed on this text again and again, also when it ran alone: ${message}`,
    );
    this.#verdicts.set(nameOf(text), verdict);
    for (const name of this.#verdicts.keys()) {
      if (this.#verdicts.size <= CONVICTED_MAX) break;
      this.#verdicts.delete(name);
    }
    return verdict;
  }

  /** What was found of a text before. */
  verdictOn(text: string): TidemarkError | undefined {
    return this.#verdicts.size === 0 ? undefined : this.#verdicts.get(nameOf(text));
  }
}

function nameOf(text: string): string {
  return hash('sha256', text, 'base64');
}

export function halves<T>(items: readonly T[]): [T[], T[]] {
  const middle = Math.ceil(items.length / 2);
  return [items.slice(0, middle), items.slice(middle)];
}

/** A half is known for the whole's deaths, all but a text by itself: that one must earn its own. */
export function killsOfHalf(half: readonly Item[]): number {
  return half.length === 1 ? 0 : KILLS_MAX - 1;
}
