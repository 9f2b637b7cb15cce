import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';

/**
 * As fetch, which gives up after five minutes without an answer: some are only there when hours of
 * work are done, or when a long body has arrived.
 */
export async function fetchPatiently(url: string, { method, headers, body }: PatientRequest) {
  const send = new URL(url).protocol === 'https:' ? requestHttps : requestHttp;
  return new Promise<Response>((resolve, reject) => {
    const request = send(url, { method, headers }, (answer) => {
      const status = answer.statusCode ?? 500;
      const init = { status, headers: { 'retry-after': answer.headers['retry-after'] ?? '' } };
      buffer(answer)
        .then((bytes) => resolve(new Response(bytes, init)), reject)
        // What is left of a body that was refused is read by nobody, and would keep us here.
        .finally(() => request.writableFinished || request.destroy());
    });
    request.on('error', reject);
    if (typeof body === 'string') request.end(body);
    // One that is refused is answered before it has been sent whole.
    else pipeline(body, request).catch(reject);
  });
}

interface PatientRequest {
  method: string;
  headers: Record<string, string>;
  body: string | Readable;
}
