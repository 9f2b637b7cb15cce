import { isUtf8 } from 'node:buffer';

import { TidemarkError } from '../../ground/errors.ts';

const NEWLINE = 0x0a;

/** One line of a text stream: its number, from 1, and its bytes without the line break. */
export interface Line {
  number: number;
  bytes: Buffer;
}

/**
 * The lines of a stream of bytes that are not blank. Holds one line and one chunk at a time.
 * Throws LIMIT_EXCEEDED for a line longer than `lineBytesMax`.
 */
export async function* readLines(
  source: AsyncIterable<Uint8Array>,
  lineBytesMax: number,
): AsyncGenerator<Line> {
  let number = 0;
  let rest: Buffer[] = [];
  let restBytes = 0;
  const tooLong = () =>
    new TidemarkError(
      'LIMIT_EXCEEDED',
      `line ${number + 1} is longer than the limit of ${lineBytesMax} bytes`,
    );
  for await (const chunk of source) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let from = 0;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, from);
      const piece = bytes.subarray(from, end < 0 ? bytes.byteLength : end);
      if (restBytes + piece.byteLength > lineBytesMax) throw tooLong();
      if (end < 0) {
        rest.push(piece);
        restBytes += piece.byteLength;
        break;
      }
      const whole = rest.length === 0 ? piece : Buffer.concat([...rest, piece]);
      rest = [];
      restBytes = 0;
      from = end + 1;
      number++;
      if (!isBlank(whole)) yield { number, bytes: whole };
    }
  }
  const last = Buffer.concat(rest);
  if (!isBlank(last)) yield { number: number + 1, bytes: last };
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}

/** The object in a line. Throws BAD_REQUEST, with what the line is to be called, when it is none. */
export function parseObject(bytes: Buffer, name: string): Record<string, unknown> {
  // Decoding would put U+FFFD for what is not UTF-8: another text, and perhaps another entity's id.
  if (!isUtf8(bytes)) {
    throw new TidemarkError('BAD_REQUEST', `${name} is not UTF-8`);
  }
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new TidemarkError('BAD_REQUEST', `${name} is not JSON: ${why}`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TidemarkError('BAD_REQUEST', `${name} is not a JSON object`);
  }
  return value as Record<string, unknown>;
}
