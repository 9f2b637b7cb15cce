"""Reads a folder of answers with every reader, and compares them with what was written, bit by bit.

The folder has `expected.json` (the rows without their vectors, moments in microseconds, and whether
each has a vector) and `expected.vectors` (the vectors of those that have one), and `answer.*`. What
differs ends it. It prints the types that the readers found.
"""

import json
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet
from safetensors.numpy import load_file

FOLDER, DTYPE, DIM = Path(sys.argv[1]), np.dtype(sys.argv[2]), int(sys.argv[3])
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
PRESENT = np.array([row.pop("present") for row in EXPECTED], dtype=bool)
VECTORS = (FOLDER / "expected.vectors").read_bytes()
MOMENTS = ["moment", "job__event_timestamp"]
VECTOR = "job__vector"
found = {}


def check_vectors(reader, numbers):
    numbers = np.asarray(numbers)
    exact = numbers.astype(DTYPE)
    assert np.array_equal(exact.astype(numbers.dtype), numbers), f"{reader}: other numbers"
    assert exact.tobytes() == VECTORS, f"{reader}: other vectors"


def check_rows(reader, rows):
    assert len(rows) == len(EXPECTED), f"{reader}: {len(rows)} rows, not {len(EXPECTED)}"
    for number, (row, expected) in enumerate(zip(rows, EXPECTED)):
        assert row == expected, f"{reader}, row {number}: {row}, not {expected}"


def check_arrow(reader, table):
    """A table of pyarrow's, with lists of any kind."""
    table.validate(full=True)
    column = table.column(VECTOR).combine_chunks()
    found[reader] = str(column.type)
    assert np.array_equal(column.is_valid().to_numpy(zero_copy_only=False), PRESENT), reader
    check_vectors(reader, column.drop_null().flatten().to_numpy(zero_copy_only=False))
    for name in MOMENTS:
        at = table.schema.get_field_index(name)
        assert str(table.schema.field(at).type) in ("timestamp[us, tz=UTC]", "timestamp[us, tz=Etc/UTC]"), reader
        table = table.set_column(at, name, table.column(name).cast(pa.int64()))
    check_rows(reader, table.drop_columns([VECTOR]).to_pylist())


def check_polars(reader, frame):
    vectors = frame[VECTOR]
    found[reader] = str(vectors.dtype)
    assert np.array_equal(vectors.is_not_null().to_numpy(), PRESENT), reader
    check_vectors(reader, vectors.drop_nulls().explode().to_numpy())
    frame = frame.drop(VECTOR).with_columns(pl.col(MOMENTS).dt.epoch("us"))
    check_rows(reader, frame.to_dicts())


def check_duckdb(reader, source, table=None):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    if table is not None:
        connection.register(source, table)
    check_arrow(reader, connection.sql(f"SELECT * FROM {source}").to_arrow_table())


parquet = str(FOLDER / "answer.parquet")
check_arrow("pyarrow parquet", pa.parquet.read_table(parquet))
check_polars("polars parquet", pl.read_parquet(parquet))
check_duckdb("duckdb parquet", f"'{parquet}'")
vectors = pd.read_parquet(parquet, columns=[VECTOR])[VECTOR]
assert np.array_equal(vectors.notna().to_numpy(), PRESENT)
check_vectors("pandas parquet", np.stack(vectors.dropna().to_numpy()))
assert pa.parquet.read_metadata(parquet).metadata[b"tidemark"] == b'{"rows":414}'
found["row groups"] = pa.parquet.read_metadata(parquet).num_row_groups

with pa.ipc.open_stream(str(FOLDER / "answer.arrows")) as stream:
    table = stream.read_all()
check_arrow("pyarrow arrow", table)
check_polars("polars arrow", pl.read_ipc_stream(FOLDER / "answer.arrows"))
if DTYPE != np.float16:
    # DuckDB has no float16 of Arrow's.
    check_duckdb("duckdb arrow", "answer", table)
with pa.ipc.open_stream(str(FOLDER / "answer.arrows")) as stream:
    told = {}
    while not told:
        told = dict(stream.read_next_batch_with_custom_metadata().custom_metadata or {})
assert told == {b"tidemark": b'{"rows":414}'}, told

lines = (FOLDER / "answer.ndjson").read_text().splitlines()
assert json.loads(lines.pop()) == {"__summary": {"rows": 414}}
ndjson = FOLDER / "rows.ndjson"
ndjson.write_text("\n".join(lines))
check_vectors("ndjson", [v for line in lines for v in json.loads(line)[VECTOR] or []])
check_vectors("polars ndjson", pl.read_ndjson(ndjson)[VECTOR].drop_nulls().explode().to_numpy())
column = pa.json.read_json(ndjson).column(VECTOR).combine_chunks()
check_vectors("pyarrow ndjson", column.drop_null().flatten().to_numpy())
numbers = duckdb.sql(f"SELECT unnest({VECTOR}) AS n FROM read_json('{ndjson}')").fetchnumpy()["n"]
check_vectors("duckdb ndjson", np.asarray(numbers))

shard = load_file(FOLDER / "answer.safetensors")
assert shard[VECTOR].dtype == DTYPE and shard[VECTOR].shape == (len(EXPECTED), DIM)
check_vectors("safetensors", shard[VECTOR][PRESENT])
nothing = shard[VECTOR][~PRESENT]
assert (nothing == 0).all() if DTYPE == np.int8 else np.isnan(nothing).all()
for name, row in [("label", [r["label"] for r in EXPECTED]), ("moment", [r["moment"] for r in EXPECTED])]:
    assert shard[name].tolist() == row, name
text, offsets = shard["id.bytes"].tobytes(), shard["id.offsets"].tolist()
ids = [text[a:b].decode() for a, b in zip(offsets, offsets[1:])]
assert ids == [row["id"] for row in EXPECTED]

for reader, read in [
    ("pyarrow", lambda name: pa.parquet.read_table(f"{name}.parquet")),
    ("pyarrow", lambda name: pa.ipc.open_stream(f"{name}.arrows").read_all()),
    ("polars", lambda name: pl.read_parquet(f"{name}.parquet").to_arrow()),
    ("polars", lambda name: pl.read_ipc_stream(f"{name}.arrows").to_arrow()),
    ("duckdb", lambda name: duckdb.sql(f"SELECT * FROM '{name}.parquet'").to_arrow_table()),
]:
    vectors = read(FOLDER / "table").column("vector").combine_chunks()
    assert vectors.null_count == 0 and len(vectors) == PRESENT.sum(), reader
    check_vectors(f"{reader}, a table of vectors", vectors.flatten().to_numpy(zero_copy_only=False))
    for name in ["none", "empty"]:
        assert read(FOLDER / name).num_rows == 0, (reader, name)
check_vectors("a table of vectors", load_file(FOLDER / "table.safetensors")["vector"])

print(json.dumps(found))
