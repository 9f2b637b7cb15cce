import type { IncomingHttpHeaders } from 'node:http';

import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';

/** For how long the caller waits, ms: its own word, and what Envoy says of the routes before it. */
const FIELDS = ['x-request-timeout-ms', 'x-envoy-expected-rq-timeout-ms'] as const;

/** No timer of Node's waits longer. */
const LONGEST_MS = 2 ** 31 - 1;

/** How long the answer is waited for, ms; undefined where nobody says. Throws BAD_REQUEST. */
export function waitedFor(headers: IncomingHttpHeaders): number | undefined {
  let least: number | undefined;
  for (const field of FIELDS) {
    const text = headers[field];
    if (text === undefined) continue;
    if (typeof text !== 'string' || !/^\d{1,15}$/.test(text)) {
      throw new TidemarkError(
        'BAD_REQUEST',
        `the header ${field}: got ${excerpt(text)}, expected whole milliseconds, such as 250`,
      );
    }
    least = Math.min(least ?? LONGEST_MS, Number(text));
  }
  return least;
}

/** `stage`: what the request was at by then. */
export function deadlineExceeded(stage: string): TidemarkError {
  return new TidemarkError(
    'DEADLINE_EXCEEDED',
    `the time that the request’s headers give for the answer was over ${stage}`,
  );
}
