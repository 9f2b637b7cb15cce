"""Makes a Feast repository whose online store has vectors, to be served by `feast serve`.

    python feast_online.py FOLDER ONLINE_STORE VECTORS DIM

ONLINE_STORE is Feast's setting as JSON. VECTORS is a file of float32 vectors, one after another; the
entity of each is its number, as the ids of the benchmark are written.
"""

import json
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

os.environ["FEAST_USAGE"] = "False"

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Float32, String

BATCH = 1_000
EVENT = datetime(2026, 1, 1, tzinfo=timezone.utc)


def open_store(folder: Path, online_store: dict) -> FeatureStore:
    settings = {
        "project": "bench",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "online_store": online_store,
        "offline_store": {"type": "dask"},
        "entity_key_serialization_version": 3,
    }
    # JSON is YAML.
    (folder / "feature_store.yaml").write_text(json.dumps(settings))
    store = FeatureStore(repo_path=str(folder))
    job = Entity(name="job", join_keys=["job_id"], value_type=ValueType.STRING)
    # Where it would be read from offline; never is.
    source = FileSource(path=str(folder / "job.parquet"), timestamp_field="event_timestamp")
    schema = [Field(name="job_id", dtype=String), Field(name="vector", dtype=Array(Float32))]
    view = FeatureView(name="job", entities=[job], ttl=timedelta(0), schema=schema, source=source)
    store.apply([job, view])
    return store


def main() -> None:
    store = open_store(Path(sys.argv[1]), json.loads(sys.argv[2]))
    vectors = np.fromfile(sys.argv[3], dtype="<f4").reshape(-1, int(sys.argv[4]))
    for start in range(0, len(vectors), BATCH):
        rows = vectors[start : start + BATCH]
        ids = [f"job-{entity:08d}" for entity in range(start, start + len(rows))]
        frame = pd.DataFrame({"job_id": ids, "vector": list(rows), "event_timestamp": EVENT})
        store.write_to_online_store("job", frame)


main()
