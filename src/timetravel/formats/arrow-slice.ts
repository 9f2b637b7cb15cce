import { type Data, DataType } from 'apache-arrow';
import { truncateBitmap } from 'apache-arrow/util/bit';

/**
 * Rows of a column, such that apache-arrow can write them. Of a slice it would skip the rows before
 * it a second time where they are views, and count none of its nulls where all are.
 */
export function sliceOf(data: Data, from: number, to: number): Data {
  const isWhole = from === 0 && to === data.length;
  return writable(isWhole ? data : data.slice(from, to - from));
}

function writable(data: Data): Data {
  const { type, length, offset, nullCount, nullBitmap, values, valueOffsets, children } = data;
  if (DataType.isNull(type)) return data.clone(type, 0, length, length);
  if (DataType.isUtf8View(type) || DataType.isBinaryView(type)) {
    if (offset === 0) return data;
    const bits = nullCount === 0 ? undefined : truncateBitmap(offset, length, nullBitmap);
    return data.clone(type, 0, length, nullCount, [undefined, values, bits] as never);
  }
  if (children.length === 0) return data;
  if (DataType.isList(type) || DataType.isLargeList(type) || DataType.isMap(type)) {
    // The lists' own rows begin at zero then, and are not cut again.
    const items = sliceOf(children[0]!, Number(valueOffsets[0]), Number(valueOffsets[length]));
    const buffers = [fromZero(valueOffsets), undefined, nullBitmap] as never;
    return data.clone(type, offset, length, nullCount, buffers, [items]);
  }
  const buffers = [valueOffsets, values, nullBitmap, data.typeIds] as never;
  return data.clone(type, offset, length, nullCount, buffers, children.map(writable));
}

function fromZero(offsets: Int32Array | BigInt64Array): Int32Array | BigInt64Array {
  if (offsets instanceof Int32Array) return offsets.map((place) => place - offsets[0]!);
  return offsets.map((place) => place - offsets[0]!);
}
