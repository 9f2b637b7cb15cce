"""Checks a server that has read the real change log, by code that shares nothing with it.

    python check_change_log.py <log.jsonl.gz> <url> <partitions> <folder of MiniLM>

Reads the log and the change feed of the view `job`, with vectors, and expects:
that each event has its revision, found by where its record stood in the topic, with the event's
times; or that it says what a revision of that moment says already;
that there is no other revision;
that equal texts have one vector, and texts of which the model reads different tokens different ones;
and that each vector is what Python's onnxruntime makes of the text that is rendered here.
"""

import gzip
import json
import re
import sys
import unicodedata
import urllib.request
from datetime import datetime, timedelta, timezone

import numpy
import onnxruntime
from tokenizers import Tokenizer

TOKENS_MAX = 256
COSINE_MIN = 0.99
INVISIBLE = re.compile("[\u0000-\u0008\u000e-\u001f\u007f\u200b\u2060\ufeff]")
LINE_BREAKS = "\n\v\f\r\u0085\u2028\u2029"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def rendered(after):
    def value(name):
        found = after.get(name)
        if found is None:
            return ""
        if isinstance(found, list):
            return ", ".join(item for item in found if item != "")
        return found

    return (
        f"{value('title')} at {value('company_name')}. {value('locations')}."
        f" {value('terms')}. {value('sponsorship')}"
    )


def normalised(text):
    text = unicodedata.normalize("NFC", INVISIBLE.sub("", text))

    def one(run):
        return "\n" if any(sign in LINE_BREAKS for sign in run.group()) else " "

    return re.sub(r"\s+", one, text).strip()


def micros(instant):
    """Whole microseconds of an RFC 3339 time, without a detour over floating point."""
    return (datetime.fromisoformat(instant) - EPOCH) // timedelta(microseconds=1)


def events(path, partitions):
    """(entity, time, text or None for a delete) by where the record stands in the topic."""
    found, ends = {}, [0] * partitions
    with gzip.open(path, "rt", encoding="utf8") as lines:
        for line in lines:
            change = json.loads(line)
            partition = sum(change["id"].encode()) % partitions
            after = change["after"]
            text = None if after is None else normalised(rendered(after))
            found[partition, ends[partition]] = (change["id"], change["ts_ms"] * 1000, text)
            ends[partition] += 1
    return found


def revisions(url):
    with urllib.request.urlopen(f"{url}/v1/changes?feature_view=job&vectors=true") as lines:
        for line in lines:
            change = json.loads(line)
            if change["type"] == "revision":
                yield change


class Model:
    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        self.tokenizer.enable_truncation(TOKENS_MAX)
        self.tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"]
        )

    def tokens(self, text):
        return tuple(self.tokenizer.encode(text).ids)

    def embed(self, tokens):
        ids = numpy.array([tokens], dtype=numpy.int64)
        asked = {
            "input_ids": ids,
            "attention_mask": numpy.ones_like(ids),
            "token_type_ids": numpy.zeros_like(ids),
        }
        (hidden,) = self.session.run(["last_hidden_state"], asked)
        pooled = hidden[0].astype(numpy.float64).mean(axis=0)
        return pooled / numpy.linalg.norm(pooled)


def main(path, url, partitions, folder):
    wanted = events(path, int(partitions))
    problems, vectors, said, seen = [], {}, {}, set()
    for revision in revisions(url):
        source = revision["source"]
        at = (source["partition"], source["offset"])
        if at in seen or at not in wanted:
            problems.append(f"{at} has a revision that is not its own")
            continue
        seen.add(at)
        entity, time, text = wanted[at]
        told = (revision["entity_id"], micros(revision["event_timestamp"]), revision["deleted"])
        if told != (entity, time, text is None):
            problems.append(f"{at} is {told}, expected {(entity, time, text is None)}")
        if micros(revision["known_timestamp"]) != time:
            problems.append(f"{at} is known at {revision['known_timestamp']}")
        said.setdefault((entity, time), set()).add(text)
        if text is None:
            continue
        vector = numpy.array(revision["vector"], dtype=numpy.float32)
        before = vectors.setdefault(text, vector)
        if not numpy.array_equal(before, vector):
            problems.append(f"{at} has another vector than an equal text")
    duplicates = 0
    for at, (entity, time, text) in wanted.items():
        if at in seen:
            continue
        duplicates += 1
        if text not in said.get((entity, time), set()):
            problems.append(f"{at} of {entity} has no revision")

    model = Model(folder)
    tokens = {text: model.tokens(text) for text in vectors}
    by_vector = {}
    for text, vector in vectors.items():
        other = by_vector.setdefault(vector.tobytes(), text)
        if tokens[other] != tokens[text]:
            problems.append(f"{text!r} and {other!r} have one vector")
    cosines = {}
    for text, vector in vectors.items():
        reference = model.embed(tokens[text])
        cosines[text] = float(reference @ vector / numpy.linalg.norm(vector))
    far = [text for text, cosine in cosines.items() if not cosine >= COSINE_MIN]
    problems += [f"{text!r} has a vector at cosine {cosines[text]}" for text in far]

    changed, last = 0, {}
    for entity, _, text in wanted.values():
        changed += text is not None and last.get(entity) != text
        last[entity] = text
    report = {
        "events": len(wanted),
        "revisions": len(seen),
        "duplicates": duplicates,
        "changed_texts": changed,
        "distinct_texts": len(vectors),
        "distinct_vectors": len(by_vector),
        "cosine_min": min(cosines.values()),
        "problems": problems[:20],
    }
    json.dump(report, sys.stdout)


main(*sys.argv[1:])
