"""What an answer says, in one number that does not depend on the order of its rows.

    python check.py answer PART... [-- TABLE...]
    python check.py naive SPINE HISTORY

The first reads the files of an answer, with its tables of vectors where they stand apart; the second
makes the answer itself, by bisection. Both print JSON: rows, those with a vector, whether they are
in the order of the spine, and two digests, of those with a vector and of all: of the row (by its
weight, of which no two are equal), the event time and every bit of the vector of each.
"""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from generate import MOMENT, START, weights

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
ROWS = 65_536
# Entities and moments of the generator fit into one number: the moment's bits.
MOMENT_BITS = 44


def mixed(numbers: np.ndarray) -> np.ndarray:
    """Each number with its bits well stirred."""
    numbers = (numbers ^ (numbers >> np.uint64(31))) * MULTIPLIER
    numbers = (numbers ^ (numbers >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return numbers ^ (numbers >> np.uint64(32))


def micros_of(column: pa.Array) -> np.ndarray:
    """-1 where there is none."""
    return column.cast(MOMENT).cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)


def hashes_of(vectors: pa.Array) -> np.ndarray:
    """One number a vector: 0 where there is none."""
    hashes = np.zeros(len(vectors), np.uint64)
    present = vectors.is_valid().to_numpy(zero_copy_only=False)
    if present.any():
        # Two numbers at a time: the dims are even.
        words = vectors.flatten().to_numpy().view(np.uint64).reshape(present.sum(), -1)
        factors = np.random.default_rng(3).integers(1, 2**63, words.shape[1], dtype=np.uint64)
        # A vector of zeros is not a vector that is missing.
        hashes[present] = words @ (factors | np.uint64(1)) + np.uint64(1)
    return hashes


class Digest:
    def __init__(self) -> None:
        self.rows = self.found = 0
        self.is_in_order = True
        self.found_sum = self.missed_sum = np.uint64(0)

    def add(self, weight: np.ndarray, event: np.ndarray, vector: np.ndarray) -> None:
        self.is_in_order &= np.array_equal(weight, weights(self.rows, len(weight)))
        at = mixed(weight.view(np.uint64)) ^ mixed(event.view(np.uint64) + np.uint64(1))
        row = mixed(at ^ mixed(vector))
        is_found = vector != 0
        self.found_sum += row[is_found].sum(dtype=np.uint64)
        self.missed_sum += row[~is_found].sum(dtype=np.uint64)
        self.rows += len(weight)
        self.found += int(is_found.sum())

    def print(self) -> None:
        answer = {
            "rows": self.rows,
            "found": self.found,
            "in_order": self.is_in_order,
            "found_digest": f"{self.found_sum:016x}",
            "digest": f"{self.found_sum + self.missed_sum:016x}",
        }
        print(json.dumps(answer))


def check_answer(parts: list[str], tables: list[str]) -> None:
    table = table_hashes(tables)
    if len(np.unique(table)) != len(table):
        raise SystemExit("a vector is in its table twice")
    column = "job__vector_row" if tables else "job__vector"
    digest = Digest()
    for part in parts:
        names = ["weight", "job__event_timestamp", column]
        for batch in pq.ParquetFile(part).iter_batches(ROWS, columns=names):
            weight, event, vector = (batch.column(name) for name in names)
            if tables:
                row = vector.fill_null(-1).to_numpy(zero_copy_only=False)
                hashes = np.where(row < 0, np.uint64(0), table[row])
            else:
                hashes = hashes_of(vector)
            digest.add(weight.to_numpy(), micros_of(event), hashes)
    digest.print()


def table_hashes(files: list[str]) -> np.ndarray:
    """Of the vectors of a table in files: its last column."""
    hashes = [np.zeros(0, np.uint64)]
    for path in files:
        file = pq.ParquetFile(path)
        for batch in file.iter_batches(ROWS, columns=file.schema_arrow.names[-1:]):
            hashes.append(hashes_of(batch.column(0)))
    return np.concatenate(hashes)


def keys_of(batch: pa.RecordBatch) -> np.ndarray:
    """Entity and moment of each row as one number, by which they sort."""
    ids = batch.column("job_id")
    entity = pc.cast(pc.utf8_slice_codeunits(ids, 4), pa.int64()).to_numpy()
    return (entity << MOMENT_BITS) + (micros_of(batch.column("event_timestamp")) - START)


def naive(spine: str, history: str) -> None:
    names = ["job_id", "event_timestamp"]
    keys = np.concatenate(
        [keys_of(batch) for batch in pq.ParquetFile(history).iter_batches(ROWS, columns=names)]
    )
    order = np.argsort(keys)
    keys = keys[order]
    hashes = table_hashes([history])[order]
    digest = Digest()
    for batch in pq.ParquetFile(spine).iter_batches(ROWS, columns=[*names, "weight"]):
        asked = keys_of(batch)
        at = np.searchsorted(keys, asked, side="right") - 1
        winner = keys[np.maximum(at, 0)]
        is_found = (at >= 0) & (winner >> MOMENT_BITS == asked >> MOMENT_BITS)
        event = np.where(is_found, (winner & (2**MOMENT_BITS - 1)) + START, -1)
        vector = np.where(is_found, hashes[at], np.uint64(0))
        digest.add(batch.column("weight").to_numpy(), event, vector)
    digest.print()


def main() -> None:
    what, *paths = sys.argv[1:]
    if what == "naive":
        naive(*paths)
        return
    end = paths.index("--") if "--" in paths else len(paths)
    check_answer(paths[:end], paths[end + 1 :])


if __name__ == "__main__":
    np.seterr(over="ignore")
    main()
