"""Gives Feast the histories of the cases and asks it their questions.

Reads a plan as JSON from standard input and writes the answers as JSON to standard output.
Run by run.ts, which says what is in both.
"""

import contextlib
import json
import os
import sys
import tempfile
import warnings
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

# Versions of Feast that tell home what they are used for ask this before they do.
os.environ["FEAST_USAGE"] = "False"

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource
from feast import RepoConfig, ValueType
from feast.data_source import PushMode
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.types import Array, Bool, Float32, String

SOURCE = pa.schema(
    [
        ("job_id", pa.string()),
        ("event_timestamp", pa.timestamp("us", tz="UTC")),
        ("created_timestamp", pa.timestamp("us", tz="UTC")),
        ("vector", pa.list_(pa.float32())),
        ("deleted", pa.bool_()),
    ]
)


def open_store(folder: Path, offline: str) -> FeatureStore:
    return FeatureStore(
        config=RepoConfig(
            project="conformance",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store={"type": offline},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )


def view_of(folder: Path, name: str, max_age_seconds: float, job: Entity) -> FeatureView:
    """The view of one model version of one case, over a file of its own."""
    path = folder / f"{name}.parquet"
    pq.write_table(SOURCE.empty_table(), path)
    batch = FileSource(
        path=str(path),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    return FeatureView(
        name=name,
        entities=[job],
        ttl=timedelta(seconds=max_age_seconds),
        schema=[
            Field(name="job_id", dtype=String),
            Field(name="vector", dtype=Array(Float32)),
            # A row whose every feature is null is not written online, so a delete needs this one.
            Field(name="deleted", dtype=Bool),
        ],
        source=PushSource(name=f"push_{name}", batch_source=batch),
    )


def push(store: FeatureStore, row: dict) -> None:
    value = row["value"]
    frame = pd.DataFrame(
        {
            "job_id": [row["entity"]],
            "event_timestamp": [pd.Timestamp(row["event"])],
            "created_timestamp": [pd.Timestamp(row["created"])],
            "vector": [None if value is None else [value, 1.0]],
            "deleted": [value is None],
        }
    )
    store.push(f"push_{row['view']}", frame, to=PushMode.ONLINE_AND_OFFLINE)


def ask_spine(store: FeatureStore, spine: dict) -> list[list]:
    """For each row of the spine the values of the rows that came back for it, in any number."""
    rows = spine["rows"]
    frame = pd.DataFrame(
        {
            "job_id": [row["entity"] for row in rows],
            "event_timestamp": [pd.Timestamp(row["as_of"]) for row in rows],
            "row": range(len(rows)),
        }
    )
    job = store.get_historical_features(
        entity_df=frame,
        features=[f"{spine['view']}:vector"],
        filter_by_created_timestamp=spine["known"],
    )
    answers: list[list] = [[] for _ in rows]
    for row, vector in job.to_df()[["row", "vector"]].itertuples(index=False):
        answers[int(row)].append(None if vector is None else float(vector[0]))
    return answers


def ask_latest(store: FeatureStore, latest: dict) -> dict:
    answer = store.get_online_features(
        features=[f"{latest['view']}:vector"],
        entity_rows=[{"job_id": latest["entity"]}],
    )
    at = list(answer.proto.metadata.feature_names.val).index("vector")
    vector = answer.to_dict()["vector"][0]
    status = answer.proto.results[at].statuses[0]
    return {
        "value": None if vector is None else float(vector[0]),
        "status": FieldStatus.Name(status),
    }


def run(plan: dict, offline: str) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = open_store(folder, offline)
        job = Entity(name="job", join_keys=["job_id"], value_type=ValueType.STRING)
        views = [
            view_of(folder, view["name"], view["max_age_seconds"], job)
            for view in plan["views"]
        ]
        store.apply([job, *views])
        for row in plan["rows"]:
            push(store, row)
        return {
            "spines": [ask_spine(store, spine) for spine in plan["spines"]],
            "latest": [ask_latest(store, latest) for latest in plan["latest"]],
        }


def main() -> None:
    plan = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    # Feast and its stores print; what is printed here must be the answers alone.
    with contextlib.redirect_stdout(sys.stderr):
        answers = {offline: run(plan, offline) for offline in ("dask", "duckdb")}
    versions = {name: version(name) for name in ("feast", "dask", "duckdb", "pandas")}
    json.dump({"versions": versions, "answers": answers}, sys.stdout)


main()
