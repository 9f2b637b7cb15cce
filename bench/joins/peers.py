"""Joins a spine to a history as other engines do.

    python peers.py ENGINE THREADS HISTORY SPINE

For each line on standard input, a path, it joins once, writes the answer there as uncompressed
Parquet without flushing it to the disk, and answers with a line of JSON: the seconds that it took.
It goes on until its input ends. `duckdb-resolve` writes nothing, and answers with what it found.
"""

import json
import sys
import time

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ASOF = """
    FROM read_parquet('{spine}', file_row_number = true) s ASOF LEFT JOIN
    read_parquet('{history}', file_row_number = true) h
    ON s.job_id = h.job_id AND s.event_timestamp >= h.event_timestamp
"""


def duckdb_with(threads: int, keeps_order: bool):
    from duckdb import connect

    connection = connect()
    connection.execute(f"SET threads = {threads}")
    connection.execute(f"SET preserve_insertion_order = {str(keeps_order).lower()}")
    connection.execute("SET enable_progress_bar = false")
    return connection


def duckdb_copy(query: str, threads: int, out: str, keeps_order: bool) -> dict:
    connection = duckdb_with(threads, keeps_order)
    connection.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet, COMPRESSION uncompressed)")
    return {}


def duckdb_join(history: str, spine: str) -> str:
    return (
        "SELECT s.* EXCLUDE (file_row_number), h.vector AS job__vector,"
        f" h.event_timestamp AS job__event_timestamp {ASOF.format(spine=spine, history=history)}"
    )


def duckdb_any_order(threads: int, history: str, spine: str, out: str) -> dict:
    return duckdb_copy(duckdb_join(history, spine), threads, out, keeps_order=False)


def duckdb(threads: int, history: str, spine: str, out: str) -> dict:
    """An ASOF join does not keep the order of its rows, whatever the setting says."""
    return duckdb_copy(duckdb_join(history, spine), threads, out, keeps_order=True)


def duckdb_spine_order(threads: int, history: str, spine: str, out: str) -> dict:
    query = f"{duckdb_join(history, spine)} ORDER BY s.file_row_number"
    return duckdb_copy(query, threads, out, keeps_order=True)


def duckdb_late(threads: int, history: str, spine: str, out: str) -> dict:
    """Joins row numbers first, so that the sort carries no vectors, and then the vectors by them."""
    query = (
        "WITH winners AS (SELECT s.* EXCLUDE (file_row_number), h.file_row_number AS revision,"
        " h.event_timestamp AS job__event_timestamp"
        f" {ASOF.format(spine=spine, history=history)})"
        " SELECT winners.* EXCLUDE (revision), v.vector AS job__vector FROM winners"
        " LEFT JOIN (SELECT file_row_number AS revision, vector FROM"
        f" read_parquet('{history}', file_row_number = true)) v USING (revision)"
    )
    return duckdb_copy(query, threads, out, keeps_order=True)


def duckdb_resolve(threads: int, history: str, spine: str, _: str) -> dict:
    winners, total = (
        duckdb_with(threads, True)
        .execute(
            "SELECT count(h.event_timestamp), sum(epoch_us(h.event_timestamp)::HUGEINT)"
            f"{ASOF.format(spine=spine, history=history)}"
        )
        .fetchone()
    )
    return {"found": f"{winners} found, {total}"}


def polars_join(_: int, history: str, spine: str, out: str) -> dict:
    """Its threads are set in its environment. The answer stays in the order of time, which is less
    work than to bring the rows back into theirs."""
    import polars as pl

    revisions = pl.scan_parquet(history).set_sorted("event_timestamp")
    revisions = revisions.rename({"vector": "job__vector"}).with_columns(
        pl.col("event_timestamp").alias("job__event_timestamp")
    )
    pl.scan_parquet(spine).sort("event_timestamp").join_asof(
        revisions, on="event_timestamp", by="job_id", check_sortedness=False
    ).sink_parquet(out, compression="uncompressed")
    return {}


def pandas_join(_: int, history: str, spine: str, out: str) -> dict:
    """Joins row numbers and takes the vectors by them: pandas would hold each as an object."""
    import numpy as np
    import pandas as pd

    revisions = pq.read_table(history)
    rows = pq.read_table(spine)
    keys = revisions.select(["job_id", "event_timestamp"]).to_pandas()
    keys["job__event_timestamp"] = keys["event_timestamp"]
    keys["revision"] = np.arange(len(keys))
    asked = rows.to_pandas()
    asked["row"] = np.arange(len(asked))
    asked = asked.sort_values("event_timestamp")
    found = pd.merge_asof(asked, keys, on="event_timestamp", by="job_id").sort_values("row")
    revision = pa.array(found["revision"], pa.int64(), from_pandas=True)
    vectors = revisions["vector"].combine_chunks().take(revision)
    times = pc.take(revisions["event_timestamp"], revision)
    answer = rows.append_column("job__vector", vectors)
    pq.write_table(
        answer.append_column("job__event_timestamp", times), out, compression="none"
    )
    return {}


ENGINES = {
    "duckdb": duckdb,
    "duckdb-any-order": duckdb_any_order,
    "duckdb-spine-order": duckdb_spine_order,
    "duckdb-late": duckdb_late,
    "duckdb-resolve": duckdb_resolve,
    "polars": polars_join,
    "pandas": pandas_join,
}


def main() -> None:
    engine, threads, history, spine = sys.argv[1:]
    for line in sys.stdin:
        start = time.perf_counter()
        found = ENGINES[engine](int(threads), history, spine, line.strip())
        print(json.dumps({"seconds": time.perf_counter() - start, **found}), flush=True)


main()
