import { loadConfig } from '../../src/config.ts';
import { startTidemark } from '../../src/main.ts';
import { FAULTS, POINTS } from './nearline-points.ts';

/** What a server is to meet: nothing, a death at a point, or a fault. */
export interface Order {
  config: Record<string, unknown>;
  strike?: { at: string; times: number };
}

/**
 * A server that is killed at a named point of its work, or meets a fault: `node nearline-child.ts
 * <order>`. It prints where it answers, and the fault once it has met it.
 */
async function main({ config, strike }: Order): Promise<void> {
  if (strike !== undefined) arm(strike);
  const tidemark = await startTidemark(loadConfig(config, {}));
  process.stdout.write(`${tidemark.url}\n`);
  process.once('SIGTERM', () => void tidemark.stop());
}

function arm({ at, times }: NonNullable<Order['strike']>): void {
  let count = 0;
  POINTS[at]?.arm(() => {
    if (++count === times) process.kill(process.pid, 'SIGKILL');
  });
  const fault = FAULTS[at];
  fault?.arm((self) => {
    count++;
    if (count === times) process.stdout.write(`${at}\n`);
    if (count >= times && count < times + fault.lasts) fault.does(self);
  });
}

if (import.meta.main) await main(JSON.parse(process.argv[2]!) as Order);
