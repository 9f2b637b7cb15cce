import { TidemarkError } from '../ground/errors.ts';
import { Line } from './line.ts';

/**
 * Lives as a process of a supervisor: says when it cannot be what it was started for, and ends with
 * the supervisor, however that ends.
 */
export function liveAsChild(begin: (line: Line) => void): void {
  const line = new Line(process, (error) => {
    const known = error instanceof TidemarkError ? error : undefined;
    const message = known?.message ?? (error instanceof Error ? error.stack : undefined);
    line.tell('failed', {
      code: known?.code ?? 'INTERNAL',
      message: message ?? String(error),
    });
    // What was told is on its way by then.
    setImmediate(() => process.exit(1));
  });
  // Those of a terminal, or of a service manager, come to all processes: the supervisor's counts.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => {});
  process.on('disconnect', () => process.exit(1));
  begin(line);
}
