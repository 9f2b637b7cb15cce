import { once } from 'node:events';
import { createServer, type IncomingMessage, request as ask, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

import fastify from 'fastify';
import { expect, onTestFinished, test } from 'vitest';

import { answerByWriter } from '../../src/serving/to-writer.ts';
import { tempDirectory } from '../support/temp.ts';

type Write = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** A worker's port, behind which is such a writer. */
async function workerOf(answer: Write, settle = async () => {}): Promise<number> {
  const socket = join(tempDirectory(), 'writer.sock');
  const writer = createServer((request, response) => void answer(request, response));
  writer.listen(socket);
  await once(writer, 'listening');
  const server = fastify();
  answerByWriter(server, socket, settle);
  await server.listen({ port: 0 });
  onTestFinished(async () => {
    await server.close();
    writer.close();
  });
  return (server.server.address() as AddressInfo).port;
}

/** A worker's port, and what a writer behind it was asked. */
async function worker(): Promise<{ port: number; heard: string[] }> {
  const heard: string[] = [];
  const port = await workerOf(async (request, response) => {
    heard.push(`${request.method} ${request.url} ${await text(request)}`);
    response.end('{}');
  });
  return { port, heard };
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

test.each(['while all take in what it has done', 'after that'])(
  'a writer that is lost with half an answer, %s, is one to ask again',
  async (when) => {
    const begun = Promise.withResolvers<ServerResponse>();
    const isAfter = when === 'after that';
    const port = await workerOf(
      async (_request, response) => {
        response.writeHead(200, { 'content-length': 2 });
        response.flushHeaders();
        begun.resolve(response);
      },
      async () => {
        const { socket } = await begun.promise;
        if (isAfter) setTimeout(() => socket?.destroy(), 50);
        else {
          socket?.destroy();
          await sleep(50);
        }
      },
    );
    const answer = await fetch(`http://127.0.0.1:${port}/asked`, { method: 'POST' });
    expect(await answer.json()).toMatchObject({ code: 'WRITER_UNAVAILABLE' });
  },
);
