import { isSystemError, systemWords } from '../ground/system-error.ts';
import { UsageError } from './failure.ts';

/** Reads a file that the command line names. Throws UsageError where that cannot be. */
export function readInput<T>(file: string, expected: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new UsageError(
      `${file} cannot be read (${systemWords(error)}): name a file with ${expected}, or - for the standard input`,
      { cause: error },
    );
  }
}
