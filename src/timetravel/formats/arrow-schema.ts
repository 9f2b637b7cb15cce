import {
  DataType,
  Dictionary,
  Field,
  FixedSizeList,
  Float16,
  Float32,
  Int8,
  Schema,
} from 'apache-arrow';

import type { Dtype } from '../../store/dtype.ts';
import type { AnswerSchema } from './answer.ts';

/** The schema of a whole answer: the batch's columns with those of vectors at their places. */
export function wholeSchema({ schema, vectors }: AnswerSchema): Schema {
  const fields = withDictionaryIds(schema.fields);
  for (const { name, at, dim, dtype } of vectors) {
    fields.splice(at, 0, new Field(name, vectorType(dim, dtype), true));
  }
  return new Schema(fields, schema.metadata);
}

/**
 * The fields with their dictionaries numbered in the order that they are met: those inside a dictionary's
 * values before it. The ids that a column came with are of who made it: they differ from one window to
 * the next, and two columns of different makers may have the same.
 */
export function withDictionaryIds(fields: readonly Field[]): Field[] {
  let dictionaries = 0;
  const next = () => dictionaries++;
  return fields.map((field) => numbered(field, next));
}

const NUMBER = { float32: Float32, float16: Float16, int8: Int8 } as const;

function vectorType(dim: number, dtype: Dtype): DataType {
  return new FixedSizeList(dim, new Field('item', new NUMBER[dtype](), false));
}

function numbered({ name, type, nullable, metadata }: Field, next: () => number): Field {
  return new Field(name, typeWithIds(type, next), nullable, metadata);
}

function typeWithIds(type: DataType, next: () => number): DataType {
  if (DataType.isDictionary(type)) {
    const { dictionary, indices, isOrdered } = type;
    const values = typeWithIds(dictionary, next);
    return new Dictionary(values, indices, next(), isOrdered);
  }
  if (!type.children?.length) return type;
  const children = type.children.map((child) => numbered(child, next));
  // Whatever nested type it is: the same with other children.
  return Object.assign(Object.create(Object.getPrototypeOf(type) as object) as DataType, type, {
    children,
  });
}
