"""Exports a spine that names each of so many jobs twice, and reads it as the PyTorch dataset does.

Asserts that what it gives is memory of the exported files, that reading all of it takes no memory
of its own, in this process and in those of a loader, and that each row has its job's vector.
Prints what there was.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, default_convert

sys.path.insert(0, ".")
from pytorch_ref_dataset import RefDataset

JOBS, DIM = int(sys.argv[1]), int(sys.argv[2])
BYTES = JOBS * DIM * 4


def own_memory():
    """Bytes of this process that are no file's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def file_behind(tensor):
    """The file that the tensor's memory is mapped from."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, inode, *path = line.split()
        start, end = (int(number, 16) for number in span.split("-"))
        if start <= tensor.data_ptr() < end:
            return path[0] if inode != "0" else None
    return None


class Watched(RefDataset):
    """Tells with each batch how its process has grown since the first one, and what it reads from."""

    first = None

    def __getitems__(self, indices):
        if self.first is None:
            self.first = own_memory()
        batch = super().__getitems__(indices)
        grown = own_memory() - self.first
        mapped = all(file_behind(shard) is not None for shard in self.tables["job"].shards)
        return batch | {"grown": torch.tensor([grown]), "mapped": torch.tensor([mapped])}


def check(batch):
    """Each row has the vector of its job: the job's number, and the places of the numbers."""
    expected = batch["job_id"][:, None] + PLACES
    assert torch.equal(batch["job__vector"], expected.to(torch.float32))


PLACES = torch.arange(DIM, dtype=torch.float64) / DIM

if __name__ == "__main__":
    jobs = np.random.default_rng(5).permutation(np.repeat(np.arange(JOBS), 2))
    moment = pa.scalar(1_780_000_000_000_000, pa.timestamp("us", "UTC"))
    moments = pa.repeat(moment, len(jobs))
    pq.write_table(pa.table({"job_id": jobs, "event_timestamp": moments}), "spine.parquet")
    asked = ["--views", "job", "--vectors", "ref", "--out", "jobs"]
    subprocess.run(["tidemark", "export", "spine.parquet", *asked], check=True, stdout=sys.stderr)

    rows = Watched("jobs", columns=["job_id"])
    shards = rows.tables["job"].shards
    assert sum(shard.nbytes for shard in shards) == BYTES
    for path, shard in zip(rows.tables["job"].paths, shards, strict=True):
        assert file_behind(shard) == str(path.resolve()), file_behind(shard)
    places = {rows[at]["job__vector"].data_ptr() for at in range(len(rows))}
    assert len(places) == JOBS

    before = own_memory()
    total = sum(float(rows[at]["job__vector"][0]) for at in range(len(rows)))
    assert total == 2 * sum(range(JOBS))
    grown = own_memory() - before
    assert grown < BYTES / 8, f"the process grew by {grown} bytes"

    for start in ["fork", "spawn"]:
        loader = DataLoader(rows, 500, shuffle=True, num_workers=2, collate_fn=default_convert,
                            multiprocessing_context=start)
        seen = []
        for batch in loader:
            check(batch)
            assert bool(batch["mapped"]) and int(batch["grown"]) < BYTES / 2, start
            seen.append(batch["job_id"])
        assert torch.equal(torch.cat(seen).sort().values, torch.arange(JOBS).repeat_interleave(2))
    print(json.dumps({"shards": len(shards), "rows": len(rows), "bytes": BYTES}))
