import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';

import { expect, onTestFinished, test, vi } from 'vitest';

import { fetchPatiently } from '../../src/cli/patience.ts';

/** Never at its end, and more than a connection holds. */
function* endless(): Generator<Buffer> {
  for (;;) yield Buffer.alloc(2 ** 20);
}

test('a body that is refused before it was sent whole keeps no connection open', async () => {
  let open = 0;
  const server = createServer((_request, response) => {
    response.writeHead(422, { 'content-type': 'application/json' });
    response.end('{"code":"BAD_REQUEST"}');
  });
  server.keepAliveTimeout = 0;
  server.on('connection', (socket) => {
    open++;
    socket.once('close', () => open--);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const body = Readable.from(endless());
  const answer = await fetchPatiently(`http://127.0.0.1:${port}/`, {
    method: 'POST',
    headers: {},
    body,
  });
  expect([answer.status, await answer.json()]).toEqual([422, { code: 'BAD_REQUEST' }]);
  await vi.waitUntil(() => open === 0 && body.destroyed);
});
