import { zstdDecompressSync } from 'node:zlib';

import {
  CompressionType,
  compressionRegistry,
  type Data,
  makeData,
  RecordBatch,
  RecordBatchReader,
  Schema,
  Struct,
} from 'apache-arrow';
import { decompressFrameSync } from 'lz4-napi';

import { TidemarkError } from '../../ground/errors.ts';
import { emptyData, isForeign, joinData } from './join-data.ts';

/** What a buffer of a batch may be at most once it is decompressed. */
const BUFFER_BYTES_MAX = 2 ** 30;

compressionRegistry.set(CompressionType.LZ4_FRAME, {
  decode: (bytes) => decompressFrameSync(Buffer.from(bytes)),
});
compressionRegistry.set(CompressionType.ZSTD, {
  decode: (bytes) => zstdDecompressSync(bytes, { maxOutputLength: BUFFER_BYTES_MAX }),
});

/**
 * All batches of an Arrow IPC stream as one. Columns of views become plain ones: they hold the same
 * texts, and everybody downstream reads those. Throws BAD_REQUEST for what is damaged.
 */
export function decodeBatches(bytes: Uint8Array): RecordBatch {
  try {
    const batches = [...RecordBatchReader.from(bytes)];
    for (const { numRows, data } of batches) {
      if (data.children.every(({ length }) => length === numRows)) continue;
      throw new Error('a column has another number of rows than its batch');
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
