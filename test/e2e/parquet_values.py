"""Writes a spine of numbers, moments and texts, or compares an answer in Parquet with it.

    python parquet_values.py write <folder>     writes spine.arrows
    python parquet_values.py check <folder>     reads answer.parquet
"""

import random
import struct
import sys
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS = 7_001
random.seed(7)


def column(value_of, type):
    """Nulls nowhere, then here and there, then everywhere."""

    def is_null(row):
        return row >= 6_000 or (row >= 2_500 and random.random() < 0.3)

    return pa.array([None if is_null(row) else value_of(row) for row in range(ROWS)], type)


def text(row):
    kind = row % 5
    if kind == 0:
        return ""
    if kind == 1:
        return f"{'ü€𝄞'[row % 3] * 40} {row}"
    return f"member-{random.randrange(10**6):06d}"[: 6 + kind * 2] + str(row)


def real(row):
    if row % 7 == 3:
        return [0.0, -0.0, float("inf"), float("-inf")][row % 4]
    return random.gauss(row, 99)


def moment(row, unit):
    return (1_772_323_200 + random.randrange(10**6) - row) * unit + row


SPINE = pa.table(
    {
        "row": pa.array(range(ROWS), pa.int32()),
        "text": column(lambda row: text(row) + ("" if row % 5 else f"{row}" * (row % 3)), pa.string()),
        "large text": column(lambda row: f"{random.random()} ü", pa.large_string()),
        "int32": column(lambda row: random.randrange(-(2**31), 2**31), pa.int32()),
        "int64": column(lambda row: random.randrange(-(2**63), 2**63), pa.int64()),
        "uint32": column(lambda row: random.randrange(2**32), pa.uint32()),
        "uint64": column(lambda row: random.randrange(2**64), pa.uint64()),
        "float": column(real, pa.float32()),
        "double": column(real, pa.float64()),
        "measure": column(
            lambda row: float("nan") if row % 9 == 4 else random.gauss(row, 99), pa.float64()
        ),
        "zeros": column(lambda row: [0.0, -0.0][row % 2], pa.float64()),
        "millis": column(lambda row: moment(row, 10**3), pa.timestamp("ms", "UTC")),
        "micros": column(lambda row: moment(row, 10**6), pa.timestamp("us", "UTC")),
        "nanos": column(lambda row: moment(row, 10**9), pa.timestamp("ns")),
        "date": column(lambda row: random.randrange(-40_000, 40_000), pa.date32()),
    }
)


def same(read, name):
    """Bit by bit, whatever NaN and the zeros equal."""
    expected = SPINE.column(name).combine_chunks()
    found = read.cast(expected.type).combine_chunks()
    assert found.is_null().equals(expected.is_null()), name
    if not pa.types.is_floating(expected.type):
        assert found.equals(expected), name
        return
    letter = "f" if expected.type.bit_width == 32 else "d"
    bits = [
        [None if value is None else struct.pack(letter, value) for value in values.to_pylist()]
        for values in (found, expected)
    ]
    assert bits[0] == bits[1], name


def is_long(value):
    return isinstance(value, str) and len(value.encode()) > 64


def check_statistics(file):
    first = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        for at, name in enumerate(SPINE.schema.names):
            values = SPINE.column(name).slice(first, rows)
            told = file.metadata.row_group(group).column(at).statistics
            where = f"{name} in row group {group}: {told}"
            assert told.null_count == values.null_count, where
            values = values.drop_null()
            # Where a NaN is less or greater, engines do not agree.
            has_nan = pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py()
            assert told.has_min_max == (len(values) > 0 and not has_nan), where
            if not told.has_min_max:
                continue
            least, greatest = pc.min_max(values).as_py().values()
            # Long texts are told from their beginning.
            assert told.min == least if not is_long(least) else told.min < least, where
            assert told.max == greatest if not is_long(greatest) else told.max > greatest, where
        first += rows


def check_queries(path):
    """Who skips row groups by what they tell finds what is found without."""
    duck = duckdb.connect()
    duck.execute("SET TimeZone = 'UTC'")
    duck.register("spine", SPINE)
    lazy, whole = pl.scan_parquet(path), pl.from_arrow(SPINE)
    for name in SPINE.schema.names:
        for pivot in [1, 1_023, 1_024, 2_600, 4_100, 5_119, 5_999]:
            value = whole[name][pivot]
            if value is None:
                continue
            literal, type = duck.execute(
                f'SELECT "{name}"::VARCHAR, typeof("{name}") FROM spine WHERE "row" = {pivot}'
            ).fetchone()
            for sign in ["=", "<", ">", "<=", ">="]:
                query = f'SELECT "row" FROM {{}} WHERE "{name}" {sign} $1::{type} ORDER BY 1'
                found = duck.execute(query.format(f"'{path}'"), [literal]).fetchall()
                expected = duck.execute(query.format("spine"), [literal]).fetchall()
                assert found == expected, f"{query} in DuckDB, {literal}"
            for test in [pl.col(name) == value, pl.col(name) < value, pl.col(name) >= value]:
                found = lazy.filter(test).select("row").collect()
                assert found.equals(whole.filter(test).select("row")), f"{test} in Polars"
        found = duck.execute(f"""SELECT count(*) FROM '{path}' WHERE "{name}" IS NULL""").fetchone()
        assert found[0] == SPINE.column(name).null_count, name


def check(path):
    file = pq.ParquetFile(path)
    assert file.num_row_groups > 6
    read = file.read()
    polars = pl.read_parquet(path).to_arrow()
    duck = duckdb.connect()
    duck.execute("SET TimeZone = 'UTC'")
    duck = duck.sql(f"FROM '{path}'").to_arrow_table()
    for field in SPINE.schema:
        assert read.schema.field(field.name).type == field.type, field
        for table in (read, polars, duck):
            same(table.column(field.name), field.name)
    check_statistics(file)
    check_queries(path)


folder = Path(sys.argv[2])
if sys.argv[1] == "write":
    with pa.ipc.new_stream(folder / "spine.arrows", SPINE.schema) as stream:
        stream.write_table(SPINE)
else:
    check(str(folder / "answer.parquet"))
