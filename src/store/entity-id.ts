import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';

const ENTITY_ID_BYTES_MAX = 1_024;

// UTF-8 needs at most three bytes for one UTF-16 unit, so shorter ids need no counting.
const SURELY_SHORT = Math.floor(ENTITY_ID_BYTES_MAX / 3);

/** True for 1 to 1,024 bytes of well-formed UTF-8 without NUL. */
export function isEntityId(id: string): boolean {
  return (
    id.length > 0 &&
    (id.length <= SURELY_SHORT || Buffer.byteLength(id) <= ENTITY_ID_BYTES_MAX) &&
    !id.includes('\0') &&
    id.isWellFormed()
  );
}

/**
 * The id of an entity from what a caller sent: a text, or a whole number within ±2⁵³, which equals
 * its decimal text. Throws BAD_ENTITY_ID.
 */
export function parseEntityId(value: unknown): string {
  const id = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
  if (typeof id !== 'string' || !isEntityId(id)) {
    throw new TidemarkError(
      'BAD_ENTITY_ID',
      `got the entity id ${excerpt(value)}, expected 1 to ${ENTITY_ID_BYTES_MAX} bytes of ` +
        'well-formed UTF-8 without NUL, or a whole number within ±2^53',
    );
  }
  return id;
}
