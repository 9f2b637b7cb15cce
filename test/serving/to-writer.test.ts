import { once } from 'node:events';
import { createServer, type IncomingMessage, request as ask, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import fastify from 'fastify';
import { expect, onTestFinished, test } from 'vitest';

import { answerByWriter } from '../../src/serving/to-writer.ts';
import { tempDirectory } from '../support/temp.ts';

/** A worker's port, and what a writer behind it was asked. */
async function worker(): Promise<{ port: number; heard: string[] }> {
  const heard: string[] = [];
  const socket = join(tempDirectory(), 'writer.sock');
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    heard.push(`${request.method} ${request.url} ${await text(request)}`);
    response.end('{}');
  };
  const writer = createServer((request, response) => void answer(request, response));
  writer.listen(socket);
  await once(writer, 'listening');
  const server = fastify();
  answerByWriter(server, socket, async () => {});
  await server.listen({ port: 0 });
  onTestFinished(async () => {
    await server.close();
    writer.close();
  });
  return { port: (server.server.address() as AddressInfo).port, heard };
}

test.each(['GET', 'DELETE', 'OPTIONS', 'POST'])(
  'the body of a %s, whose length is not told, is no request of its own to the writer',
  async (method) => {
    const { port, heard } = await worker();
    const body = 'POST /v1/erase HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}';
    for (let times = 0; times < 2; times++) {
      const sent = ask({
        port,
        method,
        path: '/asked',
        headers: { 'transfer-encoding': 'chunked' },
      });
      sent.end(body);
      const [response] = await once(sent, 'response');
      expect(await text(response)).toBe('{}');
    }
    expect(heard).toEqual([`${method} /asked ${body}`, `${method} /asked ${body}`]);
  },
);

test('a body of a length that is told, and none at all, come to the writer as they are', async () => {
  const { port, heard } = await worker();
  for (const body of ['abc', '']) {
    const sent = ask({ port, method: 'DELETE', path: '/asked' });
    if (body !== '') sent.setHeader('content-length', body.length);
    sent.end(body);
    const [response] = await once(sent, 'response');
    expect(await text(response)).toBe('{}');
  }
  expect(heard).toEqual(['DELETE /asked abc', 'DELETE /asked ']);
});
