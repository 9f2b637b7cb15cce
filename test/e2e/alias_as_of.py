"""Reads the answers of a folder, whose rows have the version of their moment, with every reader.

`expected.json` has a row [version, first number of the vector] each, null for what is not there.
"""

import json
import sys
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet
from safetensors.numpy import load_file

FOLDER = Path(sys.argv[1])
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
VERSION, VECTOR = "job__version", "job__vector"
PARQUET = str(FOLDER / "answer.parquet")


def check(reader, versions, vectors):
    found = [[version, None if vector is None else vector[0]] for version, vector in zip(versions, vectors, strict=True)]
    assert found == EXPECTED, f"{reader}: {found}, not {EXPECTED}"


def check_table(reader, table):
    table.validate(full=True)
    check(reader, table.column(VERSION).to_pylist(), table.column(VECTOR).to_pylist())


check_table("pyarrow parquet", pa.parquet.read_table(PARQUET))
with pa.ipc.open_stream(str(FOLDER / "answer.arrows")) as stream:
    arrow = stream.read_all()
check_table("pyarrow arrow", arrow)
for reader, frame in [
    ("polars parquet", pl.read_parquet(PARQUET)),
    ("polars arrow", pl.read_ipc_stream(FOLDER / "answer.arrows")),
]:
    check(reader, frame[VERSION].to_list(), frame[VECTOR].to_list())
check_table("duckdb parquet", duckdb.sql(f"SELECT * FROM '{PARQUET}'").to_arrow_table())
check_table("duckdb arrow", duckdb.sql("SELECT * FROM arrow").to_arrow_table())
counts = duckdb.sql(f"SELECT {VERSION}, count(*) FROM '{PARQUET}' GROUP BY ALL ORDER BY ALL NULLS LAST").fetchall()
lines = [json.loads(line) for line in (FOLDER / "answer.ndjson").read_text().splitlines()[:-1]]
check("ndjson", [line[VERSION] for line in lines], [line[VECTOR] for line in lines])
ndjson = FOLDER / "rows.ndjson"
ndjson.write_text("\n".join(json.dumps(line) for line in lines))
rows = duckdb.sql(f"SELECT {VERSION}, {VECTOR} FROM read_json('{ndjson}')").fetchall()
check("duckdb ndjson", *zip(*rows))

tensors = load_file(FOLDER / "answer.safetensors")
text, offsets = tensors[f"{VERSION}.bytes"].tobytes(), tensors[f"{VERSION}.offsets"].tolist()
versions = [text[a:b].decode() or None for a, b in zip(offsets, offsets[1:])]
assert (tensors[f"{VERSION}.valid"] == np.array([version is not None for version in versions])).all()
check("safetensors", versions, [None if np.isnan(v).any() else v.tolist() for v in tensors[VECTOR]])

print(json.dumps(counts))
