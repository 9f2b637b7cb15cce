import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { buffer } from 'node:stream/consumers';

/**
 * As fetch, which gives up after five minutes without an answer: some are only there when hours of
 * work are done.
 */
export async function fetchPatiently(url: string, { method, headers, body }: PatientRequest) {
  const send = new URL(url).protocol === 'https:' ? requestHttps : requestHttp;
  return new Promise<Response>((resolve, reject) => {
    const request = send(url, { method, headers }, (answer) => {
      const status = answer.statusCode ?? 500;
      const init = { status, headers: { 'retry-after': answer.headers['retry-after'] ?? '' } };
      buffer(answer).then((bytes) => resolve(new Response(bytes, init)), reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

interface PatientRequest {
  method: string;
  headers: Record<string, string>;
  body: string;
}
