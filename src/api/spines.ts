import type { Readable } from 'node:stream';

import type { FastifyRequest } from 'fastify';

import { SPINE_TYPES } from '../timetravel/spine/naming.ts';
import { SPINE_FORMATS, type SpineFormat } from '../timetravel/spine/window.ts';

/** The content types of bodies that are spines. */
export const SPINE_BODIES = Object.values(SPINE_TYPES);

/** The format of the spine that is the request's body; undefined for another body. */
export function formatOfBody({ headers }: FastifyRequest): SpineFormat | undefined {
  const [type = ''] = (headers['content-type'] ?? '').split(';');
  return SPINE_FORMATS.find((format) => SPINE_TYPES[format] === type.trim().toLowerCase());
}

/**
 * The body's bytes. One that is not read to its end stays open, for the answer that says why, and
 * what still comes of it is thrown away, or its connection would stand still for ever.
 */
export async function* readBody({ body }: FastifyRequest): AsyncGenerator<Uint8Array> {
  const stream = body as Readable;
  try {
    yield* stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
  } finally {
    stream.resume();
  }
}
