import { createReadStream, existsSync } from 'node:fs';

import type { FastifyReply, FastifyRequest } from 'fastify';

import { TidemarkError } from '../ground/errors.ts';

export interface ServedFile {
  path: string;
  bytes: number;
  /** Hexadecimal: what names the content, now and for ever. */
  sha256: string;
  type: string;
}

/**
 * Answers with a file that never changes, or the one range of it that is asked for (RFC 9110, 14):
 * what broke off goes on where it was. Several ranges at once are answered with the whole.
 * Throws EXPORT_NOT_FOUND for a file that has gone meanwhile.
 */
export function sendFile(
  { headers, method }: FastifyRequest,
  reply: FastifyReply,
  { path, bytes, sha256, type }: ServedFile,
): FastifyReply {
  const etag = `"${sha256}"`;
  if (!existsSync(path)) throw new TidemarkError('EXPORT_NOT_FOUND', 'the file has gone meanwhile');
  void reply.header('accept-ranges', 'bytes').header('etag', etag).type(type);
  if (isKnown(headers['if-none-match'], etag)) return reply.code(304).send();
  // A weak tag, or a date, says too little of the bytes to go on with them. Only GET has ranges.
  const isSame = headers['if-range'] === undefined || headers['if-range'] === etag;
  const range = method === 'GET' && isSame ? parseRange(headers.range, bytes) : undefined;
  if (range === 'none') {
    return reply.code(416).header('content-range', `bytes */${bytes}`).send();
  }
  const { first, last } = range ?? { first: 0, last: bytes - 1 };
  void reply.header('content-length', last - first + 1);
  if (range !== undefined) {
    void reply.code(206).header('content-range', `bytes ${first}-${last}/${bytes}`);
  }
  if (method === 'HEAD' || bytes === 0) return reply.send();
  return reply.send(createReadStream(path, { start: first, end: last }));
}

/** Whether If-None-Match names the file: by its tag, which may be weak there, or with any that is there. */
function isKnown(text: string | undefined, etag: string): boolean {
  const tags = text?.split(',').map((tag) => tag.trim().replace(/^W\//, '')) ?? [];
  return tags.includes(etag) || tags.includes('*');
}

/**
 * The bytes that a Range names, both ends inclusive; undefined where the whole is to be answered,
 * `none` where no byte of it is there.
 */
export function parseRange(
  text: string | undefined,
  bytes: number,
): { first: number; last: number } | 'none' | undefined {
  const match = /^bytes=(?:(\d+)-(\d*)|-(\d+))$/i.exec(text?.trim() ?? '');
  if (match === null) return undefined;
  const [, from, to, suffix] = match;
  const first = suffix === undefined ? Number(from) : Math.max(0, bytes - Number(suffix));
  const last = suffix === undefined && to !== '' ? Math.min(Number(to), bytes - 1) : bytes - 1;
  // Ends that are swapped are no range at all.
  if (to !== undefined && to !== '' && Number(to) < Number(from)) return undefined;
  return first <= last ? { first, last } : 'none';
}
