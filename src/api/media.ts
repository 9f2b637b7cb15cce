import { isUtf8 } from 'node:buffer';

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Packr, Unpackr } from 'msgpackr';

import { TidemarkError } from '../ground/errors.ts';
import { requirePlain } from './plain-msgpack.ts';

export const JSON_TYPE = 'application/json';
export const NDJSON_TYPE = 'application/x-ndjson';
export const SAFETENSORS_TYPE = 'application/vnd.safetensors';
/** What read replicas take. */
export const CHANGES_TYPE = 'application/vnd.tidemark.changes';
/** The registered name and the one that older clients use. */
export const MSGPACK_TYPES = ['application/vnd.msgpack', 'application/x-msgpack'] as const;

/** Of routes that are asked in JSON or MessagePack, and answer so or in safetensors. */
export const BINARY_TYPES = {
  consumes: [JSON_TYPE, ...MSGPACK_TYPES],
  produces: [JSON_TYPE, SAFETENSORS_TYPE, ...MSGPACK_TYPES],
};

/** What a body, or an answer, is in JSON and in MessagePack, for the schema of a route. */
export function contentOf<J, P>(json: J, packed: P) {
  const [name, older] = MSGPACK_TYPES;
  return {
    [JSON_TYPE]: { schema: json },
    [name]: { schema: packed },
    [older]: { schema: packed },
  };
}

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

/**
 * True for a text out of MessagePack whose bytes may have been no UTF-8: the reader puts U+FFFD for
 * those, and so makes one entity of two.
 */
export function isPerhapsMisread(text: string): boolean {
  return text.includes('\ufffd');
}

/** Takes JSON from bytes that are UTF-8: what is not would change ids silently. */
export function takeJson(server: FastifyInstance): void {
  server.addContentTypeParser<Buffer>(JSON_TYPE, { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, parseJson(body));
    } catch (error) {
      done(error as TidemarkError);
    }
  });
}

const BYTE_ORDER_MARK = /^\ufeff/;

/**
 * Keys such as `__proto__` come out as keys like any other, and reach no prototype: the schemas
 * refuse those they do not know, and leave `__proto__` out of what they copy. Throws BAD_REQUEST.
 */
export function parseJson(body: Buffer): unknown {
  if (!isUtf8(body)) throw new TidemarkError('BAD_REQUEST', 'the body is not UTF-8');
  try {
    return JSON.parse(body.toString('utf8').replace(BYTE_ORDER_MARK, ''));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new TidemarkError('BAD_REQUEST', `the body is not JSON: ${why}`, { cause: error });
  }
}

export function takeMsgpack(server: FastifyInstance): void {
  server.addContentTypeParser<Buffer>(
    [...MSGPACK_TYPES],
    { parseAs: 'buffer' },
    (_request, body, done) => {
      try {
        requirePlain(body);
        done(null, unpackr.unpack(body));
      } catch (error) {
        if (error instanceof TidemarkError) {
          done(error);
          return;
        }
        const why = error instanceof Error ? error.message : String(error);
        done(new TidemarkError('BAD_REQUEST', `the body is not MessagePack: ${why}`));
      }
    },
  );
}

/** Takes NDJSON whole, as its bytes: each line says for itself whether it is UTF-8. */
export function takeNdjson(server: FastifyInstance): void {
  server.addContentTypeParser<Buffer>(NDJSON_TYPE, { parseAs: 'buffer' }, (_request, body, done) =>
    done(null, body),
  );
}

/** Leaves bodies of these types on their stream, for a route that reads them as they come. */
export function streamBodies(server: FastifyInstance, types: readonly string[]): void {
  server.addContentTypeParser([...types], (_request, payload, done) => done(null, payload));
}

/** Refuses, with UNSUPPORTED_MEDIA_TYPE, a request that has no body to parse. */
export function requireBody(
  request: FastifyRequest,
  _reply: FastifyReply,
  done: (error?: Error) => void,
): void {
  if (request.headers['content-type'] !== undefined) {
    done();
    return;
  }
  done(
    new TidemarkError(
      'UNSUPPORTED_MEDIA_TYPE',
      `${request.method} ${request.url} takes a body; say with content-type which it is: ${consumedBy(request)}`,
    ),
  );
}

/** The content types of the bodies that the request's route takes, for a message. */
export function consumedBy({ routeOptions }: FastifyRequest): string {
  return (routeOptions.config.consumes ?? [JSON_TYPE]).join(', ');
}

/** Throws UNSUPPORTED_MEDIA_TYPE for a body that would have to be unpacked before it is parsed. */
export function refuseEncoded(request: FastifyRequest): void {
  const encoding = request.headers['content-encoding'];
  if (encoding === undefined || encoding.trim().toLowerCase() === 'identity') return;
  throw new TidemarkError(
    'UNSUPPORTED_MEDIA_TYPE',
    `${request.method} ${request.url} does not take a body of content encoding ${encoding}; send it as it is`,
  );
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
  if (offered.includes(accept)) return accept;
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
