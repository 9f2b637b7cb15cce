import { badRecord } from '../source-record.ts';
import { Cursor } from './cursor.ts';
import { exact, setField } from './value.ts';

/** Nested deeper than this is an attack on the stack and no record. */
const DEPTH_MAX = 512;

/**
 * The value of MessagePack. Maps are objects, an int64 that no number holds is a bigint, and bin is
 * bytes. Unlike msgpackr's, which serves requests, this reader refuses text that is not UTF-8 where
 * that one puts U+FFFD, and knows no extensions, which build objects of a sender's choice.
 */
export function parseMsgpack(bytes: Uint8Array): unknown {
  const cursor = new Cursor(bytes);
  const value = readValue(cursor, 0);
  cursor.end();
  return value;
}

function readValue(cursor: Cursor, depth: number): unknown {
  const tag = cursor.byte();
  if (tag <= 0x7f) return tag;
  if (tag <= 0x8f) return readMap(cursor, tag & 0x0f, depth);
  if (tag <= 0x9f) return readArray(cursor, tag & 0x0f, depth);
  if (tag <= 0xbf) return cursor.text(tag & 0x1f);
  if (tag >= 0xe0) return tag - 0x100;
  const { view } = cursor;
  switch (tag) {
    case 0xc0:
      return null;
    case 0xc2:
      return false;
    case 0xc3:
      return true;
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return cursor.take(readLength(cursor, tag - 0xc4));
    case 0xca:
      return view.getFloat32(cursor.skip(4));
    case 0xcb:
      return view.getFloat64(cursor.skip(8));
    case 0xcc:
    case 0xcd:
    case 0xce:
      return readLength(cursor, tag - 0xcc);
    case 0xcf:
      return exact(view.getBigUint64(cursor.skip(8)));
    case 0xd0:
      return view.getInt8(cursor.skip(1));
    case 0xd1:
      return view.getInt16(cursor.skip(2));
    case 0xd2:
      return view.getInt32(cursor.skip(4));
    case 0xd3:
      return exact(view.getBigInt64(cursor.skip(8)));
    case 0xd9:
    case 0xda:
    case 0xdb:
      return cursor.text(readLength(cursor, tag - 0xd9));
    case 0xdc:
    case 0xdd:
      return readArray(cursor, readLength(cursor, tag - 0xdb), depth);
    case 0xde:
    case 0xdf:
      return readMap(cursor, readLength(cursor, tag - 0xdd), depth);
    default:
      throw badRecord(
        `the value has the byte 0x${tag.toString(16)} where a value begins`,
        'MessagePack without extensions',
      );
  }
}

/** An unsigned number of 1, 2 or 4 bytes, for the size 0, 1 or 2. */
function readLength(cursor: Cursor, size: number): number {
  if (size === 0) return cursor.byte();
  return size === 1 ? cursor.view.getUint16(cursor.skip(2)) : cursor.view.getUint32(cursor.skip(4));
}

function readArray(cursor: Cursor, count: number, depth: number): unknown[] {
  checkDepth(depth);
  cursor.checkCount(count);
  const items: unknown[] = [];
  for (let at = 0; at < count; at++) items.push(readValue(cursor, depth + 1));
  return items;
}

/** Of keys that stand twice the last one counts. */
function readMap(cursor: Cursor, count: number, depth: number): Record<string, unknown> {
  checkDepth(depth);
  cursor.checkCount(2 * count);
  const fields: Record<string, unknown> = {};
  for (let at = 0; at < count; at++) {
    const name = readValue(cursor, depth + 1);
    if (typeof name !== 'string') {
      throw badRecord('a map of the value has a key that is no text', 'names of fields');
    }
    setField(fields, name, readValue(cursor, depth + 1));
  }
  return fields;
}

function checkDepth(depth: number): void {
  if (depth < DEPTH_MAX) return;
  throw badRecord(`the value is nested deeper than ${DEPTH_MAX}`, 'a record');
}
