import { AssertionFailed } from '../../ground/assert.ts';
import { TidemarkError } from '../../ground/errors.ts';

/** Why a session is over: asked to, not to be tried again, or to be followed by another. */
export type SessionEnd =
  | { kind: 'stopped' }
  | { kind: 'halted'; message: string }
  | { kind: 'failed'; message: string };

/** The source must not go on before a person has looked. */
export class SourceHalted extends Error {
  override name = 'SourceHalted';
}

/** True when trying again cannot mend it, or could make it worse. */
export function isHalting(error: unknown): boolean {
  if (error instanceof AssertionFailed) return true;
  // A client wraps what its codecs throw.
  if (causes(error).some((cause) => cause instanceof SourceHalted)) return true;
  return (
    error instanceof TidemarkError &&
    (error.code === 'STORE_CORRUPT' || error.code === 'MODEL_DRIFTED')
  );
}

/** The end that an error brings. */
export function endOf(error: unknown): SessionEnd {
  return { kind: isHalting(error) ? 'halted' : 'failed', message: messageOf(error) };
}

/** What went wrong, from the innermost cause, which is what a person can act on. */
export function messageOf(error: unknown): string {
  return causes(error).at(-1)?.message ?? String(error);
}

function causes(error: unknown): Error[] {
  const found: Error[] = [];
  let at = error;
  while (at instanceof Error && !found.includes(at)) {
    found.push(at);
    at = at.cause;
  }
  return found;
}
