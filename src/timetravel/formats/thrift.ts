import { assert } from '../../ground/assert.ts';

/**
 * Thrift's compact protocol, as far as Parquet uses it, without a schema: what is read and written
 * again is the same, fields included that nobody here knows.
 *
 * bytes           what
 * 1, or 1 + n     a field: its type in the low four bits, above them how far its id is from the one
 *                 before; 0 there where that is more than 15, and the id follows
 * 1               0x00, the end of a struct
 * n               an integer: zigzag, seven bits a byte, lowest first
 * n + bytes       binary and text: the length, without zigzag, and the bytes
 * 1, or 1 + n     a list: the type of its items, above it how many; 15 there where the number follows
 */
export const TRUE = 1;
const FALSE = 2;
export const BYTE = 3;
const I16 = 4;
export const I32 = 5;
export const I64 = 6;
const DOUBLE = 7;
export const BINARY = 8;
export const LIST = 9;
export const STRUCT = 12;

interface ThriftList {
  itemType: number;
  items: ThriftValue[];
}

export interface ThriftField {
  type: number;
  value: ThriftValue;
}

/** By field id. Whole numbers are within ±2⁵²; a DOUBLE stays the eight bytes that it is. */
export type ThriftStruct = Map<number, ThriftField>;
export type ThriftValue = boolean | number | Uint8Array | ThriftList | ThriftStruct;

/** A struct of these fields; those whose value is undefined are left out. */
export function thriftStruct(
  fields: readonly (readonly [id: number, type: number, value: ThriftValue | undefined])[],
): ThriftStruct {
  const struct: ThriftStruct = new Map();
  for (const [id, type, value] of fields) if (value !== undefined) struct.set(id, { type, value });
  return struct;
}

/** A text as the bytes that a field holds. */
export function thriftText(text: string): Uint8Array {
  return Buffer.from(text);
}

export function numberIn(struct: ThriftStruct, id: number): number | undefined {
  return struct.get(id)?.value as number | undefined;
}

export function mustGetNumber(struct: ThriftStruct, id: number): number {
  const value = numberIn(struct, id);
  assert(value !== undefined, 'the struct has the field');
  return value;
}

export function textIn(struct: ThriftStruct, id: number): string {
  return Buffer.from((struct.get(id)?.value ?? new Uint8Array()) as Uint8Array).toString();
}

export function structIn(struct: ThriftStruct, id: number): ThriftStruct {
  return struct.get(id)!.value as ThriftStruct;
}

/** The structs of a list; none where there is no such field. */
export function structsIn(struct: ThriftStruct, id: number): ThriftStruct[] {
  return ((struct.get(id)?.value as ThriftList | undefined)?.items ?? []) as ThriftStruct[];
}

export function encodeThrift(struct: ThriftStruct): Uint8Array<ArrayBuffer> {
  const out = new ThriftOutput();
  writeStruct(out, struct);
  return out.bytes();
}

/** The struct that the bytes begin with. */
export function parseThrift(bytes: Uint8Array): ThriftStruct {
  return readStruct({ bytes, at: 0 });
}

/** Bytes of which nobody knows yet how many there will be. */
class ThriftOutput {
  private buffer = Buffer.allocUnsafe(1_024);
  private end = 0;

  byte(value: number): void {
    this.reserve(1);
    this.buffer[this.end++] = value;
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.byteLength);
    this.buffer.set(bytes, this.end);
    this.end += bytes.byteLength;
  }

  /** By division: a shift would cut at 32 bits. */
  varint(value: number): void {
    let rest = value;
    for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) this.byte((rest % 0x80) | 0x80);
    this.byte(rest);
  }

  zigzag(value: number): void {
    this.varint(value >= 0 ? value * 2 : -value * 2 - 1);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.buffer.subarray(0, this.end));
  }

  private reserve(bytes: number): void {
    if (this.end + bytes <= this.buffer.byteLength) return;
    const larger = Buffer.allocUnsafe(2 * (this.end + bytes));
    this.buffer.copy(larger, 0, 0, this.end);
    this.buffer = larger;
  }
}

function writeStruct(out: ThriftOutput, struct: ThriftStruct): void {
  let before = 0;
  for (const id of [...struct.keys()].toSorted((a, b) => a - b)) {
    const { type, value } = struct.get(id)!;
    // Of a truth value the type is the value.
    const isTruth = type === TRUE || type === FALSE;
    const written = isTruth ? (value === true ? TRUE : FALSE) : type;
    const step = id - before;
    if (step <= 15) out.byte((step << 4) | written);
    else {
      out.byte(written);
      out.zigzag(id);
    }
    if (!isTruth) writeValue(out, type, value);
    before = id;
  }
  out.byte(0);
}

function writeValue(out: ThriftOutput, type: number, value: ThriftValue): void {
  switch (type) {
    case TRUE:
    case FALSE:
      out.byte(value === true ? TRUE : FALSE);
      break;
    case BYTE:
      out.byte((value as number) & 0xff);
      break;
    case I16:
    case I32:
    case I64:
      out.zigzag(value as number);
      break;
    case DOUBLE:
      out.raw(value as Uint8Array);
      break;
    case BINARY:
      out.varint((value as Uint8Array).byteLength);
      out.raw(value as Uint8Array);
      break;
    case LIST: {
      const { itemType, items } = value as ThriftList;
      if (items.length < 15) out.byte((items.length << 4) | itemType);
      else {
        out.byte(0xf0 | itemType);
        out.varint(items.length);
      }
      for (const item of items) writeValue(out, itemType, item);
      break;
    }
    default:
      assert(type === STRUCT, `Parquet has no Thrift type ${type}`);
      writeStruct(out, value as ThriftStruct);
  }
}

interface Input {
  bytes: Uint8Array;
  at: number;
}

function readStruct(input: Input): ThriftStruct {
  const struct: ThriftStruct = new Map();
  let id = 0;
  for (;;) {
    const head = readByte(input);
    if (head === 0) return struct;
    const type = head & 0x0f;
    const step = head >> 4;
    id = step === 0 ? readZigzag(input) : id + step;
    const isTruth = type === TRUE || type === FALSE;
    const value = isTruth ? type === TRUE : readValue(input, type);
    struct.set(id, { type, value });
  }
}

function readValue(input: Input, type: number): ThriftValue {
  switch (type) {
    case TRUE:
    case FALSE:
      return readByte(input) === TRUE;
    case BYTE:
      return (readByte(input) << 24) >> 24;
    case I16:
    case I32:
    case I64:
      return readZigzag(input);
    case DOUBLE:
      return readBytes(input, 8);
    case BINARY:
      return readBytes(input, readVarint(input));
    case LIST: {
      const head = readByte(input);
      const itemType = head & 0x0f;
      const length = head >> 4 === 15 ? readVarint(input) : head >> 4;
      return { itemType, items: Array.from({ length }, () => readValue(input, itemType)) };
    }
    default:
      assert(type === STRUCT, `Parquet has no Thrift type ${type}`);
      return readStruct(input);
  }
}

function readByte(input: Input): number {
  const byte = input.bytes[input.at++];
  assert(byte !== undefined, 'a struct ends within its bytes');
  return byte;
}

function readBytes(input: Input, length: number): Uint8Array {
  assert(input.at + length <= input.bytes.byteLength, 'a struct ends within its bytes');
  return input.bytes.slice(input.at, (input.at += length));
}

function readVarint(input: Input): number {
  let value = 0;
  for (let place = 1; ; place *= 0x80) {
    const byte = readByte(input);
    value += (byte & 0x7f) * place;
    if (byte < 0x80) break;
  }
  assert(Number.isSafeInteger(value), 'a number of Thrift is within ±2⁵²');
  return value;
}

function readZigzag(input: Input): number {
  const value = readVarint(input);
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}
