import { assert } from '../../ground/assert.ts';
import { TidemarkError } from '../../ground/errors.ts';

/**
 * The safetensors layout: named tensors in one buffer that a client can use without a copy.
 *
 * bytes     field
 * 0  u64    length of the header, little-endian
 * 8         the header: JSON, `{"__metadata__": {text: text}, name: {dtype, shape, data_offsets}}`,
 *           then spaces up to a multiple of eight
 * 8 + len   the tensors, row-major and little-endian, one after another without gaps;
 *           `data_offsets` count from here
 *
 * The tensors are laid down widest numbers first, so that with the padded header each of them starts
 * on a multiple of its number's size, whatever the shapes.
 */
const LENGTH_BYTES = 8;
const ALIGNMENT = 8;
const SPACE = 0x20;

/** Bytes of one number of each dtype that Tidemark writes. */
const DTYPE_BYTES = {
  I64: 8,
  U64: 8,
  F64: 8,
  I32: 4,
  U32: 4,
  F32: 4,
  I16: 2,
  U16: 2,
  F16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;
export type TensorDtype = keyof typeof DTYPE_BYTES;

/** What vectors are in a file. */
export const TENSOR_DTYPES = { float32: 'F32', float16: 'F16', int8: 'I8' } as const;

export interface TensorSpec {
  name: string;
  dtype: TensorDtype;
  shape: readonly number[];
}

export interface TensorPlan {
  /** Bytes of the whole file. */
  bytes: number;
  /** Where each tensor's bytes start in the file: one a tensor, in the order they were asked. */
  starts: readonly number[];
  /** Length and header, to stand at the front of the file. */
  header: Buffer;
}

/** Lays out a file of these tensors; nothing is allocated but the header. */
export function planSafetensors(
  tensors: readonly TensorSpec[],
  metadata: Readonly<Record<string, string>>,
): TensorPlan {
  const order = tensors
    .map((_, at) => at)
    .toSorted((a, b) => DTYPE_BYTES[tensors[b]!.dtype] - DTYPE_BYTES[tensors[a]!.dtype]);
  const entries: Record<string, unknown> = { __metadata__: metadata };
  const starts = tensors.map(() => 0);
  let end = 0;
  for (const at of order) {
    const { name, dtype, shape } = tensors[at]!;
    assert(!Object.hasOwn(entries, name), 'each tensor of a file has its own name');
    starts[at] = end;
    end += tensorBytes(dtype, shape);
    entries[name] = { dtype, shape, data_offsets: [starts[at], end] };
  }
  const text = Buffer.from(JSON.stringify(entries));
  const padded = Math.ceil(text.byteLength / ALIGNMENT) * ALIGNMENT;
  const header = Buffer.alloc(LENGTH_BYTES + padded, SPACE);
  header.writeBigUInt64LE(BigInt(padded));
  text.copy(header, LENGTH_BYTES);
  return {
    bytes: header.byteLength + end,
    starts: starts.map((start) => header.byteLength + start),
    header,
  };
}

/**
 * The file's buffer with its header written; the tensors' bytes are whatever was there before.
 * `room`: memory that starts on a multiple of eight.
 */
export function allocateSafetensors(
  { bytes, header }: TensorPlan,
  room = (size: number): Buffer<ArrayBuffer> => Buffer.allocUnsafeSlow(size),
): Buffer<ArrayBuffer> {
  const file = room(bytes);
  header.copy(file);
  return file;
}

export interface ParsedTensor {
  dtype: string;
  shape: number[];
  /** A window on the file. */
  bytes: Uint8Array;
}

/** What a file holds. Throws BAD_REQUEST when it is cut, overlong or its header does not fit. */
export function parseSafetensors(file: Uint8Array): {
  metadata: Record<string, string>;
  tensors: Map<string, ParsedTensor>;
} {
  // A plain window: `slice` of a Buffer, which the file may be, does not copy as others do.
  const plain = new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.byteLength < LENGTH_BYTES) throw malformed('it is shorter than the header length');
  const from = LENGTH_BYTES + Number(view.getBigUint64(0, true));
  if (from > file.byteLength) throw malformed('it ends within the header');
  const { __metadata__: metadata = {}, ...entries } = parseHeader(
    file.subarray(LENGTH_BYTES, from),
  );
  const tensors = new Map<string, ParsedTensor>();
  let end = from;
  for (const [name, entry] of Object.entries(entries) as [string, Entry][]) {
    const [start, stop] = entry.data_offsets;
    if (stop < start || from + stop > file.byteLength) throw malformed(`${name} is not within it`);
    const bytes = plain.subarray(from + start, from + stop);
    if (bytes.byteLength !== tensorBytes(entry.dtype as TensorDtype, entry.shape)) {
      throw malformed(`${name} has ${bytes.byteLength} bytes, which its shape does not`);
    }
    tensors.set(name, { dtype: entry.dtype, shape: entry.shape, bytes });
    end = Math.max(end, from + stop);
  }
  if (end !== file.byteLength) throw malformed('bytes follow the last tensor');
  return { metadata: metadata as Record<string, string>, tensors };
}

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

function parseHeader(bytes: Uint8Array): Record<string, unknown> {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>;
  } catch (error) {
    throw malformed('its header is not JSON', error);
  }
}

function tensorBytes(dtype: TensorDtype, shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype]);
}

function malformed(why: string, cause?: unknown): TidemarkError {
  return new TidemarkError('BAD_REQUEST', `no safetensors file: ${why}`, { cause });
}
