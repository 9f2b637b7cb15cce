"""Asks a server by examples/ranking_client.py, and prints what it was told.

    python ranking_client.py FOLDER_OF_EXAMPLES URL
"""

import json
import sys

import numpy as np

sys.path.insert(0, sys.argv[1])
from ranking_client import Refused, Tidemark  # noqa: E402

with Tidemark(sys.argv[2]) as tidemark:
    found = tidemark.lookup({"job": [1, "none"], "member@v1": ["m"]})
    jobs, members = found["job"], found["member@v1"]
    before = tidemark.lookup({"job": [1]}, as_of="2000-01-01T00:00:00Z")["job"]
    try:
        tidemark.lookup({"none": [1]})
        refused = None
    except Refused as error:
        refused = [error.status, error.code]
    told = {
        "jobs": [str(jobs.vectors.dtype), np.nan_to_num(jobs.vectors, nan=-1).tolist()],
        "present": jobs.present.tolist(),
        "statuses": jobs.statuses,
        "times": [str(time) for time in jobs.event_times],
        "members": [str(members.vectors.dtype), members.vectors.tolist(), members.version],
        "before": before.statuses,
        "one snapshot": jobs.snapshot == members.snapshot,
        "scores": np.nan_to_num(
            tidemark.score(("member", "m"), "job", [1, "none"]), nan=-1
        ).tolist(),
        "cosine": tidemark.score(np.array([0.0, 2.0]), "job", [1], metric="cosine").tolist(),
        "refused": refused,
    }
print(json.dumps(told))
