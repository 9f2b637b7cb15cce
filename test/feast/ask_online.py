"""Asks a Tidemark server as Feast's own remote online store does, and prints what Feast made of it.

    python ask_online.py URL
"""

import json
import sys

from feast.infra.online_stores.remote import RemoteOnlineStore
from feast.repo_config import RepoConfig

config = RepoConfig(
    project="ranking",
    registry="registry.db",
    provider="local",
    online_store={"type": "remote", "path": sys.argv[1]},
    entity_key_serialization_version=3,
)
response = RemoteOnlineStore().get_online_features(
    config=config,
    features=["job:vector", "member:vector"],
    entity_rows=[
        {"job_id": 1, "member_id": "m"},
        {"job_id": 2, "member_id": "none"},
    ],
    registry=None,
    project="ranking",
    full_feature_names=True,
    include_feature_view_version_metadata=True,
)
print(json.dumps({"values": response.to_dict(), "statuses": [
    [int(status) for status in column.statuses] for column in response.proto.results
]}))
