"""Writes a spine with a column of each type that pyarrow has, or compares answers with it.

    python spine_types.py write <folder>     writes spine.arrows
    python spine_types.py check <folder>     reads answer.arrows and answer.parquet
"""

import datetime
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet

ROWS = 7
LONG = "a text of more than twelve bytes"


def column(value_of, type):
    """A column with nulls here and there."""
    return pa.array([None if row % 3 == 1 else value_of(row) for row in range(ROWS)], type)


words = pa.array([f"word {row % 2}" for row in range(ROWS)])
SPINE = pa.table(
    {
        "bool": column(lambda row: row % 2 == 0, pa.bool_()),
        "uint8": column(lambda row: 255 - row, pa.uint8()),
        "int16": column(lambda row: -row, pa.int16()),
        "uint64": column(lambda row: 2**64 - 1 - row, pa.uint64()),
        "required": pa.array(range(ROWS), pa.int64()),
        "float16": column(lambda row: np.float16(row / 2), pa.float16()),
        "float32": pa.array([0.1, None, np.nan, np.inf, -0.0, 1, 2], pa.float32()),
        "decimal": column(lambda row: Decimal(f"-{row}.05"), pa.decimal128(10, 2)),
        "string": column(lambda row: f"ü {row}", pa.string()),
        "large string": column(lambda row: f"ü {row}", pa.large_string()),
        "string view": column(lambda row: f"{LONG} {row}" if row % 2 else "ü", pa.string_view()),
        "binary": column(lambda row: bytes([row, 255]), pa.binary()),
        "large binary": column(lambda row: bytes([row, 255]), pa.large_binary()),
        "fixed binary": column(lambda row: bytes([row, 0, 255]), pa.binary(3)),
        "date": column(lambda row: datetime.date(2026, 3, 1 + row), pa.date32()),
        "time": column(lambda row: datetime.time(1, 2, 3, row), pa.time64("us")),
        "duration": column(lambda row: datetime.timedelta(seconds=row), pa.duration("us")),
        "seconds": column(lambda row: 10**9 + row, pa.timestamp("s")),
        "seconds, zoned": column(lambda row: 10**9 + row, pa.timestamp("s", "UTC")),
        "millis": column(lambda row: 10**12 + row, pa.timestamp("ms")),
        "nanos, zoned": column(lambda row: 10**18 + row, pa.timestamp("ns", "Europe/Berlin")),
        "list": column(lambda row: [row] * (row % 3), pa.list_(pa.int32())),
        "views": column(lambda row: [f"{LONG} {row}"] * (row % 3), pa.list_(pa.string_view())),
        "large list of views": column(
            lambda row: [f"{LONG} {row}"] * (row % 3), pa.large_list(pa.string_view())
        ),
        "fixed list": column(lambda row: [row, row + 1], pa.list_(pa.float32(), 2)),
        "struct": column(
            lambda row: {"a": row, "b": [f"{row}"]},
            pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))]),
        ),
        "map": column(lambda row: [("key", row)], pa.map_(pa.string(), pa.int32())),
        "dictionary": words.dictionary_encode(),
        "small dictionary": words.cast(pa.dictionary(pa.int8(), pa.string())),
        "dictionary of numbers": pa.array([row % 2 for row in range(ROWS)]).dictionary_encode(),
        "list of a dictionary": pa.ListArray.from_arrays(
            pa.array(range(ROWS + 1), pa.int32()), words.dictionary_encode()
        ),
        "null": pa.nulls(ROWS),
    }
)
SPINE = SPINE.cast(
    pa.schema([field.with_nullable(field.name != "required") for field in SPINE.schema])
).replace_schema_metadata({"told": "by the spine"})
# Parquet has neither of them.
IN_PARQUET = {
    "seconds": pa.timestamp("ms"),
    "seconds, zoned": pa.timestamp("ms", "UTC"),
    "dictionary of numbers": pa.int64(),
}


def check(name, table, types):
    table.validate(full=True)
    assert table.schema.names == [*SPINE.schema.names, "vector"], name
    for read, field in zip(table.schema, SPINE.schema):
        expected = types.get(field.name, field.type)
        assert read.type == expected, f"{name}, {field.name}: {read.type}, not {expected}"
        assert read.nullable == field.nullable, f"{name}, {field.name}"
        # As text, in which a NaN equals itself.
        values = str(table.column(field.name).to_pylist())
        assert values == str(SPINE.column(field.name).to_pylist()), f"{name}, {field.name}: {values}"
    assert table.schema.metadata.get(b"told") == b"by the spine", name


folder = Path(sys.argv[2])
if sys.argv[1] == "write":
    with pa.ipc.new_stream(folder / "spine.arrows", SPINE.schema) as stream:
        stream.write_table(SPINE)
else:
    with pa.ipc.open_stream(str(folder / "answer.arrows")) as stream:
        check("arrow", stream.read_all(), {})
    check("parquet", pa.parquet.read_table(folder / "answer.parquet"), IN_PARQUET)
    assert pl.read_ipc_stream(folder / "answer.arrows").height == ROWS
    assert pl.read_parquet(folder / "answer.parquet").height == ROWS
    rows = duckdb.sql(f"SELECT * FROM '{folder}/answer.parquet'").to_arrow_table()
    assert rows.num_rows == ROWS
