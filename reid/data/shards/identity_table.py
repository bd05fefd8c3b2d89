"""The identities of a shard set by row group, as columns: one entry for each identity of each row group.

Everything that is planned from a manifest (labels, epochs, which row groups to read) comes from this table.
Its arrays may lie in a memory-mapped file that all processes of a machine share.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.data.shards.identity_list import IdentityList, IdentityMap
from reid.data.shards.manifest import RowGroup, Shard
from reid.modality import Subset, parse_subset, subset_name

Counts = Mapping[Subset, int]
"""Captures of an identity by the modalities that they have."""


@dataclass(frozen=True, eq=False)
class IdentityTable:
    """Columns of equal length n, in stored order: by shard, row group and identity.

    >>> table = reid.open_shards("runs/shards/mine").shards.index("train")
    >>> len(table), table.identities()[0], int(table.rows[0])
    (8, ('made', 0), 2)
    """

    datasets: tuple[str, ...]
    """Names of data sets, sorted; `dataset` are positions in it."""
    dataset: NDArray[np.int32]
    pid: NDArray[np.int64]
    rows: NDArray[np.int32]
    """Captures of the identity in the row group."""
    shard: NDArray[np.int32]
    """Position of the shard in the manifest."""
    group: NDArray[np.int32]
    """Position of the row group in its file."""
    subsets: tuple[Subset, ...]
    """Subsets of modalities that captures have; `subset` are positions in it."""
    starts: NDArray[np.int64]
    """(n + 1,) where an entry's part of `subset` and `counts` begins; nothing: the manifest does not tell."""
    subset: NDArray[np.int16]
    counts: NDArray[np.int32]
    """Captures of an entry with a subset of modalities."""

    def __len__(self) -> int:
        return len(self.pid)

    @classmethod
    def of(cls, shards: Iterable[Shard]) -> IdentityTable:
        """The table of shards that list their row groups."""
        return TableBuilder.of(shards).table()

    def identities(self) -> IdentityList:
        """The identity of each entry; one that fills several row groups occurs again."""
        return IdentityList(self.datasets, self.dataset, self.pid)

    def by_identity(self) -> IdentityMap:
        """The distinct identities, sorted, with their rows."""
        listed = self.identities()
        order = listed.order
        code, pid, rows = (
            column if order is None else column[order] for column in (self.dataset, self.pid, self.rows)
        )
        first = np.ones(len(pid), bool)
        first[1:] = (pid[1:] != pid[:-1]) | (code[1:] != code[:-1])
        if first.all():
            return IdentityMap(IdentityList(self.datasets, code, pid), rows)
        begin = np.flatnonzero(first)
        sums = np.add.reduceat(rows, begin, dtype=np.int64)
        return IdentityMap(IdentityList(self.datasets, code[begin], pid[begin]), sums)

    @cached_property
    def group_starts(self) -> NDArray[np.int64]:
        """(groups + 1,) the first entry of each row group, and the end."""
        if not len(self):
            return np.zeros(1, np.int64)
        changes = (self.group[1:] != self.group[:-1]) | (self.shard[1:] != self.shard[:-1])
        return np.concatenate([[0], np.flatnonzero(changes) + 1, [len(self)]]).astype(np.int64)

    @property
    def told(self) -> NDArray[np.bool_]:
        """(n,) whether the captures of an entry are counted by their modalities."""
        return self.starts[1:] > self.starts[:-1]

    def part(self, start: int, stop: int) -> IdentityTable:
        """Neighbouring entries, without a copy."""
        own = slice(start, stop)
        return replace(
            self,
            **{name: getattr(self, name)[own] for name in ("dataset", "pid", "rows", "shard", "group")},
            starts=self.starts[start : stop + 1],
        )

    def take(self, places: NDArray[Any]) -> IdentityTable:
        """The entries at some positions."""
        begin, sizes = self.starts[places], self.starts[places + 1] - self.starts[places]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        flat = np.arange(starts[-1]) - np.repeat(starts[:-1] - begin, sizes)
        return replace(
            self,
            **{name: getattr(self, name)[places] for name in ("dataset", "pid", "rows", "shard", "group")},
            starts=starts,
            subset=self.subset[flat],
            counts=self.counts[flat],
        )

    def count_of(self, entry: int) -> dict[Subset, int]:
        """An entry's captures by their modalities; empty when the manifest does not tell."""
        own = slice(int(self.starts[entry]), int(self.starts[entry + 1]))
        codes, counts = self.subset[own].tolist(), self.counts[own].tolist()
        return {self.subsets[code]: count for code, count in zip(codes, counts, strict=True)}

    def dense_counts(self, start: int, stop: int) -> NDArray[np.int32]:
        """(stop - start, subsets) captures of some entries by subset."""
        begin, end = int(self.starts[start]), int(self.starts[stop])
        found = np.zeros((stop - start, len(self.subsets)), np.int32)
        sizes = np.diff(self.starts[start : stop + 1])
        np.add.at(
            found, (np.repeat(np.arange(stop - start), sizes), self.subset[begin:end]), self.counts[begin:end]
        )
        return found

    def row_groups(self, start: int, stop: int, uniform: bool) -> list[RowGroup]:
        """The row groups of entries `start` to `stop`, as a shard's statistics list them."""
        found: list[RowGroup] = []
        previous = None
        for entry in range(start, stop):
            place = int(self.group[entry])
            if place != previous:
                found.append(RowGroup(rows=0, identities=[], subsets=None))
                previous = place
            group, rows = found[-1], int(self.rows[entry])
            group.identities.append((self.datasets[self.dataset[entry]], int(self.pid[entry]), rows))
            group.rows += rows
            if not uniform and (counts := self.count_of(entry)):
                group.subsets = group.subsets or []
                group.subsets.append({subset_name(subset): n for subset, n in counts.items()})
        return found


class TableBuilder:
    """Collects the entries of shards in flat arrays, in the order in which they are added."""

    def __init__(self) -> None:
        self._datasets: dict[str, int] = {}
        self._subsets: dict[str, int] = {}
        self._columns = {name: array("i") for name in ("dataset", "rows", "shard", "group", "counts")}
        self._pid, self._starts, self._subset = array("q"), array("q", [0]), array("h")

    @classmethod
    def of(cls, shards: Iterable[Shard]) -> TableBuilder:
        """The entries of shards, numbered in order."""
        built = cls()
        for number, shard in enumerate(shards):
            built.add(number, shard)
        return built

    def __len__(self) -> int:
        return len(self._pid)

    def add(self, number: int, shard: Shard) -> int:
        """Add the row groups of a shard, whose position is `number`; returns how many entries they are."""
        before = len(self)
        same = shard.uniform
        uniform = None if same is None else subset_name(same)
        for place, group in enumerate(shard.row_groups):
            for entry, (dataset, pid, rows) in enumerate(group.identities):
                if uniform is not None:
                    counts = {uniform: rows}
                else:
                    counts = {} if group.subsets is None else group.subsets[entry]
                self._entry(number, place, (dataset, pid, rows), counts)
        return len(self) - before

    def _entry(self, shard: int, group: int, identity: tuple[str, int, int], counts: dict[str, int]) -> None:
        dataset, pid, rows = identity
        code = self._datasets.setdefault(dataset, len(self._datasets))
        for name, value in (("dataset", code), ("rows", rows), ("shard", shard), ("group", group)):
            self._columns[name].append(value)
        self._pid.append(pid)
        for subset, count in sorted(counts.items()):
            self._subset.append(self._subsets.setdefault(subset, len(self._subsets)))
            self._columns["counts"].append(count)
        self._starts.append(len(self._subset))

    def table(self) -> IdentityTable:
        """The entries so far; data sets and subsets are numbered by their names."""
        names, new = _by_name(self._datasets, np.int32)
        subsets, numbers = _by_name(self._subsets, np.int16)
        subset = _numpy(self._subset, np.int16)
        columns = {name: _numpy(column, np.int32) for name, column in self._columns.items()}
        codes = columns.pop("dataset")
        return IdentityTable(
            datasets=tuple(names),
            dataset=new[codes] if len(codes) else codes,
            pid=_numpy(self._pid, np.int64),
            subsets=tuple(parse_subset(name) if name else () for name in subsets),
            starts=_numpy(self._starts, np.int64),
            subset=numbers[subset] if len(subset) else subset,
            **columns,
        )


def _by_name(codes: Mapping[str, int], kind: type[np.generic]) -> tuple[list[str], NDArray[Any]]:
    """The sorted names, and the new number of each old one."""
    names = sorted(codes)
    places = {name: place for place, name in enumerate(names)}
    return names, np.array([places[name] for name in codes], kind)


def _numpy(column: array[int], kind: type[np.generic]) -> NDArray[Any]:
    return np.array(column, kind) if len(column) else np.zeros(0, kind)
