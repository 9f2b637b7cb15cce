"""A PyTorch dataset over an export of Tidemark's with `vectors=ref`, whose vectors are mapped.

    tidemark export clicks.parquet --views job --vectors ref --out clicks

    rows = RefDataset("clicks", columns=["clicked"])
    loader = DataLoader(rows, 1024, shuffle=True, num_workers=4, collate_fn=default_convert)
    for batch in loader:
        batch["job__vector"], batch["clicked"]

Copy this file into your project. It needs torch, pyarrow and safetensors.
"""

import json
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from torch import Tensor
from torch.utils.data import Dataset


class VectorTable:
    """The distinct vectors of one reference, by their row numbers, in the files that they lie in.

    The files are mapped: they take memory of the page cache only, which all processes share.
    """

    def __init__(self, paths: Sequence[Path], firsts: Sequence[int]) -> None:
        self.paths, self.firsts = list(paths), list(firsts)
        self.shards: list[Tensor] = []
        for path in self.paths:
            with safe_open(path, framework="pt") as shard:
                self.shards.append(shard.get_tensor("vector"))

    def __reduce__(self) -> tuple[type["VectorTable"], tuple[list[Path], list[int]]]:
        """Another process gets the paths, and maps the files itself."""
        return VectorTable, (self.paths, self.firsts)

    def __getitem__(self, row: int) -> Tensor:
        """The memory of the file itself."""
        shard = bisect_right(self.firsts, row) - 1
        return self.shards[shard][row - self.firsts[shard]]

    def gather(self, rows: Tensor) -> Tensor:
        """One matrix for a batch: each vector is copied once, from the file to where it is used."""
        if len(self.shards) == 1:
            return self.shards[0].index_select(0, rows)
        out = self.shards[0].new_empty((len(rows), self.shards[0].shape[1]))
        shard_of = torch.bucketize(rows, torch.tensor(self.firsts), right=True) - 1
        for shard in shard_of.unique().tolist():
            places = (shard_of == shard).nonzero().squeeze(1)
            out[places] = self.shards[shard].index_select(0, rows[places] - self.firsts[shard])
        return out


class RefDataset(Dataset[dict[str, Tensor]]):
    """The rows of a spine that have a vector of each reference, in the order of the spine.

    A row is `<reference>__vector` of each reference and the `columns` of the spine that are asked
    for; those hold numbers or truth values. A batch is the same with one dimension more: give
    `torch.utils.data.default_convert` to the DataLoader as its `collate_fn`.
    """

    def __init__(self, directory: str | Path, columns: Sequence[str] = ()) -> None:
        root = Path(directory)
        manifest = json.loads((root / "manifest.json").read_text())
        asked = {"vectors": "ref", "vector_format": "safetensors", "format": "parquet"}
        for name, value in asked.items():
            if manifest[name] != value:
                raise ValueError(f"{root} has {name}={manifest[name]}; expected {value}")
        files = manifest["files"]
        parts = [root / file["path"] for file in files if "first_row" in file]
        self.tables: dict[str, VectorTable] = {}
        for view in manifest["feature_views"]:
            own = [file for file in files if file.get("feature_view") == view]
            paths = [root / file["path"] for file in own]
            self.tables[view] = VectorTable(paths, [file["first_vector_row"] for file in own])
        numbers = {view: f"{view}__vector_row" for view in self.tables}
        rows = pq.read_table(parts, columns=[*numbers.values(), *columns])
        for name in numbers.values():
            rows = rows.filter(pc.is_valid(rows[name]))
        self.rows = {view: torch.tensor(rows[name].to_numpy()) for view, name in numbers.items()}
        self.columns = {name: torch.tensor(rows[name].to_numpy()) for name in columns}
        self.length = rows.num_rows

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        vectors = {f"{v}__vector": t[int(self.rows[v][index])] for v, t in self.tables.items()}
        return vectors | {name: column[index] for name, column in self.columns.items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A DataLoader asks this for a whole batch."""
        at = torch.tensor(indices)
        vectors = {f"{v}__vector": t.gather(self.rows[v][at]) for v, t in self.tables.items()}
        return vectors | {name: column[at] for name, column in self.columns.items()}
