/**
 * Refuse to go on when Tidemark itself is wrong. For mistakes of callers there is `TidemarkError`;
 * an assertion that fails is a defect of ours, and the process is better restarted than trusted.
 */
export function assert(condition: unknown, message: string | (() => string)): asserts condition {
  if (!condition) {
    throw new AssertionFailed(typeof message === 'string' ? message : message());
  }
}

export class AssertionFailed extends Error {
  override name = 'AssertionFailed';
}
