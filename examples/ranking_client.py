"""Looks vectors up, and scores, from a Python service: one matrix an answer, without a copy.

    with Tidemark("http://127.0.0.1:8080") as tidemark:
        jobs = tidemark.lookup({"job": ["42", "43"]})["job"]
        jobs.vectors        # (2, dim), float32 or float16, NaN where there is none
        jobs.present        # (2,) bool
        scores = tidemark.score(("member", "7"), "job", ["42", "43"], metric="cosine")

Copy this file into your project. It needs httpx, numpy and safetensors.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from safetensors.numpy import load

EntityId = str | int
SAFETENSORS = {"accept": "application/vnd.safetensors"}


class Refused(Exception):
    """The server refused; `code` is stable, what to do about it is in docs/errors.md."""

    def __init__(self, status: int, code: str, detail: str):
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Found:
    """One result of a lookup: columns with one row an entity, in the order asked."""

    version: str
    snapshot: int
    vectors: np.ndarray
    statuses: list[str]
    reasons: list[str | None]
    event_times: np.ndarray
    """datetime64[us], UTC; NaT where there is none."""

    @property
    def present(self) -> np.ndarray:
        return np.array([status == "PRESENT" for status in self.statuses], dtype=bool)


class Tidemark:
    """One server, over connections that are kept. A call ends after `timeout` seconds."""

    def __init__(self, url: str, timeout: float = 1.0):
        self.http = httpx.Client(base_url=url, timeout=timeout)

    def __enter__(self) -> "Tidemark":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def lookup(
        self, entities: Mapping[str, Sequence[EntityId]], **question: Any
    ) -> dict[str, Found]:
        """Vectors of entities by feature view, all at one snapshot.

        `entities`: ids by `view` or `view@version`. `question`: `as_of`, `max_age` and so on.
        """
        lookups = [
            {**_reference(reference), "entity_ids": list(ids), "name": reference}
            for reference, ids in entities.items()
        ]
        metadata, tensors = self._ask("/v1/lookup", {"lookups": lookups, **question})
        return {
            result["name"]: Found(
                version=result["version"],
                snapshot=int(metadata["snapshot"]),
                vectors=tensors[f"{result['name']}.vector"],
                statuses=_words(metadata, "statuses", tensors[f"{result['name']}.status"]),
                reasons=_words(metadata, "reasons", tensors[f"{result['name']}.reason"]),
                event_times=tensors[f"{result['name']}.event_timestamp"].view("datetime64[us]"),
            )
            for result in json.loads(metadata["results"])
        }

    def score(
        self,
        query: tuple[str, EntityId] | np.ndarray,
        view: str,
        entities: Sequence[EntityId],
        metric: str = "dot",
        **question: Any,
    ) -> np.ndarray:
        """float32 scores, NaN where there is no vector. `query`: (view, entity), or a vector."""
        if isinstance(query, tuple):
            asked = {**_reference(query[0]), "entity_id": query[1]}
        else:
            asked = {"vector": query.tolist()}
        body = {"query": asked, **_reference(view), "entity_ids": list(entities), "metric": metric}
        _, tensors = self._ask("/v1/score", {**body, **question})
        return tensors["score"]

    def _ask(self, path: str, body: object) -> tuple[dict[str, str], dict[str, np.ndarray]]:
        response = self.http.post(path, json=body, headers=SAFETENSORS)
        if response.status_code != 200:
            problem = response.json()
            raise Refused(response.status_code, problem["code"], problem["detail"])
        content = response.content
        (length,) = struct.unpack_from("<Q", content)
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        return metadata, load(content)


def _reference(text: str) -> dict[str, str]:
    view, _, version = text.partition("@")
    return {"feature_view": view, "version": version} if version else {"feature_view": view}


def _words(metadata: dict[str, str], kind: str, codes: np.ndarray) -> list:
    words = json.loads(metadata[kind])
    return [words[code] for code in codes]
