import { TidemarkError } from '../../ground/errors.ts';
import type { Item } from './ask.ts';
import type { BatchLost } from './backend.ts';

/** A batch that was lost so often with nobody else to blame is halved, or its one text fails. */
export const KILLS_MAX = 2;
/**
 * So many texts may be found to kill their model one after another. When nothing else ran between
 * them, it is more likely that the model fails on everything, as without memory, and none is to
 * blame for that.
 */
const CONVICTIONS_MAX = 3;

/** Finds whether it is a text or the model that is to blame for batches that were lost. */
export class Blame {
  /** Texts that were found to kill the model since a batch last ran. */
  #convictions = 0;

  /** The model works: what it died of were the texts. */
  acquit(): void {
    this.#convictions = 0;
  }

  /** What is to be said of a text that killed the model by itself: INFERENCE_FAILED of the text, MODEL_UNAVAILABLE of all. */
  convict({ message }: BatchLost): TidemarkError {
    if (++this.#convictions > CONVICTIONS_MAX) {
      return new TidemarkError('MODEL_UNAVAILABLE', `the model fails on every text: ${message}`);
    }
    return new TidemarkError(
      'INFERENCE_FAILED',
      `the model failed on this text again and again, also when it ran alone: ${message}`,
    );
  }
}

export function halves<T>(items: readonly T[]): [T[], T[]] {
  const middle = Math.ceil(items.length / 2);
  return [items.slice(0, middle), items.slice(middle)];
}

/** A half is known for the whole's deaths, all but a text by itself: that one must earn its own. */
export function killsOfHalf(half: readonly Item[]): number {
  return half.length === 1 ? 0 : KILLS_MAX - 1;
}
