import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';

import Fastify from 'fastify';
import { expect, onTestFinished, test, vi } from 'vitest';

import { limitsSchema } from '../../src/api/limits.ts';
import { sendLines } from '../../src/api/lines.ts';

/** A server whose one answer is these lines, and a caller who has asked for it. */
async function ask(lines: AsyncGenerator<Uint8Array>) {
  const server = Fastify();
  onTestFinished(async () => server.close());
  server.get('/', (request, reply) => sendLines(request, reply, lines, limitsSchema.parse({})));
  await server.listen({ port: 0, host: '127.0.0.1' });
  const { port } = server.server.address() as AddressInfo;
  const caller = connect(port, '127.0.0.1');
  onTestFinished(() => void caller.destroy());
  const connected = once(server.server, 'connection');
  caller.write('GET / HTTP/1.1\r\nhost: here\r\n\r\n');
  const [connection] = await connected;
  return { caller, connection };
}

test('what an answer holds is let go when its caller leaves before the first piece is made', async () => {
  const gate = Promise.withResolvers<void>();
  let [hasBegun, isReleased] = [false, false];
  async function* lines() {
    try {
      hasBegun = true;
      await gate.promise;
      yield Buffer.from('1\n');
      yield Buffer.from('2\n');
    } finally {
      isReleased = true;
    }
  }
  const { caller, connection } = await ask(lines());
  await vi.waitUntil(() => hasBegun);
  caller.destroy();
  await vi.waitUntil(() => connection.destroyed);
  gate.resolve();
  await expect.poll(() => isReleased).toBe(true);
});
