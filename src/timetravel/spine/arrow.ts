import {
  CompressionType,
  compressionRegistry,
  type Data,
  DataType,
  type Field,
  makeData,
  RecordBatch,
  RecordBatchReader,
  Schema,
  Struct,
} from 'apache-arrow';

import { TidemarkError } from '../../ground/errors.ts';
import { unpackLz4, unpackZstd } from './arrow-buffers.ts';
import { emptyData, isForeign, joinData } from './join-data.ts';

compressionRegistry.set(CompressionType.LZ4_FRAME, { decode: unpackLz4 });
compressionRegistry.set(CompressionType.ZSTD, { decode: unpackZstd });

/**
 * All batches of Arrow IPC streams of one schema as one. Columns of views become plain ones: they hold the same
 * texts, and everybody downstream reads those. Throws BAD_REQUEST for what is damaged.
 */
export function decodeBatches(...streams: readonly Uint8Array[]): RecordBatch {
  try {
    const batches = streams.flatMap((bytes) => [...RecordBatchReader.from(bytes)]);
    for (const { numRows, data } of batches) {
      if (data.children.some(({ length }) => length !== numRows)) {
        throw new Error('a column has another number of rows than its batch');
      }
      if (numRows > 0 && !data.children.every(isWhole))
        throw new Error('a column has fewer values than its rows');
    }
    const [first] = batches;
    // Of a stream without rows apache-arrow makes columns that lack their children.
    if (batches.every(({ numRows }) => numRows === 0)) {
      const empty = first!.schema.fields.map(({ type }) => joinData([emptyData(type)]));
      return batchOf(first!.schema, empty, 0);
    }
    if (batches.length === 1 && !isForeign(first!.data)) return first!;
    return joinBatches(batches);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new TidemarkError('BAD_REQUEST', `the Arrow data of the spine is damaged: ${why}`, {
      cause: error,
    });
  }
}

/** Whether rows of a fixed size have all of their values, at any depth. */
function isWhole({ type, length, values, children }: Data): boolean {
  if (DataType.isFixedSizeList(type) && children[0]!.length < length * type.listSize) return false;
  if (DataType.isFixedSizeBinary(type) && values.length < length * type.byteWidth) return false;
  return children.every(isWhole);
}

/** Whether one of the columns has a dictionary, at any depth. */
export function hasDictionary(fields: readonly Field[]): boolean {
  return fields.some(
    ({ type }) => DataType.isDictionary(type) || hasDictionary((type.children ?? []) as Field[]),
  );
}

function joinBatches(batches: readonly RecordBatch[]): RecordBatch {
  const { schema } = batches[0]!;
  const columns = schema.fields.map((_, at) => batches.map(({ data }) => data.children[at]!));
  return batchOf(
    schema,
    columns.map(joinData),
    batches.reduce((sum, { numRows }) => sum + numRows, 0),
  );
}

/** A batch of these columns, under the schema's names, with the types that they have now. */
function batchOf(schema: Schema, children: readonly Data[], length: number): RecordBatch {
  const fields = schema.fields.map((field, at) => field.clone({ type: children[at]!.type }));
  return new RecordBatch(
    new Schema(fields, schema.metadata),
    makeData({ type: new Struct(fields), length, nullCount: 0, children: [...children] }),
  );
}
