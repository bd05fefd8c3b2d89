"""Identities as columns: millions of (dataset, pid) in two arrays, found by binary search.

`IdentityList` is a sequence of identities, `IdentityMap` a mapping from identities to numbers (labels,
row counts). Both behave like the tuple and the dict that they stand for, at 12 to 16 bytes an identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Identity = tuple[str, int]
"""(dataset, pid): what an identity keys on."""
Numbers = NDArray[np.signedinteger[Any]]
_BLOCK = 65536


class IdentityList(Sequence[Identity]):
    """Identities in any order, as columns.

    Args:
        datasets: names of data sets, sorted and distinct.
        dataset: (n,) positions in `datasets`.
        pid: (n,) identity numbers.

    >>> found = IdentityList.of([("b", 1), ("a", 7)])
    >>> found[1], ("b", 1) in found, found.sorted() == [("a", 7), ("b", 1)]
    (('a', 7), True, True)
    """

    def __init__(self, datasets: Sequence[str], dataset: Numbers, pid: Numbers) -> None:
        self.datasets, self.dataset, self.pid = tuple(datasets), dataset, pid

    @classmethod
    def of(cls, identities: Iterable[Identity]) -> IdentityList:
        """The same identities as columns."""
        if isinstance(identities, IdentityList):
            return identities
        given = identities if isinstance(identities, Sequence) else list(identities)
        datasets = sorted({dataset for dataset, _ in given})
        codes = {name: code for code, name in enumerate(datasets)}
        size = len(given)
        return cls(
            datasets,
            np.fromiter((codes[dataset] for dataset, _ in given), np.int32, size),
            np.fromiter((pid for _, pid in given), np.int64, size),
        )

    def __len__(self) -> int:
        return len(self.pid)

    @overload
    def __getitem__(self, index: int) -> Identity: ...
    @overload
    def __getitem__(self, index: slice) -> IdentityList: ...
    def __getitem__(self, index: int | slice) -> Identity | IdentityList:
        if isinstance(index, slice):
            return IdentityList(self.datasets, self.dataset[index], self.pid[index])
        return self.datasets[self.dataset[index]], int(self.pid[index])

    def __iter__(self) -> Iterator[Identity]:
        for start in range(0, len(self), _BLOCK):
            part = slice(start, start + _BLOCK)
            codes, pids = self.dataset[part].tolist(), self.pid[part].tolist()
            yield from ((self.datasets[code], pid) for code, pid in zip(codes, pids, strict=True))

    def __contains__(self, identity: object) -> bool:
        return self._position(identity) >= 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, IdentityList) and self.datasets == other.datasets:
            return np.array_equal(self.dataset, other.dataset) and np.array_equal(self.pid, other.pid)
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash((len(self), *islice(self, 8)))

    def __repr__(self) -> str:
        more = ", …" if len(self) > 3 else ""
        return f"<{len(self)} identities: {', '.join(map(repr, islice(self, 3)))}{more}>"

    def take(self, places: NDArray[Any]) -> IdentityList:
        """The identities at some positions, or where a mask (n,) is true."""
        return IdentityList(self.datasets, self.dataset[places], self.pid[places])

    def sorted(self) -> IdentityList:
        """In order of data set and number."""
        return self if self.order is None else self.take(self.order)

    def positions(self, wanted: IdentityList) -> NDArray[np.int64]:
        """(m,) the position here of each wanted identity, -1 where it is not here."""
        found = np.full(len(wanted), -1, np.int64)
        by_name = {name: code for code, name in enumerate(self.datasets)}
        for code, name in enumerate(wanted.datasets):
            mine = by_name.get(name)
            if mine is None:
                continue
            start, pids = self._numbers(mine)
            chosen = None if len(wanted.datasets) == 1 else np.flatnonzero(wanted.dataset == code)
            asked = wanted.pid if chosen is None else wanted.pid[chosen]
            places = np.searchsorted(pids, asked)
            places[places == len(pids)] = 0
            hit = pids[places] == asked if len(pids) else np.zeros(len(asked), bool)
            places = places + start
            if self.order is not None:
                places = self.order[places] if len(pids) else places
            found[slice(None) if chosen is None else chosen] = np.where(hit, places, -1)
        return found

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The position of an identity. Raises ValueError when it is not here."""
        place = self._position(value)
        if place < start or (stop is not None and place >= stop):
            raise ValueError(f"{value!r} is not among these identities")
        return place

    def _position(self, identity: object) -> int:
        if not isinstance(identity, tuple) or len(identity) != 2 or identity[0] not in self.datasets:
            return -1
        start, pids = self._numbers(self.datasets.index(identity[0]))
        place = int(np.searchsorted(pids, identity[1]))
        if place == len(pids) or pids[place] != identity[1]:
            return -1
        return int(start + place if self.order is None else self.order[start + place])

    def _numbers(self, code: int) -> tuple[int, Numbers]:
        """Where a data set's identities begin in sorted order, and their numbers."""
        start, stop = int(self._starts[code]), int(self._starts[code + 1])
        if self.order is None:
            return start, self.pid[start:stop]
        return start, self.pid[self.order[start:stop]]

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        counts = np.bincount(self.dataset, minlength=len(self.datasets))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def order(self) -> NDArray[np.int64] | None:
        """Positions in sorted order; None when they are sorted already."""
        code, pid = self.dataset, self.pid
        rising = (code[1:] > code[:-1]) | ((code[1:] == code[:-1]) & (pid[1:] >= pid[:-1]))
        if rising.all():
            return None
        return np.lexsort((pid, code))


class IdentityMap(Mapping[Identity, int]):
    """A whole number for each identity; `keys` are sorted and distinct, `numbers` (n,) belong to them.

    >>> labels = IdentityMap.of({("b", 1): 1, ("a", 7): 0})
    >>> labels["b", 1], labels.get(("b", 2)), list(labels)
    (1, None, [('a', 7), ('b', 1)])
    """

    def __init__(self, keys: IdentityList, numbers: Numbers) -> None:
        self.identities, self.numbers = keys, numbers

    @classmethod
    def of(cls, mapping: Mapping[Identity, int]) -> IdentityMap:
        """The same mapping as columns."""
        if isinstance(mapping, IdentityMap):
            return mapping
        keys = IdentityList.of(list(mapping))
        numbers = np.fromiter(mapping.values(), np.int64, len(mapping))
        order = np.lexsort((keys.pid, keys.dataset))
        return cls(keys.take(order), numbers[order])

    def __len__(self) -> int:
        return len(self.identities)

    def __iter__(self) -> Iterator[Identity]:
        return iter(self.identities)

    def __getitem__(self, identity: Identity) -> int:
        try:
            return int(self.numbers[self.identities.index(identity)])
        except ValueError:
            raise KeyError(identity) from None

    def __repr__(self) -> str:
        return f"<{len(self)} identities with a number each>"

    def of_all(self, wanted: IdentityList) -> NDArray[np.int32]:
        """(m,) the number of each wanted identity, -1 where it has none."""
        places = self.identities.positions(wanted)
        found = np.full(len(places), -1, np.int32)
        known = places >= 0
        found[known] = self.numbers[places[known]]
        return found
