import { TidemarkError } from '../ground/errors.ts';
import { ServerRefused, ServerUnreachable, UsageError } from './failure.ts';

/** What a command's end means to a script. Stable, and written in `--help`. */
export const EXIT = {
  fine: 0,
  /** The command worked and its answer is no: not found, rejected, damaged. */
  negative: 1,
  usage: 2,
  server: 3,
  /** Tidemark is wrong. */
  defect: 70,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_HELP = `
Exit codes:
  0   fine
  1   the answer is no: not found, records rejected, damage found, no such model, gates not passed
  2   wrong usage or configuration; a data directory that is locked or not Tidemark's
  3   the server cannot be reached, refused the request, or failed
  70  a defect of Tidemark's: please report it`;

/** What a server says no with. */
const ANSWERS: ReadonlySet<string> = new Set([
  'VIEW_NOT_FOUND',
  'VERSION_NOT_FOUND',
  'ERASURE_NOT_FOUND',
  'EXPORT_NOT_FOUND',
  'GATES_FAILED',
]);

/** What a command finds out, rather than what keeps it from its work. */
const IS_NO: ReadonlySet<string> = new Set(['MODEL_INVALID', 'STORE_CORRUPT', 'BACKUP_INVALID']);

/** How a command that failed ends, and what to tell the user. */
export function explainFailure(error: unknown): { code: ExitCode; message: string } {
  if (error instanceof UsageError) return { code: EXIT.usage, message: error.message };
  if (error instanceof ServerUnreachable) return { code: EXIT.server, message: error.message };
  if (error instanceof ServerRefused) {
    return { code: ANSWERS.has(error.code) ? EXIT.negative : EXIT.server, message: error.message };
  }
  if (error instanceof TidemarkError) {
    return {
      code: IS_NO.has(error.code) ? EXIT.negative : EXIT.usage,
      message: `${error.code}: ${error.message}`,
    };
  }
  // A file that is not there, a folder that may not be written: the system's words say it well.
  if (error instanceof Error && 'syscall' in error) {
    return { code: EXIT.usage, message: error.message };
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: EXIT.defect, message };
}
