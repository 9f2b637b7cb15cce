import { type Data, DataType, makeData, type Utf8 } from 'apache-arrow';

import { TidemarkError } from '../../ground/errors.ts';

type Parts = { nullCount: number; nullBitmap: Uint8Array | null };

/**
 * The rows of a column at `rows`, in that order. Throws BAD_REQUEST for a type that cannot be put in
 * another order.
 */
export function take(data: Data, rows: Int32Array, column: string): Data {
  const { type } = data;
  const length = rows.length;
  const parts = takeNulls(data, rows);
  if (DataType.isDictionary(type)) {
    const indices = takeFixed(data, rows);
    return makeData({
      type,
      length,
      data: indices,
      dictionary: data.dictionary,
      ...parts,
    } as never);
  }
  if (DataType.isNull(type)) return makeData({ type, length });
  if (DataType.isBool(type)) {
    return makeData({
      type,
      length,
      data: takeBits(data.values as Uint8Array, data.offset, rows),
      ...parts,
    });
  }
  if (hasOffsets(type)) return takeVariable(data, rows, parts, column);
  if (DataType.isFixedSizeList(type)) {
    const child = take(data.children[0]!, spread(rows, type.listSize), column);
    return makeData({ type, length, child, ...parts });
  }
  if (DataType.isStruct(type)) {
    const children = data.children.map((child) => take(child, rows, column));
    return makeData({ type, length, children, ...parts });
  }
  const isView = DataType.isUtf8View(type) || DataType.isBinaryView(type);
  if (ArrayBuffer.isView(data.values) && !isView) {
    return makeData({ type, length, data: takeFixed(data, rows), ...parts } as never);
  }
  throw new TidemarkError(
    'BAD_REQUEST',
    `the column ${column} is of type ${(type as Utf8).toString()}, whose rows cannot be put in another order; ` +
      'ask for order=spine, or leave the column out',
  );
}

function hasOffsets(type: DataType): boolean {
  return (
    DataType.isUtf8(type) ||
    DataType.isLargeUtf8(type) ||
    DataType.isBinary(type) ||
    DataType.isLargeBinary(type) ||
    DataType.isList(type) ||
    DataType.isMap(type)
  );
}

/** Numbers of one width, or several a row. */
function takeFixed({ values, stride }: Data, rows: Int32Array): ArrayBufferView {
  // The offset of a slice is one of its bits alone: its numbers were cut to it.
  const from = values as Uint8Array;
  const Numbers = from.constructor as new (length: number) => Uint8Array;
  const out = new Numbers(rows.length * stride);
  if (stride === 1) {
    for (let at = 0; at < rows.length; at++) out[at] = from[rows[at]!]!;
  } else {
    for (let at = 0; at < rows.length; at++) {
      const row = rows[at]! * stride;
      for (let part = 0; part < stride; part++) out[at * stride + part] = from[row + part]!;
    }
  }
  return out;
}

/** Texts, bytes and lists: rows of any length. */
function takeVariable(data: Data, rows: Int32Array, parts: Parts, column: string): Data {
  const { type } = data;
  const length = rows.length;
  const offsets = data.valueOffsets as Int32Array | BigInt64Array;
  const starts = new Int32Array(length + 1);
  for (let at = 0; at < length; at++) {
    const row = rows[at]!;
    starts[at + 1] = starts[at]! + Number(offsets[row + 1]!) - Number(offsets[row]!);
  }
  const total = starts[length]!;
  const isLarge = offsets instanceof BigInt64Array;
  const valueOffsets = isLarge ? BigInt64Array.from(starts, BigInt) : starts;
  if (DataType.isList(type) || DataType.isMap(type)) {
    const items = new Int32Array(total);
    for (let at = 0; at < length; at++) {
      const from = Number(offsets[rows[at]!]!);
      for (let item = starts[at]!, next = from; item < starts[at + 1]!; item++)
        items[item] = next++;
    }
    const child = take(data.children[0]!, items, column);
    return makeData({ type, length, valueOffsets: starts, child, ...parts } as never);
  }
  const bytes = data.values as Uint8Array;
  const out = new Uint8Array(total);
  for (let at = 0; at < length; at++) {
    const from = Number(offsets[rows[at]!]!);
    let to = starts[at]!;
    // Texts are short: a call a row would cost more than the bytes.
    for (let byte = from; to < starts[at + 1]!; byte++) out[to++] = bytes[byte]!;
  }
  return makeData({ type, length, valueOffsets, data: out, ...parts } as never);
}

function spread(rows: Int32Array, size: number): Int32Array {
  const out = new Int32Array(rows.length * size);
  for (let at = 0; at < rows.length; at++) {
    for (let item = 0; item < size; item++) out[at * size + item] = rows[at]! * size + item;
  }
  return out;
}

function takeNulls({ nullCount, nullBitmap, offset }: Data, rows: Int32Array): Parts {
  if (nullCount === 0 || !nullBitmap) return { nullCount: 0, nullBitmap: null };
  const bits = takeBits(nullBitmap, offset, rows);
  let set = 0;
  for (let at = 0; at < rows.length; at++) set += (bits[at >> 3]! >> (at & 7)) & 1;
  return { nullCount: rows.length - set, nullBitmap: bits };
}

function takeBits(bits: Uint8Array, offset: number, rows: Int32Array): Uint8Array {
  const out = new Uint8Array(Math.ceil(rows.length / 64) * 8);
  for (let at = 0; at < rows.length; at++) {
    const bit = offset + rows[at]!;
    if ((bits[bit >> 3]! >> (bit & 7)) & 1) out[at >> 3]! |= 1 << (at & 7);
  }
  return out;
}
