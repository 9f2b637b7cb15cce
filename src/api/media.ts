import { isUtf8 } from 'node:buffer';

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Packr, Unpackr } from 'msgpackr';

import { TidemarkError } from '../ground/errors.ts';

export const JSON_TYPE = 'application/json';
export const NDJSON_TYPE = 'application/x-ndjson';
export const SAFETENSORS_TYPE = 'application/vnd.safetensors';
/** The registered name and the one that older clients use. */
export const MSGPACK_TYPES = ['application/vnd.msgpack', 'application/x-msgpack'] as const;

export function isMsgpack(type: string): boolean {
  return (MSGPACK_TYPES as readonly string[]).includes(type);
}

// Records are msgpackr's own extension: plain maps are what every other reader understands.
// An int64 that no number can hold comes out as one beyond ±2^53, which ids and times refuse.
const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number', structuredClone: false });

export function packMessage(value: unknown): Buffer {
  return packr.pack(value);
}

/** Takes JSON as Fastify does, from bytes that are UTF-8: what is not would change ids silently. */
export function takeJson(server: FastifyInstance): void {
  const parse = server.getDefaultJsonParser('error', 'error');
  server.addContentTypeParser<Buffer>(
    JSON_TYPE,
    { parseAs: 'buffer' },
    (request, body, done): void => {
      if (isUtf8(body)) void parse(request, body.toString('utf8'), done);
      else done(notUtf8());
    },
  );
}

export function takeMsgpack(server: FastifyInstance): void {
  server.addContentTypeParser<Buffer>(
    [...MSGPACK_TYPES],
    { parseAs: 'buffer' },
    (_request, body, done) => {
      try {
        done(null, unpackr.unpack(body));
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        done(new TidemarkError('BAD_REQUEST', `the body is not MessagePack: ${why}`));
      }
    },
  );
}

/** Takes NDJSON whole, as its bytes. */
export function takeNdjson(server: FastifyInstance): void {
  server.addContentTypeParser<Buffer>(
    NDJSON_TYPE,
    { parseAs: 'buffer' },
    (_request, body, done) => {
      if (isUtf8(body)) done(null, body);
      else done(notUtf8());
    },
  );
}

/** Leaves an NDJSON body on its stream, for a route that reads it line by line. */
export function streamNdjson(server: FastifyInstance): void {
  server.addContentTypeParser(NDJSON_TYPE, (_request, payload, done) => done(null, payload));
}

function notUtf8(): TidemarkError {
  return new TidemarkError('BAD_REQUEST', 'the body is not UTF-8');
}

/** Throws UNSUPPORTED_MEDIA_TYPE for a request that has no body to parse. */
export async function requireBody(request: FastifyRequest): Promise<void> {
  if (request.headers['content-type'] === undefined) {
    throw new TidemarkError(
      'UNSUPPORTED_MEDIA_TYPE',
      `${request.method} ${request.url} takes a body; say what it is with content-type`,
    );
  }
}

/**
 * The content type to answer with: of `offered` the one that `accept` likes best, the first where it
 * likes several as much. Undefined when it takes none. Without an Accept everything is taken.
 */
export function negotiate(
  accept: string | undefined,
  offered: readonly string[],
): string | undefined {
  if (accept === undefined || accept.trim() === '') return offered[0];
  const ranges = accept.split(',').map(parseRange);
  let best: string | undefined;
  let bestQuality = 0;
  for (const type of offered) {
    const quality = qualityOf(type, ranges);
    if (quality > bestQuality) [best, bestQuality] = [type, quality];
  }
  return best;
}

interface MediaRange {
  type: string;
  quality: number;
}

function parseRange(text: string): MediaRange {
  const [type = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
  const weight = parameters.find((parameter) => parameter.startsWith('q='));
  const quality = weight === undefined ? 1 : Number(weight.slice(2));
  return { type, quality: Number.isNaN(quality) ? 0 : quality };
}

/** The quality that the most specific range for the type has (RFC 9110, 12.5.1). */
function qualityOf(type: string, ranges: readonly MediaRange[]): number {
  const names = [type, `${type.slice(0, type.indexOf('/'))}/*`, '*/*'];
  for (const name of names) {
    const range = ranges.find((each) => each.type === name);
    if (range !== undefined) return range.quality;
  }
  return 0;
}
