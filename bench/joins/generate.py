"""Writes a history of vectors or a spine as Parquet, the same for the same numbers.

    python generate.py history PATH REVISIONS ENTITIES DIM
    python generate.py spine PATH ROWS ENTITIES

A history has one row a revision in the order of event times, as a log of embeddings has; no two
event times are equal, so that every engine has one answer. A spine has its rows in random order.
Row groups are made one at a time: neither has to fit into memory.
"""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

START = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
DAY = 86_400_000_000
HISTORY_DAYS = 180
# An entity has ten revisions or so: of moments in these days one in eleven is before its first.
SPINE_DAYS = 200
MOMENT = pa.timestamp("us", tz="UTC")


def ids(entities: int) -> pa.Array:
    return pa.array([f"job-{entity:07d}" for entity in range(entities)])


def write_history(path: str, revisions: int, entities: int, dim: int) -> None:
    random = np.random.default_rng(1)
    names = ids(entities)
    step = HISTORY_DAYS * DAY // revisions
    vector = pa.list_(pa.float32(), dim)
    schema = pa.schema([("job_id", pa.string()), ("event_timestamp", MOMENT), ("vector", vector)])
    group = max(1_000, (32 << 20) // (dim * 4))
    with pq.ParquetWriter(path, schema, compression="none") as writer:
        for first in range(0, revisions, group):
            at = np.arange(first, min(revisions, first + group))
            # A moment within its own step of time: ascending, and none twice.
            events = START + at * step + random.integers(0, step, len(at))
            numbers = random.random(len(at) * dim, dtype=np.float32)
            numbers -= np.float32(0.5)
            columns = [
                names.take(pa.array(random.integers(0, entities, len(at)))),
                pa.array(events).cast(MOMENT),
                pa.FixedSizeListArray.from_arrays(pa.array(numbers), dim),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), len(at))


def weights(first: int, rows: int) -> np.ndarray:
    """A weight in [0, 1) for each row; no two are equal, so that a weight names its row."""
    at = np.arange(first, first + rows, dtype=np.uint64)
    return (at * np.uint64(0x9E3779B97F4A7C15) & np.uint64(2**53 - 1)) / 2.0**53


def write_spine(path: str, rows: int, entities: int) -> None:
    random = np.random.default_rng(2)
    names = ids(entities)
    schema = pa.schema(
        [
            ("job_id", pa.string()),
            ("event_timestamp", MOMENT),
            ("label", pa.int8()),
            ("weight", pa.float64()),
        ]
    )
    group = 128 * 1024
    with pq.ParquetWriter(path, schema, compression="none") as writer:
        for first in range(0, rows, group):
            count = min(group, rows - first)
            columns = [
                names.take(pa.array(random.integers(0, entities, count))),
                pa.array(START + random.integers(0, SPINE_DAYS * DAY, count)).cast(MOMENT),
                pa.array(random.integers(0, 2, count, dtype=np.int8)),
                pa.array(weights(first, count)),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), count)


if __name__ == "__main__":
    what, path, *numbers = sys.argv[1:]
    {"history": write_history, "spine": write_spine}[what](path, *map(int, numbers))
