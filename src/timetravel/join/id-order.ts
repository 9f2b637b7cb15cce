import { radixOrder } from '../../store/radix-order.ts';

/** Characters that make one number exactly, 8 bits each. */
const CHARACTERS = 6;
/** All characters beyond are one: what they begin is put in order by comparing. */
const OTHER = 255;

/**
 * The indices of `ids` about in the order that a store keeps entities in, so that one page of it
 * after the other is read. What all ids have in common at their beginning is passed over.
 */
export function idOrder(ids: readonly string[]): Int32Array {
  const from = commonPrefix(ids);
  const keys = new Float64Array(ids.length);
  for (let at = 0; at < ids.length; at++) keys[at] = keyOf(ids[at]!, from);
  const order = radixOrder(keys);
  for (let start = 0; start < order.length;) {
    const key = keys[order[start]!]!;
    let end = start + 1;
    while (end < order.length && keys[order[end]!] === key) end++;
    if (end > start + 1) order.subarray(start, end).sort((a, b) => compare(ids[a]!, ids[b]!));
    start = end;
  }
  return order;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function keyOf(id: string, from: number): number {
  let key = 0;
  for (let at = from; at < from + CHARACTERS; at++) {
    key = key * 256 + (at < id.length ? Math.min(OTHER, id.charCodeAt(at)) : 0);
  }
  return key;
}

function commonPrefix(ids: readonly string[]): number {
  const [first = ''] = ids;
  let length = first.length;
  for (const id of ids) {
    let at = 0;
    while (at < length && at < id.length && id.charCodeAt(at) === first.charCodeAt(at)) at++;
    length = at;
  }
  return length;
}
