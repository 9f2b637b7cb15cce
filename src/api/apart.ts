import { isUtf8 } from 'node:buffer';

import { EntityIds } from '../store/entity-ids.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const KEY = Buffer.from('entity_ids');
/** Longer ones may be no whole numbers of JavaScript. */
const DIGITS_MAX = 15;
/** More are no request: `JSON.parse` takes less time and memory for each that is refused. */
const LISTS_MAX = 1_024;
/** Bytes of an id with what stands around it, in most requests. */
const ID_BYTES = 8;
/** Memory beyond the bytes of a list, so that its last id finds room without more being made. */
const SLACK_BYTES = 1_025;
const NOT_FOUND = -1;

/** A body of JSON whose lists of entity ids were read by themselves. */
export interface Apart {
  /**
   * The JSON without them: one character a byte, in the place of each list `[n]`, the number of the
   * list. Requests that differ in nothing but their ids have an equal one.
   */
  rest: string;
  lists: EntityIds[];
}

/**
 * Takes the lists that stand under the key `entity_ids` out of a body of JSON, without a text for any
 * of the ids. Undefined for what is not as nearly all requests are: with escapes, with ids that are
 * none or written in an unusual way, and with none at all; such a body is for `JSON.parse`, and so
 * are all that is wrong. `rest` is JSON exactly when the body is.
 */
export function takeApart(body: Buffer): Apart | undefined {
  if (!isUtf8(body)) return undefined;
  const lists: EntityIds[] = [];
  let rest = '';
  let from = 0;
  let at = 0;
  while (at < body.length) {
    const byte = body[at++]!;
    if (byte === BACKSLASH) return undefined;
    if (byte !== QUOTE) continue;
    const end = body.indexOf(QUOTE, at);
    if (end === NOT_FOUND || body.subarray(at, end).includes(BACKSLASH)) return undefined;
    const isKey = end - at === KEY.length && body.compare(KEY, 0, KEY.length, at, end) === 0;
    at = end + 1;
    if (!isKey) continue;
    const list = listAt(body, at);
    if (list === NOT_FOUND || lists.length === LISTS_MAX) return undefined;
    const ids = roomFor(body, list);
    at = readList(body, list + 1, ids);
    if (at === NOT_FOUND) return undefined;
    rest += `${body.toString('latin1', from, list)}[${lists.length}]`;
    from = at;
    lists.push(ids);
  }
  if (lists.length === 0) return undefined;
  return { rest: rest + body.toString('latin1', from), lists };
}

/** Where the list after a key begins. */
function listAt(body: Buffer, from: number): number {
  const colon = afterSpace(body, from);
  if (body[colon] !== COLON) return NOT_FOUND;
  const list = afterSpace(body, colon + 1);
  return body[list] === OPEN ? list : NOT_FOUND;
}

/** For the ids of one list alone: a body may have many lists. */
function roomFor(body: Buffer, list: number): EntityIds {
  const close = body.indexOf(CLOSE, list);
  const end = close === NOT_FOUND ? list : close;
  const bytes = Math.min(body.length, end + SLACK_BYTES) - list;
  return new EntityIds(bytes, Math.ceil((end - list) / ID_BYTES));
}

/** Reads what stands between the brackets; where it goes on after them. */
function readList(body: Buffer, from: number, ids: EntityIds): number {
  let at = afterSpace(body, from);
  if (body[at] === CLOSE) return at + 1;
  for (;;) {
    at = body[at] === QUOTE ? ids.addQuoted(body, at + 1) + 1 : readNumber(body, at, ids);
    if (at <= 0) return NOT_FOUND;
    at = afterSpace(body, at);
    if (body[at] === CLOSE) return at + 1;
    if (body[at] !== COMMA) return NOT_FOUND;
    at = afterSpace(body, at + 1);
  }
}

/** Reads a whole number that is written as its id is; where it ends. */
function readNumber(body: Buffer, from: number, ids: EntityIds): number {
  const first = body[from] === MINUS ? from + 1 : from;
  let end = first;
  while (isDigit(body[end])) end++;
  const digits = end - first;
  const isPlain = body[first] !== ZERO || (digits === 1 && first === from);
  if (digits === 0 || digits > DIGITS_MAX || !isPlain || isOfNumber(body[end])) return NOT_FOUND;
  ids.add(body.toString('latin1', from, end));
  return end;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE;
}

/** A point or an exponent. */
function isOfNumber(byte: number | undefined): boolean {
  return byte === 0x2e || byte === 0x65 || byte === 0x45;
}

function afterSpace(body: Buffer, from: number): number {
  let at = from;
  for (;;) {
    const byte = body[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at;
    at++;
  }
}
