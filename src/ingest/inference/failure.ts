import { type ErrorCode, TidemarkError } from '../../ground/errors.ts';

/** A TidemarkError as a message between threads: a structured clone would lose its code. */
export interface Failure {
  code: ErrorCode;
  message: string;
}

export function encodeFailure(error: TidemarkError): Failure {
  return { code: error.code, message: error.message };
}

export function decodeFailure(failure: Failure): TidemarkError {
  return new TidemarkError(failure.code, failure.message);
}

/** What an error of a foreign package says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
