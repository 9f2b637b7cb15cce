import { TidemarkError } from '../ground/errors.ts';
import type { OrderKey } from '../store/order.ts';

/** Where a page of a timeline ended, and of what state it was. */
export interface Cursor {
  version: string;
  snapshot: number;
  /** The last revision of the page. */
  last: OrderKey;
}

/** Opaque to callers: base64url of JSON. */
export function encodeCursor({ version, snapshot, last }: Cursor): string {
  const cells = [version, snapshot, last.event, last.known, last.seq];
  return Buffer.from(JSON.stringify(cells)).toString('base64url');
}

/** Throws BAD_REQUEST for what `encodeCursor` cannot have made. */
export function parseCursor(text: string): Cursor {
  let cells: unknown;
  try {
    cells = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    throw malformed();
  }
  if (!Array.isArray(cells) || cells.length !== 5) throw malformed();
  const [version, ...numbers] = cells as [unknown, ...unknown[]];
  if (typeof version !== 'string' || !numbers.every(Number.isSafeInteger)) throw malformed();
  const [snapshot, event, known, seq] = numbers as [number, number, number, number];
  return { version, snapshot, last: { event, known, seq } };
}

function malformed(): TidemarkError {
  return new TidemarkError(
    'BAD_REQUEST',
    'the cursor is none that a page of a timeline came with; start without one',
  );
}
