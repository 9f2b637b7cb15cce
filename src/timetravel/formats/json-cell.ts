import { type Data, DataType, type Decimal, type Timestamp, TimeUnit, Vector } from 'apache-arrow';

import { formatInstant, isMicros } from '../../ground/time.ts';

/** What stands in a row of a column, as a value of JSON. */
export type JsonColumn = (row: number) => unknown;

const UNITS_PER_SECOND: Record<TimeUnit, bigint> = {
  [TimeUnit.SECOND]: 1n,
  [TimeUnit.MILLISECOND]: 1_000n,
  [TimeUnit.MICROSECOND]: 1_000_000n,
  [TimeUnit.NANOSECOND]: 1_000_000_000n,
};
const MICROS_PER_SECOND = 1_000_000n;

/**
 * A column's values as JSON can hold them: whole numbers wider than ±2⁵³ and decimals as text, what is
 * no number (NaN, infinity) as null, binary in base64, moments in RFC 3339.
 */
export function jsonColumn(data: Data): JsonColumn {
  const { type } = data;
  if (DataType.isDictionary(type)) {
    const values = (data.dictionary as Vector).data.map(jsonColumn);
    const lengths = (data.dictionary as Vector).data.map(({ length }) => length);
    const codes = data.values as ArrayLike<number>;
    return nullable(data, (row) => inChunks(values, lengths, Number(codes[row])));
  }
  if (DataType.isTimestamp(type)) {
    const values = data.values as BigInt64Array;
    return nullable(data, (row) => timestampText(values[row]!, type));
  }
  if (DataType.isDecimal(type)) {
    const words = data.values as Uint32Array;
    const width = data.stride;
    return nullable(data, (row) =>
      decimalText(words.subarray(row * width, (row + 1) * width), type),
    );
  }
  if (DataType.isStruct(type)) {
    const columns = data.children.map(jsonColumn);
    const names = type.children.map(({ name }) => name);
    return nullable(data, (row) =>
      Object.fromEntries(names.map((name, at) => [name, columns[at]!(row)])),
    );
  }
  if (DataType.isFixedSizeList(type)) {
    const item = jsonColumn(data.children[0]!);
    const size = type.listSize;
    return nullable(data, (row) => range(row * size, (row + 1) * size, item));
  }
  if (DataType.isList(type) || DataType.isLargeList(type) || DataType.isMap(type)) {
    const item = jsonColumn(data.children[0]!);
    const offsets = data.valueOffsets as ArrayLike<number | bigint>;
    return nullable(data, (row) => range(Number(offsets[row]), Number(offsets[row + 1]), item));
  }
  const vector = new Vector([data]);
  if (DataType.isDate(type)) {
    return (row) => {
      const value = vector.get(row) as number | null;
      return value === null ? null : new Date(value).toISOString().slice(0, 10);
    };
  }
  return (row) => plain(vector.get(row));
}

function nullable(data: Data, column: JsonColumn): JsonColumn {
  return (row) => (data.getValid(row) ? column(row) : null);
}

function inChunks(
  chunks: readonly JsonColumn[],
  lengths: readonly number[],
  index: number,
): unknown {
  let chunk = 0;
  let at = index;
  while (at >= lengths[chunk]!) at -= lengths[chunk++]!;
  return chunks[chunk]!(at);
}

function range(from: number, to: number, item: JsonColumn): unknown[] {
  return Array.from({ length: to - from }, (_, at) => item(from + at));
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (ArrayBuffer.isView(value)) return Array.from(value as Int32Array, plain);
  return value;
}

/** A moment in UTC; one without a zone is told without a zone. */
function timestampText(value: bigint, { unit, timezone }: Timestamp): string {
  const perSecond = UNITS_PER_SECOND[unit];
  const rest = ((value % perSecond) + perSecond) % perSecond;
  const seconds = (value - rest) / perSecond;
  const micros = Number(seconds * MICROS_PER_SECOND + (rest * MICROS_PER_SECOND) / perSecond);
  const finer = perSecond > MICROS_PER_SECOND ? rest % (perSecond / MICROS_PER_SECOND) : 0n;
  if (!isMicros(micros)) return String(value);
  const text = formatInstant(micros).slice(0, -1);
  const zone = timezone ? 'Z' : '';
  if (finer === 0n) return text + zone;
  return `${text.slice(0, 'YYYY-MM-DDTHH:MM:SS'.length)}.${String(rest).padStart(9, '0')}${zone}`;
}

/** Words from the lowest on, in two's complement. */
function decimalText(words: Uint32Array, { scale }: Decimal): string {
  let value = 0n;
  for (let at = words.length - 1; at >= 0; at--) value = (value << 32n) | BigInt(words[at]!);
  const signed = BigInt.asIntN(words.length * 32, value);
  const digits = String(signed < 0n ? -signed : signed).padStart(scale + 1, '0');
  const sign = signed < 0n ? '-' : '';
  if (scale <= 0) return `${sign}${digits}${'0'.repeat(-scale)}`;
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}
