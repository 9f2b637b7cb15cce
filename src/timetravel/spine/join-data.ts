import {
  Binary,
  type Data,
  DataType,
  Dictionary,
  Field,
  FixedSizeList,
  LargeList,
  List,
  makeData,
  Map_,
  Struct,
  Utf8,
  Vector,
} from 'apache-arrow';

import { isValid } from './column.ts';
import { bitmapBytes } from './text-columns.ts';

const VIEW_BYTES = 16;
/** A view of at most so many bytes holds them itself, after its length. */
const INLINE_BYTES = 12;

/**
 * Consecutive parts of a column as one, with nothing before or behind it. Views become plain texts
 * and bytes, at any depth. The parts of a dictionary column share one dictionary.
 */
export function joinData(parts: readonly Data[]): Data {
  const { type } = parts[0]!;
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const common = { length, ...validityOf(parts, length) };
  if (DataType.isNull(type)) return makeData({ type, length });
  if (DataType.isUtf8View(type)) {
    return makeData({ type: new Utf8(), ...common, ...plainViews(parts, length) });
  }
  if (DataType.isBinaryView(type)) {
    return makeData({ type: new Binary(), ...common, ...plainViews(parts, length) });
  }
  if (DataType.isBool(type)) return makeData({ type, ...common, data: joinBits(parts, length) });
  if (DataType.isUtf8(type) || DataType.isBinary(type)) {
    const { valueOffsets, ranges } = joinOffsets(parts, new Int32Array(length + 1), Number);
    const data = joinValues(parts.map(({ values }, at) => values.subarray(...ranges[at]!)));
    return makeData({ type: type as Utf8, ...common, valueOffsets, data });
  }
  if (DataType.isLargeUtf8(type) || DataType.isLargeBinary(type)) {
    const { valueOffsets, ranges } = joinOffsets(parts, new BigInt64Array(length + 1), BigInt);
    const data = joinValues(parts.map(({ values }, at) => values.subarray(...ranges[at]!)));
    return makeData({ type: type as never, ...common, valueOffsets, data } as never);
  }
  if (DataType.isList(type) || DataType.isMap(type)) {
    const { valueOffsets, ranges } = joinOffsets(parts, new Int32Array(length + 1), Number);
    const child = joinChildren(parts, 0, ranges);
    const field = (type.children[0] as Field).clone({ type: child.type });
    const joined = DataType.isMap(type)
      ? new Map_(field as never, type.keysSorted)
      : new List(field);
    return makeData({ type: joined as List, ...common, valueOffsets, child });
  }
  if (DataType.isLargeList(type)) {
    const { valueOffsets, ranges } = joinOffsets(parts, new BigInt64Array(length + 1), BigInt);
    const child = joinChildren(parts, 0, ranges);
    const joined = new LargeList((type.children[0] as Field).clone({ type: child.type }));
    return makeData({ type: joined, ...common, valueOffsets, child });
  }
  if (DataType.isFixedSizeList(type)) {
    const child = joinData(parts.map(({ children }) => children[0]!));
    const field = (type.children[0] as Field).clone({ type: child.type });
    return makeData({ type: new FixedSizeList(type.listSize, field), ...common, child });
  }
  if (DataType.isStruct(type)) {
    const children = type.children.map((_, at) =>
      joinData(parts.map((part) => part.children[at]!)),
    );
    const fields = type.children.map((field, at) => field.clone({ type: children[at]!.type }));
    return makeData({ type: new Struct(fields), ...common, children });
  }
  const data = joinValues(parts.map((part) => part.values.subarray(0, part.length * part.stride)));
  if (DataType.isDictionary(type)) {
    const entries = joinData(parts[0]!.dictionary!.data);
    const joined = new Dictionary(entries.type, type.indices, type.id, type.isOrdered);
    return makeData({ type: joined, ...common, data, dictionary: new Vector([entries]) });
  }
  return makeData({ type: type as never, ...common, data } as never);
}

/** A column of no rows. */
export function emptyData(type: DataType): Data {
  if (DataType.isDictionary(type)) {
    return makeData({ type, dictionary: new Vector([emptyData(type.dictionary)]) });
  }
  const children = (type.children ?? []).map((field) => emptyData(field.type));
  return makeData({ type, children, child: children[0] } as never);
}

/** Whether a column of this type has to be made anew even where it has one part. */
export function isForeign(data: Data): boolean {
  const { type, children, dictionary } = data;
  if (DataType.isUtf8View(type) || DataType.isBinaryView(type)) return true;
  if (dictionary !== undefined && (dictionary.data.length > 1 || isForeign(dictionary.data[0]!))) {
    return true;
  }
  return children.some(isForeign);
}

function validityOf(
  parts: readonly Data[],
  length: number,
): { nullCount: number; nullBitmap?: Uint8Array } {
  const nullCount = parts.reduce((sum, part) => sum + part.nullCount, 0);
  if (nullCount === 0) return { nullCount };
  const nullBitmap = new Uint8Array(bitmapBytes(length));
  let at = 0;
  for (const part of parts) {
    for (let row = 0; row < part.length; row++, at++) {
      if (isValid(part, row)) nullBitmap[at >> 3]! |= 1 << (at & 7);
    }
  }
  return { nullCount, nullBitmap };
}

function joinBits(parts: readonly Data[], length: number): Uint8Array {
  const bits = new Uint8Array(bitmapBytes(length));
  let at = 0;
  for (const { values, offset, length: rows } of parts) {
    for (let bit = offset; bit < offset + rows; bit++, at++) {
      if ((values[bit >> 3]! & (1 << (bit & 7))) !== 0) bits[at >> 3]! |= 1 << (at & 7);
    }
  }
  return bits;
}

type Values = Uint8Array | BigInt64Array;

function joinValues(parts: readonly Values[]): never {
  const Type = parts[0]!.constructor as new (length: number) => Uint8Array;
  const values = new Type(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    values.set(part as Uint8Array, at);
    at += part.length;
  }
  return values as never;
}

/** Offsets that count from 0, and of each part where its values are. */
function joinOffsets<Offsets extends Int32Array | BigInt64Array>(
  parts: readonly Data[],
  valueOffsets: Offsets,
  toOffset: (offset: number) => Offsets[number],
): { valueOffsets: Offsets; ranges: [number, number][] } {
  let [row, base] = [0, 0];
  const ranges = parts.map(({ valueOffsets: offsets, length }): [number, number] => {
    if (length === 0) return [0, 0];
    const first = Number(offsets[0]);
    for (let at = 1; at <= length; at++) {
      valueOffsets[++row] = toOffset(Number(offsets[at]) - first + base);
    }
    const last = Number(offsets[length]);
    base += last - first;
    return [first, last];
  });
  return { valueOffsets, ranges };
}

function joinChildren(
  parts: readonly Data[],
  child: number,
  ranges: readonly [number, number][],
): Data {
  return joinData(
    parts.map(({ children }, at) => {
      const [from, end] = ranges[at]!;
      return children[child]!.slice(from, end - from);
    }),
  );
}

/**
 * bytes     field of a view
 * 0  i32    length
 * 4         the bytes themselves, at most 12, or their first 4 and
 * 8  i32    which of the column's buffers they are in
 * 12 i32    where there
 */
function plainViews(
  parts: readonly Data[],
  length: number,
): { valueOffsets: Int32Array; data: Uint8Array } {
  const valueOffsets = new Int32Array(length + 1);
  const pieces: Uint8Array[] = [];
  let [row, bytes] = [0, 0];
  for (const part of parts) {
    const { values, variadicBuffers } = part;
    const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
    for (let at = 0; at < part.length; at++) {
      if (isValid(part, at)) {
        const from = at * VIEW_BYTES;
        const size = view.getInt32(from, true);
        const [source, start] =
          size <= INLINE_BYTES
            ? [values as Uint8Array, from + 4]
            : [variadicBuffers[view.getInt32(from + 8, true)]!, view.getInt32(from + 12, true)];
        pieces.push(source.subarray(start, start + size));
        bytes += size;
      }
      valueOffsets[++row] = bytes;
    }
  }
  const data = new Uint8Array(bytes);
  let end = 0;
  for (const piece of pieces) {
    data.set(piece, end);
    end += piece.length;
  }
  return { valueOffsets, data };
}
