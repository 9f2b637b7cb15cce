/** Whether the system, and not the program, says what is wrong: a file, a disk, an address. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}

/** What the system says, without the path that it says it of: that may be nobody else's business. */
export function systemWords(error: NodeJS.ErrnoException): string {
  return error.message.replace(/, \w+(?: '.*)?$/s, '');
}
