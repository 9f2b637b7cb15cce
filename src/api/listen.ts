import type { FastifyInstance, FastifyListenOptions } from 'fastify';

import { TidemarkError } from '../ground/errors.ts';
import { isSystemError } from '../ground/system-error.ts';

/** What to do about an address that cannot be listened on. */
const REMEDIES: Record<string, string> = {
  EADDRINUSE: 'another program listens there: stop it, or set another port; 0 takes a free one',
  EACCES: 'only root may listen there: set a port from 1024 on',
  EADDRNOTAVAIL: 'this machine does not have that address: set one that it has, or 0.0.0.0 for all',
  ENOTFOUND: 'that name has no address: set one that has, or an address such as 127.0.0.1',
  EAI_AGAIN: 'that name has no address: set one that has, or an address such as 127.0.0.1',
};

/**
 * Listens; where it answers. `reusePort`: others may, too, and each has its share of the connections.
 * Throws BAD_CONFIG for an address that cannot be.
 */
export async function listen(
  server: FastifyInstance,
  host: string,
  port: number,
  reusePort = false,
): Promise<string> {
  const address: FastifyListenOptions & { reusePort: boolean } = { host, port, reusePort };
  try {
    return await server.listen(address);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    const remedy = REMEDIES[error.code ?? ''] ?? 'set another host or port';
    throw new TidemarkError(
      'BAD_CONFIG',
      `cannot listen on ${host}, port ${port} (${error.code}): ${remedy}`,
      { cause: error },
    );
  }
}
