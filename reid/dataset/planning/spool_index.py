"""What a spool remembers of all its records: how many each identity has, and which names occur again.

8 bytes a record and about 30 an identity: 100 million records of 5 million identities take 1 GiB.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_IDENTITY = ("split", "dataset", "pid")
_MERGED = 1_000_000
"""Rows of counts beside those already summed that are kept before they are summed too."""


@dataclass(frozen=True)
class PartBounds:
    """Where each part of a division by (split, dataset, pid) begins; columns of equal length, sorted."""

    split: NDArray[np.int64]
    dataset: NDArray[np.int64]
    pid: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pid)

    def part_of(self, split: NDArray[Any], dataset: NDArray[Any], pid: NDArray[Any]) -> NDArray[np.int64]:
        """(n,) the part of each of n identities; none comes before the first part's begin."""
        part = np.zeros(len(pid), np.int64)
        codes = split.astype(np.int64) << 32 | dataset
        known = self.split << 32 | self.dataset
        for code in np.unique(codes).tolist():
            low, high = np.searchsorted(known, [code, code + 1]).tolist()
            mine = codes == code
            part[mine] = low + np.searchsorted(self.pid[low:high], pid[mine], side="right") - 1
        return part


class SpoolIndex:
    """Names as hashes, and the records of each identity.

    >>> index = SpoolIndex()
    >>> index.add(*(pa.array(column) for column in ([0, 0, 0], [0, 0, 0], [1, 1, 2], [7, 8, 7])))
    >>> index.repeated().tolist(), index.bounds(pa.array([0]), pa.array([0]), 2).pid.tolist()
    ([7], [1, 2])
    """

    def __init__(self) -> None:
        self._names = array("Q")
        self._counts: list[pa.Table] = []
        self._summed = 0

    def add(self, split: pa.Array, dataset: pa.Array, pid: pa.Array, name: pa.Array) -> None:
        """Count records by identity and keep the hashes of their names; columns of equal length."""
        self._names.frombytes(name.to_numpy().astype(np.uint64, copy=False).tobytes())
        ones = pa.array(np.ones(len(pid), np.int64))
        self._counts.append(_summed(pa.table([split, dataset, pid, ones], [*_IDENTITY, "rows"])))
        if sum(map(len, self._counts)) > 2 * self._summed + _MERGED:
            self._merge()

    def repeated(self) -> NDArray[np.uint64]:
        """Hashes that occur more than once, found in sixteen parts: sorting copies what it sorts."""
        names = np.frombuffer(self._names, np.uint64) if len(self._names) else np.zeros(0, np.uint64)
        pieces = np.array_split(names, max(1, len(names) // _MERGED))
        found = []
        for part in range(16):
            own = np.sort(np.concatenate([piece[piece >> np.uint64(60) == part] for piece in pieces]))
            found.append(np.unique(own[1:][own[1:] == own[:-1]]))
        return np.concatenate(found)

    def bounds(self, splits: pa.Array, datasets: pa.Array, part: int) -> PartBounds:
        """A division into parts of whole identities of about `part` records.

        Args:
            splits: the position of each split in the order that is wanted.
            datasets: likewise of each data set.
            part: records in a part.
        """
        if not self._counts:
            return PartBounds(*(np.zeros(0, np.int64) for _ in _IDENTITY))
        counts = self._merge()
        for column, (name, ranks) in enumerate((("split", splits), ("dataset", datasets))):
            counts = counts.set_column(column, name, ranks.take(counts[name].combine_chunks()))
        counts = counts.take(pc.sort_indices(counts, sort_keys=[(name, "ascending") for name in _IDENTITY]))
        rows = counts["rows"].to_numpy()
        number = (np.cumsum(rows) - rows) // part
        first = np.flatnonzero(np.diff(number, prepend=-1))
        columns = (counts[name].take(pa.array(first)).to_numpy().astype(np.int64) for name in _IDENTITY)
        return PartBounds(*columns)

    def _merge(self) -> pa.Table:
        self._counts = [_summed(pa.concat_tables(self._counts))]
        self._summed = len(self._counts[0])
        return self._counts[0]


def _summed(counts: pa.Table) -> pa.Table:
    found = counts.group_by(list(_IDENTITY)).aggregate([("rows", "sum")])
    return found.rename_columns([*_IDENTITY, "rows"])
