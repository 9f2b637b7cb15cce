import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

import { onTestFinished } from 'vitest';

interface Asked {
  input: string[];
  model: string;
  encoding_format: string;
  dimensions?: number;
}

/** Answers one request, in whichever way. */
export type Manner = (asked: Asked, response: ServerResponse) => void;

export interface EmbeddingsStub {
  url: string;
  /** Bodies and headers of all that was asked, in order. */
  asked: (Asked & { headers: IncomingHttpHeaders })[];
  /** How the next requests are answered, one each; those after them as `manner` says. */
  next: Manner[];
  manner: Manner;
}

/** A unit vector that tells texts apart by their length. */
export function stubVector(text: string): [number, number] {
  const at = text.length / 10;
  return [Math.fround(Math.cos(at)), Math.fround(Math.sin(at))];
}

export function base64Of(vector: readonly number[]): string {
  return Buffer.from(Float32Array.from(vector).buffer).toString('base64');
}

/** A server in OpenAI's shape that can misbehave; gone when the test is done. */
export async function startEmbeddingsStub(): Promise<EmbeddingsStub> {
  const stub: EmbeddingsStub = { url: '', asked: [], next: [], manner: well };
  const server = createServer((request, response) => {
    void (async () => {
      const body = (await json(request)) as Asked;
      stub.asked.push({ ...body, headers: request.headers });
      (stub.next.shift() ?? stub.manner)(body, response);
    })();
  });
  await new Promise<void>((done) => {
    server.listen(0, '127.0.0.1', done);
  });
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  stub.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  return stub;
}

/** Each text its vector, as base64. */
const well: Manner = ({ input }, response) => {
  sendData(
    response,
    input.map((text, index) => ({ index, embedding: base64Of(stubVector(text)) })),
  );
};

export function sendData(response: ServerResponse, data: readonly object[]): void {
  send(response, 200, { object: 'list', data });
}

export function send(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

/** Refuses with a status, in the shape of OpenAI's errors. */
export function refuse(status: number, headers: Record<string, string> = {}): Manner {
  return (_asked, response) => send(response, status, { error: { message: 'why not' } }, headers);
}
