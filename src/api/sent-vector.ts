import { TidemarkError } from '../ground/errors.ts';
import { type Dtype, numberBytes, writeBytes, writeNumbers } from '../store/dtype.ts';

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/**
 * Writes a vector as somebody sent it: numbers, each rounded once to the dtype, or the bytes of
 * them, as base64 or as they are; of int8 with their scale beside. `out` has exactly one vector's bytes. Throws BAD_VECTOR.
 */
export function writeSentVector(
  vector: unknown,
  { dim, dtype }: { dim: number; dtype: Dtype },
  out: Uint8Array,
  sentScale?: unknown,
): void {
  const scale = scaleIn(sentScale);
  if (Array.isArray(vector)) writeNumbers(numbersOnly(vector), dim, dtype, out, scale);
  else if (vector instanceof Uint8Array) writeBytes(vector, dim, dtype, out, scale);
  else if (typeof vector === 'string') {
    const room = Buffer.from(out.buffer, out.byteOffset, numberBytes(dim, dtype));
    writeBytes(bytesOf(vector, room), dim, dtype, out, scale);
  } else {
    throw new TidemarkError(
      'BAD_VECTOR',
      `got a vector of type ${typeof vector}, expected ${dim} numbers, or the ${numberBytes(dim, dtype)} bytes of them`,
    );
  }
}

function scaleIn(scale: unknown): number | undefined {
  if (typeof scale === 'number' || scale === undefined) return scale;
  const type = scale === null ? 'null' : typeof scale;
  throw new TidemarkError('BAD_VECTOR', `got ${type} for the scale, expected a number`);
}

/** JavaScript would take "1", true and null for numbers; nothing is cast silently (A14). */
function numbersOnly(values: readonly unknown[]): readonly number[] {
  for (let at = 0; at < values.length; at++) {
    if (typeof values[at] !== 'number') {
      const type = values[at] === null ? 'null' : typeof values[at];
      throw new TidemarkError('BAD_VECTOR', `got ${type} at position ${at}, expected a number`);
    }
  }
  return values as readonly number[];
}

/** The bytes that the text is of: in `room` where they fill it. */
function bytesOf(text: string, room: Buffer): Uint8Array {
  room.write(text, 'base64');
  // What is the same text again was base64, which is known in a fraction of the expression's time.
  if (room.toString('base64') === text) return room;
  if (text.length % 4 !== 0 || !BASE64.test(text)) {
    throw new TidemarkError('BAD_VECTOR', 'got a text that is not base64 with its padding');
  }
  return Buffer.from(text, 'base64');
}
