import { join } from 'node:path';

import { expect, test } from 'vitest';

import { parseInstant } from '../../src/ground/time.ts';
import { idsOf } from '../../src/timetravel/spine/ids.ts';
import { momentsOf } from '../../src/timetravel/spine/moments.ts';
import { readPiece } from '../../src/timetravel/spine/read.ts';
import { openSpineFile } from '../../src/timetravel/spine/source.ts';
import type { SpineFormat } from '../../src/timetravel/spine/window.ts';
import { pythonWith, runPython } from '../python.ts';
import { tempDirectory } from '../support/temp.ts';
import { TRAINER_PACKAGES } from '../support/trainers.ts';

const ROWS = 1_000;
const FORMATS: Record<string, SpineFormat> = {
  arrow: 'arrow',
  csv: 'csv',
  ndjson: 'ndjson',
  parquet: 'parquet',
};

const WRITE = `
import datetime, sys
import pandas as pd, polars as pl, pyarrow as pa, pyarrow.ipc as ipc, pyarrow.parquet as pq

folder = sys.argv[1]
n = ${ROWS}
start = datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc)
ids = [None if i % 97 == 5 else f"job-ä{i % 41}" for i in range(n)]
numbers = [None if i % 97 == 5 else i % 41 for i in range(n)]
times = [None if i % 89 == 7 else start + datetime.timedelta(milliseconds=i) for i in range(n)]
labels = [i % 2 == 0 for i in range(n)]

def table(id_type, unit, values=ids):
    return pa.table({
        "id": pa.array(values).cast(id_type) if not pa.types.is_dictionary(id_type) else pa.array(values).dictionary_encode(),
        "at": pa.array(times, pa.timestamp(unit, tz="UTC")),
        "label": pa.array(labels),
        "score": pa.array([i / 8 for i in range(n)], pa.float32()),
        "tags": pa.array([[f"t{i % 3}"] * (i % 3) for i in range(n)]),
    })

for name, id_type, unit, values in [
    ("utf8", pa.string(), "us", ids),
    ("large", pa.large_string(), "ns", ids),
    ("view", pa.string_view(), "ms", ids),
    ("dictionary", pa.dictionary(pa.int32(), pa.string()), "us", ids),
    ("int32", pa.int32(), "ns", numbers),
    ("int64", pa.int64(), "us", numbers),
]:
    t = table(id_type, unit, values)
    pq.write_table(t, f"{folder}/{name}.snappy.parquet", compression="snappy", row_group_size=300)
    pq.write_table(t, f"{folder}/{name}.zstd.parquet", compression="zstd", data_page_version="2.0")
    with ipc.new_stream(f"{folder}/{name}.stream.arrow", t.schema) as writer:
        writer.write_table(t, max_chunksize=130)
    with ipc.new_file(f"{folder}/{name}.file.arrow", t.schema) as writer:
        writer.write_table(t)
    for codec in ["lz4", "zstd"]:
        options = ipc.IpcWriteOptions(compression=codec)
        with ipc.new_stream(f"{folder}/{name}.{codec}.arrow", t.schema, options=options) as writer:
            writer.write_table(t, max_chunksize=400)

polars = pl.DataFrame({
    "id": ids, "at": pl.Series(times, dtype=pl.Datetime("us", "UTC")), "label": labels,
})
polars.write_parquet(f"{folder}/polars.parquet", row_group_size=300)
polars.write_ipc(f"{folder}/polars.file.arrow", compression="zstd")
polars.write_ipc_stream(f"{folder}/polars.stream.arrow")
polars.with_columns(pl.col("id").cast(pl.Categorical)).write_ipc_stream(f"{folder}/categorical.stream.arrow")
polars.with_columns(pl.col("id").cast(pl.Categorical)).write_parquet(f"{folder}/categorical.parquet")
pandas = pd.DataFrame({"id": ids, "at": pd.to_datetime(pd.Series(times), utc=True), "label": labels})
pandas.to_parquet(f"{folder}/pandas.parquet")
pandas.to_parquet(f"{folder}/pandas.gzip.parquet", compression="gzip", index=True)
pandas.to_feather(f"{folder}/pandas.feather.arrow")
pandas.assign(at=pandas["at"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")).to_csv(f"{folder}/pandas.csv", index=False)
polars.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")).write_ndjson(f"{folder}/polars.ndjson")
polars.with_columns(at=pl.col("at").dt.replace_time_zone(None)).write_parquet(f"{folder}/naive.parquet")
import os
print("\\n".join(sorted(os.listdir(folder))))
`;

test('spines of pyarrow, Polars and pandas are read: ids, moments and labels of every row', async () => {
  const folder = tempDirectory();
  const python = await pythonWith(TRAINER_PACKAGES);
  const printed = await runPython(python, ['-', folder], WRITE);
  const files = printed
    .trim()
    .split('\n')
    .filter((file) => file !== 'naive.parquet');
  expect(files).toHaveLength(6 * 6 + 10);
  const start = parseInstant('2026-03-01T00:00:00Z');
  for (const file of files) {
    const isNumber = file.startsWith('int');
    // oxlint-disable-next-line no-await-in-loop
    const rows = await rowsOf(join(folder, file));
    expect(rows, file).toEqual(
      Array.from({ length: ROWS }, (_, row) => ({
        id: row % 97 === 5 ? undefined : `${isNumber ? '' : 'job-ä'}${row % 41}`,
        at: row % 89 === 7 ? Number.NaN : start + row * 1_000,
        label: row % 2 === 0,
      })),
    );
  }
  await expect(rowsOf(join(folder, 'naive.parquet'))).rejects.toThrow(
    'column at has timestamps without a time zone',
  );
});

interface Row {
  id: string | undefined;
  at: number;
  label: boolean;
}

async function rowsOf(path: string): Promise<Row[]> {
  const format = FORMATS[path.slice(path.lastIndexOf('.') + 1)]!;
  const limits = { rowsMax: 250, bytesMax: 2 ** 20, lineBytesMax: 1_000 };
  const source = await openSpineFile(path, format, limits);
  const rows: Row[] = [];
  for await (const piece of source.pieces()) {
    expect(piece.rows).toBeLessThanOrEqual(limits.rowsMax);
    const window = await readPiece(piece);
    expect(window.batch.numRows).toBe(piece.rows);
    const { ids, ordinals } = idsOf(window, 'id');
    const moments = momentsOf(window, 'at');
    const labels = window.batch.getChild('label')!;
    ordinals.forEach((ordinal, row) => {
      rows.push({ id: ids[ordinal], at: moments[row]!, label: labels.get(row) as boolean });
    });
  }
  return rows;
}
