"""Joins a spine to a history with Feast's get_historical_features.

    python ask_feast.py OFFLINE_STORE HISTORY SPINE FOLDER

Asked as peers.py is: a path a line, the answer written there, seconds as JSON. The history is first
written anew into FOLDER as Feast wants it, which is not timed: vectors as plain lists, and the event
time once more as a feature, since its answers do not tell it.
"""

import contextlib
import json
import os
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path

os.environ["FEAST_USAGE"] = "False"

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Array, Float32, String, UnixTimestamp


def open_store(offline: str, history: str, folder: Path) -> FeatureStore:
    table = pq.read_table(history)
    vectors = table["vector"].cast(pa.list_(pa.float32()))
    table = table.set_column(2, "job__vector", vectors)
    table = table.append_column("job__event_timestamp", table["event_timestamp"])
    path = folder / f"{offline}.parquet"
    pq.write_table(table, path, compression="none")
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(folder / f"{offline}.db"),
            offline_store={"type": offline},
            online_store={"type": "sqlite", "path": str(folder / f"{offline}-online.db")},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )
    job = Entity(name="job", join_keys=["job_id"], value_type=ValueType.STRING)
    view = FeatureView(
        name="job",
        entities=[job],
        ttl=timedelta(0),
        schema=[
            Field(name="job_id", dtype=String),
            Field(name="job__vector", dtype=Array(Float32)),
            Field(name="job__event_timestamp", dtype=UnixTimestamp),
        ],
        source=FileSource(path=str(path), timestamp_field="event_timestamp"),
    )
    store.apply([job, view])
    return store


def join(store: FeatureStore, spine: str, out: str) -> None:
    job = store.get_historical_features(
        entity_df=pd.read_parquet(spine), features=["job:job__vector", "job:job__event_timestamp"]
    )
    pq.write_table(job.to_arrow(), out, compression="none")


def main() -> None:
    offline, history, spine, folder = sys.argv[1:]
    warnings.simplefilter("ignore")
    answers = sys.stdout
    # Feast and its stores print; what is printed here must be the answers alone.
    with contextlib.redirect_stdout(sys.stderr):
        store = open_store(offline, history, Path(folder))
        for line in sys.stdin:
            start = time.perf_counter()
            join(store, spine, line.strip())
            seconds = time.perf_counter() - start
            print(json.dumps({"seconds": seconds}), file=answers, flush=True)


main()
