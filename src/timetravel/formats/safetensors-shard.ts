import { type Data, DataType, type Field, type Utf8, Vector } from 'apache-arrow';

import { TidemarkError } from '../../ground/errors.ts';
import { numberBytes, numbersOf } from '../../store/dtype.ts';
import type { Answer, VectorColumn } from './answer.ts';
import { jsonColumn } from './json-cell.ts';
import {
  allocateSafetensors,
  planSafetensors,
  TENSOR_DTYPES,
  type TensorDtype,
  type TensorSpec,
} from './safetensors.ts';

/** A tensor of a shard, and how its bytes come to be. */
interface Tensor extends TensorSpec {
  write: (out: Buffer<ArrayBuffer>) => void;
}

/**
 * A window as one safetensors file:
 *
 * column              tensors
 * a vector            <name> [rows, dim] F32 or F16, NaN in rows without one; or I8, zeros there
 * numbers, moments    <name> [rows], the numbers as they are, moments in the column's unit
 * truth values        <name> [rows] BOOL
 * text, binary        <name>.bytes U8, and <name>.offsets I64 [rows + 1] into them
 * anything else       the same, of its JSON text
 *
 * Beside a column that may have nulls stands <name>.valid U8 [rows]: 1 where there is a value. The
 * metadata's `columns` tells the columns' Arrow types, in their order.
 */
export function encodeShard(
  answer: Answer,
  metadata: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer>[] {
  const { batch, vectors } = answer;
  const { fields } = batch.schema;
  const tensors = batch.data.children.map((data, at) => tensorsOf(fields[at]!, data));
  const types = fields.map(({ name, type }) => ({ name, type: String(type) }));
  for (const column of vectors) {
    const { name, at, dtype, dim } = column;
    tensors.splice(at, 0, [vectorTensor(column)]);
    types.splice(at, 0, { name, type: `FixedSizeList[${dim}]<${dtype}>` });
  }
  const all = tensors.flat();
  refuseTwins(all);
  const plan = planSafetensors(all, { ...metadata, columns: JSON.stringify(types) });
  const file = allocateSafetensors(plan);
  all.forEach((tensor, at) => tensor.write(file.subarray(plan.starts[at])));
  return [file];
}

function refuseTwins(tensors: readonly Tensor[]): void {
  const names = new Set(['__metadata__']);
  for (const { name } of tensors) {
    if (names.has(name)) {
      throw new TidemarkError(
        'NAME_COLLISION',
        `two tensors of a safetensors file would be called ${name}; rename a column of the spine, ` +
          'or ask for another format',
      );
    }
    names.add(name);
  }
}

function vectorTensor(column: VectorColumn): Tensor {
  const { name, dim, dtype, valid } = column;
  const bytes = numberBytes(dim, dtype);
  return {
    name,
    dtype: TENSOR_DTYPES[dtype],
    shape: [valid.length, dim],
    write(out) {
      const vectors = out.subarray(0, valid.length * bytes);
      column.gather(
        vectors,
        Uint32Array.from(valid.keys(), (row) => row * bytes),
      );
      const numbers = numbersOf(vectors, dtype);
      const nothing = dtype === 'int8' ? 0 : Number.NaN;
      let row = valid.indexOf(0);
      for (; row >= 0; row = valid.indexOf(0, row + 1)) {
        numbers.fill(nothing, row * dim, (row + 1) * dim);
      }
    },
  };
}

function tensorsOf(field: Field, data: Data): Tensor[] {
  const values = valueTensors(field.name, data);
  return field.nullable ? [...values, validTensor(field.name, data)] : values;
}

function validTensor(name: string, data: Data): Tensor {
  return {
    name: `${name}.valid`,
    dtype: 'U8',
    shape: [data.length],
    write(out) {
      for (let row = 0; row < data.length; row++) out[row] = data.getValid(row) ? 1 : 0;
    },
  };
}

function valueTensors(name: string, data: Data): Tensor[] {
  const { type, length } = data;
  const shape = [length];
  const dtype = dtypeOf(data);
  if (dtype !== undefined) {
    return [{ name, dtype, shape, write: (out) => out.set(bytesOf(data)) }];
  }
  if (DataType.isBool(type)) {
    const vector = new Vector([data]);
    const write = (out: Buffer): void => {
      for (let row = 0; row < length; row++) out[row] = vector.get(row) === true ? 1 : 0;
    };
    return [{ name, dtype: 'BOOL', shape, write }];
  }
  return textTensors(name, textsOf(data));
}

/** The dtype of numbers that a tensor holds as they are in Arrow's memory. */
function dtypeOf({ type, values }: Data): TensorDtype | undefined {
  if (DataType.isFloat(type)) return (['F16', 'F32', 'F64'] as const)[type.precision];
  const isWhole =
    DataType.isInt(type) ||
    DataType.isTimestamp(type) ||
    DataType.isDate(type) ||
    DataType.isTime(type) ||
    DataType.isDuration(type);
  if (!isWhole) return undefined;
  const { BYTES_PER_ELEMENT: bytes } = values as Int32Array;
  const isSigned = !DataType.isInt(type) || type.isSigned;
  return `${isSigned ? 'I' : 'U'}${(bytes * 8) as 8 | 16 | 32 | 64}`;
}

function bytesOf({ values, length, stride }: Data): Uint8Array {
  const numbers = values as Int32Array;
  const bytes = length * stride * numbers.BYTES_PER_ELEMENT;
  return new Uint8Array(numbers.buffer, numbers.byteOffset, bytes);
}

/** Texts one after another, and where each begins; the last of these is where all end. */
interface Texts {
  bytes: Uint8Array;
  offsets: BigInt64Array;
}

function textTensors(name: string, { bytes, offsets }: Texts): Tensor[] {
  const numbers = new Uint8Array(offsets.buffer);
  return [
    { name: `${name}.bytes`, dtype: 'U8', shape: [bytes.byteLength], write: copyOf(bytes) },
    { name: `${name}.offsets`, dtype: 'I64', shape: [offsets.length], write: copyOf(numbers) },
  ];
}

function copyOf(bytes: Uint8Array): Tensor['write'] {
  return (out) => out.set(bytes);
}

function textsOf(data: Data): Texts {
  const { type, length } = data;
  if (DataType.isUtf8(type) || DataType.isBinary(type)) return spanOf(data);
  if (DataType.isDictionary(type) && DataType.isUtf8(type.dictionary)) {
    const words = Array.from(data.dictionary as Vector<Utf8>, (word) => Buffer.from(word ?? ''));
    const codes = data.values as ArrayLike<number>;
    const none = new Uint8Array();
    return joined(length, (row) => (data.getValid(row) ? words[Number(codes[row])]! : none));
  }
  const isText = DataType.isLargeUtf8(type) || DataType.isUtf8View(type);
  const value = jsonColumn(data);
  return joined(length, (row) => {
    if (!data.getValid(row)) return new Uint8Array();
    return Buffer.from(isText ? (value(row) as string) : JSON.stringify(value(row)));
  });
}

/** Texts that stand in Arrow's memory as they are to stand in the file. */
function spanOf({ values, valueOffsets, length }: Data): Texts {
  const from = valueOffsets[0] as number;
  const offsets = new BigInt64Array(length + 1);
  for (let row = 0; row <= length; row++) {
    offsets[row] = BigInt((valueOffsets[row] as number) - from);
  }
  return { bytes: (values as Uint8Array).subarray(from, valueOffsets[length] as number), offsets };
}

function joined(length: number, textOf: (row: number) => Uint8Array): Texts {
  const texts = Array.from({ length }, (_, row) => textOf(row));
  const offsets = new BigInt64Array(length + 1);
  let end = 0;
  texts.forEach((text, row) => {
    end += text.byteLength;
    offsets[row + 1] = BigInt(end);
  });
  return { bytes: Buffer.concat(texts), offsets };
}
