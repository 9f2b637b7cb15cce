import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';

import { Memory } from '../../src/client/memory.ts';
import { ResponseReader } from '../../src/client/response-reader.ts';
import { Transport } from '../../src/client/transport.ts';

const room = (bytes: number): Buffer<ArrayBuffer> => Buffer.allocUnsafeSlow(bytes);

/** Reads an answer that comes in pieces of these sizes, repeated. */
function readIn(sizes: readonly number[], answer: Buffer): ResponseReader {
  const reader = new ResponseReader(room);
  for (let from = 0, turn = 0; from < answer.byteLength; turn++) {
    const place = reader.place();
    const piece = answer.subarray(from, from + sizes[turn % sizes.length]!);
    if (place === undefined) {
      reader.feed(piece);
      from += piece.byteLength;
    } else {
      const taken = piece.copy(place);
      reader.placed(taken);
      from += taken;
    }
  }
  return reader;
}

const ANSWERS: [string, string, object][] = [
  [
    'with its length',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b \r\n\r\nhello',
    { status: 200, body: 'hello' },
  ],
  ['that is empty', 'HTTP/1.1 503 \r\ncontent-length: 0\r\n\r\n', { status: 503, body: '' }],
  ['without a body', 'HTTP/1.1 204 No Content\r\nx: y\r\n\r\n', { status: 204, body: '' }],
  [
    'in chunks',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\n\r\n',
    { status: 200, body: 'hello' },
  ],
  [
    'in chunks, with a trailer',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n',
    { status: 200, body: 'hello' },
  ],
  [
    'after an interim one',
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno',
    { status: 404, body: 'no' },
  ],
];

test.each(ANSWERS)('an answer %s is read, in whatever pieces it comes', (_what, text, expected) => {
  const answer = Buffer.from(text);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), (sizes) => {
      const reader = readIn(sizes, answer);
      expect(reader.isDone).toBe(true);
      const { status, body } = reader.response;
      expect({ status, body: body.toString() }).toEqual(expected);
    }),
    { numRuns: 50 },
  );
});

test('an answer of no length ends with its connection, which is not used again', () => {
  const reader = readIn([7], Buffer.from('HTTP/1.1 200 OK\r\n\r\nhello'));
  expect(reader.isDone).toBe(false);
  reader.end();
  expect(reader.response.body.toString()).toBe('hello');
  expect(reader.isKept).toBe(false);
});

test.each([
  ['what is no HTTP', 'SSH-2.0-x\r\n\r\n', 'does not speak HTTP/1.1'],
  ['a length that is none', 'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n', 'length'],
  ['more than was asked for', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab', 'more than'],
  ['a head without end', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(70_000)}`, 'too long'],
])('%s is an error', (_what, text, message) => {
  expect(() => readIn([70_100], Buffer.from(text))).toThrow(message);
});

/** A server that treats each connection so; what has been sent to it. */
async function serverThat(treat: (socket: Socket, connections: number) => void): Promise<string> {
  let connections = 0;
  const server = createServer((socket) => {
    socket.on('error', () => {});
    treat(socket, ++connections);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function post(transport: Transport, signal = AbortSignal.timeout(5_000)) {
  return transport.post({ path: '/x', headers: {}, body: '{}', signal, room });
}

test('a body in chunks is in memory that was made for it, as one whose length is told', () => {
  const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n';
  for (const text of [chunked, 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello']) {
    const { body } = readIn([9], Buffer.from(text)).response;
    expect(body.buffer.byteLength).toBe(5);
  }
});

test('memory of an answer is used for another that fills a good part of it', () => {
  const memory = new Memory();
  const large = memory.take(1_000);
  memory.giveBack(large);
  expect(memory.take(100).buffer).not.toBe(large.buffer);
  expect(memory.take(1_001).buffer).not.toBe(large.buffer);
  expect(memory.take(250).buffer).toBe(large.buffer);
});

test('requests wait for a connection, use it one after another, and have their own answers', async () => {
  let seen = 0;
  const url = await serverThat((socket, connections) => {
    socket.on('data', () => {
      const body = Buffer.alloc(300_000, seen++);
      socket.write(
        `HTTP/1.1 200 OK\r\nx-connection: ${connections}\r\ncontent-length: 300000\r\n\r\n`,
      );
      socket.write(body);
    });
  });
  const transport = new Transport(url, 2);
  onTestFinished(() => transport.close());
  const answers = await Promise.all(Array.from({ length: 9 }, async () => post(transport)));
  const firsts = answers.map(({ body }) => body[0]!).toSorted((a, b) => a - b);
  expect(firsts).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  for (const { body, headers } of answers) {
    expect(body.every((byte) => byte === body[0])).toBe(true);
    expect(Number(headers['x-connection'])).toBeLessThanOrEqual(2);
  }
});

test('a connection that ends, or is given up, takes its request with it and no other', async () => {
  const url = await serverThat((socket, connections) => {
    socket.on('data', () => {
      if (connections === 1) socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf');
      if (connections > 2) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
    });
  });
  const transport = new Transport(url, 1);
  onTestFinished(() => transport.close());
  await expect(post(transport)).rejects.toThrow('ended before');
  await expect(post(transport, AbortSignal.timeout(20))).rejects.toThrow('timeout');
  expect((await post(transport)).body.toString()).toBe('ok');
});

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

test('a connection that says what nobody asked is not used again', async () => {
  let ended = 0;
  let first: Socket | undefined;
  const url = await serverThat((socket, connections) => {
    first ??= socket;
    socket.on('close', () => ended++);
    socket.on('data', () => {
      socket.write(OK.replace('OK', `OK\r\nx-connection: ${connections}`));
    });
  });
  const transport = new Transport(url, 1);
  onTestFinished(() => transport.close());
  expect((await post(transport)).headers['x-connection']).toBe('1');
  first!.write('HTTP/1.1 200 OK\r\n');
  await expect.poll(() => ended).toBe(1);
  expect((await post(transport)).headers['x-connection']).toBe('2');
});

test('a request that is given up before it begins waits for no connection', async () => {
  const url = await serverThat((socket) => socket.resume());
  const transport = new Transport(url, 1);
  onTestFinished(() => transport.close());
  const busy = post(transport);
  const given = AbortSignal.abort(new Error('given up'));
  await expect(post(transport, given)).rejects.toThrow('given up');
  transport.close();
  await expect(busy).rejects.toThrow('was closed');
});

test('closing ends what is under way and what waits, and there is nothing after it', async () => {
  let connected = 0;
  const url = await serverThat((socket, connections) => {
    connected = connections;
    socket.resume();
  });
  const transport = new Transport(url, 1);
  const all = [post(transport), post(transport), post(transport)];
  await expect.poll(() => connected).toBe(1);
  transport.close();
  for (const { status, reason } of (await Promise.allSettled(all)) as PromiseRejectedResult[]) {
    expect([status, String(reason)]).toEqual(['rejected', expect.stringMatching('was closed')]);
  }
  await expect(post(transport)).rejects.toThrow('was closed');
  expect(connected).toBe(1);
});
