import type { GatesAnswer } from '../api/schemas/rollout.ts';

/** The command line asks for something that cannot be. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** The server answered, and the answer is a problem. */
export class ServerRefused extends Error {
  override name = 'ServerRefused';
  readonly status: number;
  /** The problem's stable code. */
  readonly code: string;
  /** What `Retry-After` says: seconds, or a date. */
  readonly retryAfter: string | null;
  /** Of a version that was not promoted. */
  readonly gates: GatesAnswer['gates'] | undefined;

  constructor(
    status: number,
    code: string,
    detail: string,
    retryAfter: string | null,
    gates?: GatesAnswer['gates'],
  ) {
    super(`${code}: ${detail}`);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
    this.gates = gates;
  }
}

/** Nothing that speaks for Tidemark answered. */
export class ServerUnreachable extends Error {
  override name = 'ServerUnreachable';
}
