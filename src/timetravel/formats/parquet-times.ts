import {
  type Data,
  DataType,
  Field,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  TimestampMillisecond,
  TimeUnit,
} from 'apache-arrow';

/** Parquet has no moments in whole seconds, and would hold them as numbers: here they are in milliseconds. */
export function schemaInMillis(schema: Schema): Schema {
  const fields = schema.fields.map(({ name, type, nullable, metadata }) => {
    const zone = secondsZone(type);
    const millis = zone === undefined ? type : new TimestampMillisecond(zone);
    return new Field(name, millis, nullable, metadata);
  });
  return new Schema(fields, schema.metadata);
}

export function batchInMillis({ schema, data }: RecordBatch): RecordBatch {
  const children = data.children.map(inMillis);
  const whole = schemaInMillis(schema);
  const type = new Struct(whole.fields);
  return new RecordBatch(whole, makeData({ type, length: data.length, nullCount: 0, children }));
}

function inMillis(data: Data): Data {
  const zone = secondsZone(data.type);
  if (zone === undefined) return data;
  const millis = (data.values as BigInt64Array).map((seconds) => seconds * 1_000n);
  const buffers = [undefined, millis, data.nullBitmap] as never;
  return data.clone(new TimestampMillisecond(zone), data.offset, data.length, -1, buffers);
}

/** Undefined where the type is not of moments in seconds; null where those have no zone. */
function secondsZone(type: DataType): string | null | undefined {
  if (!DataType.isTimestamp(type) || type.unit !== TimeUnit.SECOND) return undefined;
  return type.timezone ?? null;
}
