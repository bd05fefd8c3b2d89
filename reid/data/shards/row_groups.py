"""The row groups of a split, listed from the manifest: the unit of streaming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from reid import storage
from reid.data.shards.identity_table import IdentityTable


@dataclass(frozen=True)
class GroupRef:
    """A row group of a shard."""

    file: str
    index: int
    rows: int
    identities: tuple[tuple[str, int, int], ...]
    """(dataset, pid, rows) each."""


class GroupList(Sequence[GroupRef]):
    """The row groups of a split in stored order; a `GroupRef` is made when it is asked for.

    Args:
        root: the shard set.
        files: file names of the set's shards, by their position in the manifest.
        table: the split's identities.

    >>> groups = reid.open_shards("runs/shards/mine").shards.groups("train")
    >>> len(groups) == len(groups.rows), groups[0].rows == int(groups.rows[0])
    (True, True)
    """

    def __init__(self, root: str, files: Sequence[str], table: IdentityTable) -> None:
        self.root, self.files, self.table = root, files, table
        starts = table.group_starts
        self.rows: NDArray[np.int64] = (
            np.add.reduceat(table.rows, starts[:-1], dtype=np.int64)
            if len(starts) > 1
            else np.zeros(0, np.int64)
        )
        """(groups,) rows of each row group."""

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> GroupRef: ...
    @overload
    def __getitem__(self, index: slice) -> list[GroupRef]: ...
    def __getitem__(self, index: int | slice) -> GroupRef | list[GroupRef]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"row group {index} of {len(self)}")
        table, place = self.table, index % len(self)
        start, stop = (int(i) for i in table.group_starts[place : place + 2])
        codes, pids, rows = (c[start:stop].tolist() for c in (table.dataset, table.pid, table.rows))
        return GroupRef(
            storage.join(self.root, "data", self.files[int(table.shard[start])]),
            int(table.group[start]),
            int(self.rows[place]),
            tuple((table.datasets[code], pid, n) for code, pid, n in zip(codes, pids, rows, strict=True)),
        )
