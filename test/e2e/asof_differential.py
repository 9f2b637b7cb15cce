"""Joins the same histories and spines as Tidemark did, with DuckDB and Polars, and compares row by row.

Arguments: folders. Each has a history and, in `cases.json`, spines with Tidemark's answers to them.
Prints how many rows were compared, and where somebody does not agree.
"""

import json
import sys
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

differences = []
rows_compared = 0
vectors_compared = 0


def read(path):
    return ipc.open_stream(path.read_bytes()).read_all()


def by_duckdb(history, spine, exclusive):
    """The row of the history that is in force for each row of the spine; -1 where there is none."""
    comparison = ">" if exclusive else ">="
    found = duckdb.sql(
        f"""SELECT coalesce(h.row, -1) AS row FROM spine s ASOF LEFT JOIN history h
        ON s.job_id = h.id AND s.event_timestamp {comparison} h.event ORDER BY s.n"""
    )
    return found.to_arrow_table()["row"].to_numpy() if spine.num_rows else np.empty(0, np.int64)


def by_polars(history, spine, exclusive):
    found = np.full(spine.num_rows, -1, np.int64)
    left = pl.from_arrow(spine).drop_nulls(["job_id", "event_timestamp"]).sort("event_timestamp")
    if left.height == 0:
        return found
    joined = left.join_asof(
        pl.from_arrow(history).sort("event"),
        left_on="event_timestamp",
        right_on="event",
        by_left="job_id",
        by_right="id",
        strategy="backward",
        allow_exact_matches=not exclusive,
        check_sortedness=False,
    )
    found[joined["n"].to_numpy()] = joined["row"].fill_null(-1).to_numpy()
    return found


def micros(column):
    return column.cast(pa.int64()).fill_null(0).to_numpy()


def matrix_of(column, width):
    """The bytes of vectors that are all there, one row each."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    return np.frombuffer(values.tobytes(), np.uint8).reshape(-1, width)


def answered(folder, case, width):
    """Tidemark's parts as one table in the order of the spine, and the bytes of its vectors."""
    parts = [pq.read_table(folder / name) for name in case["parts"]]
    table = pa.concat_tables(parts)
    if "row_number" in table.column_names:
        numbers = table["row_number"].to_numpy()
        # Each row of the spine once.
        assert np.array_equal(np.sort(numbers), np.arange(len(numbers)))
        table = table.take(pa.array(np.argsort(numbers)))
    if "job__vector" in table.column_names:
        present = table["job__vector"].is_valid().to_numpy()
        return table, present, matrix_of(table["job__vector"].filter(pa.array(present)), width)
    rows = table["job__vector_row"]
    present = rows.is_valid().to_numpy()
    shards = [pq.read_table(folder / name)["vector"] for name in case["shards"]]
    vectors = [matrix_of(shard, width) for shard in shards]
    distinct = np.concatenate(vectors) if vectors else np.empty((0, width), np.uint8)
    return table, present, distinct[rows.drop_null().to_numpy()]


def compare(what, expected, got):
    if len(expected) != len(got):
        differences.append(f"{what}: {len(got)} rows, expected {len(expected)}")
        return
    for row in np.flatnonzero(np.asarray(expected) != np.asarray(got))[:3]:
        differences.append(f"{what}: row {row} is {got[row]}, expected {expected[row]}")


for folder in map(Path, sys.argv[1:]):
    told = json.loads((folder / "cases.json").read_text())
    history = read(folder / "history.arrows")
    deleted = np.append(history["deleted"].to_numpy(zero_copy_only=False), False)
    events = np.append(micros(history["event"]), 0)
    width = told["vector_bytes"]
    stored = np.fromfile(folder / "vectors.bin", np.uint8).reshape(-1, width)
    for case in told["cases"]:
        name = f"{folder.name} {case['name']}"
        spine = read(folder / case["spine"])
        spine = spine.append_column("n", pa.array(np.arange(spine.num_rows)))
        naive = np.fromfile(folder / case["naive"], np.int32).astype(np.int64)
        compare(f"{name}: DuckDB", naive, by_duckdb(history, spine, case["exclusive"]))
        compare(f"{name}: Polars", naive, by_polars(history, spine, case["exclusive"]))
        ids, moments = spine["job_id"], spine["event_timestamp"]
        invalid = pc.or_(ids.is_null(), moments.is_null()).to_numpy()
        age = micros(moments) - events[naive]
        old = np.zeros(len(age), bool) if case["max_age"] is None else age > case["max_age"]
        statuses = np.where(
            invalid,
            "INVALID",
            np.where(
                (naive < 0) | deleted[naive],
                "NOT_FOUND",
                np.where(old, "OUTSIDE_MAX_AGE", "PRESENT"),
            ),
        )
        table, present, vectors = answered(folder, case, width)
        compare(f"{name}: ids", ids.to_pylist(), table["job_id"].to_pylist())
        compare(f"{name}: moments", micros(moments), micros(table["event_timestamp"]))
        compare(f"{name}: status", statuses, np.array(table["job__status"].to_pylist(), object))
        expected = statuses == "PRESENT"
        compare(f"{name}: vector", expected, present)
        won = naive[expected]
        compare(f"{name}: event", events[won], micros(table["job__event_timestamp"])[expected])
        if len(won) == len(vectors):
            wrong = np.flatnonzero((stored[won] != vectors).any(axis=1))
            differences += [f"{name}: another vector in row {row} of those present" for row in wrong[:3]]
        rows_compared += spine.num_rows
        vectors_compared += len(won)

print(json.dumps({"rows": rows_compared, "vectors": vectors_compared, "differences": differences}))
