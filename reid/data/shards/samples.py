"""The samples of a split as a sequence, read row group by row group."""

from __future__ import annotations

import difflib
import operator
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import SupportsIndex, overload

import numpy as np

from reid.data.shards.schema import SPLITS, Sample
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError, UsageError

_ROW_GROUPS_KEPT = 4


class SplitSamples(Sequence[Sample]):
    """The samples of one split of a shard set, in stored order: sorted by identity, pictures encoded.

    Nothing is held but the last few row groups. A row group is read whole: go through the samples in order
    where you can. Raises UsageError for an unknown split, DataError for one without samples.
    """

    def __init__(self, shards: ShardSet, split: str) -> None:
        if split not in SPLITS:
            near = difflib.get_close_matches(split, SPLITS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"split: {split!r} is not one of {', '.join(SPLITS)}.{hint}")
        self.shards, self.split = shards, split
        self._groups = shards.groups(split)
        if not self._groups:
            known = ", ".join(s for s in SPLITS if shards.rows(s)) or "none"
            raise DataError(f"{shards.root}: no sample in split {split!r}; splits with samples: {known}.")
        self._starts: list[int] = [0, *np.cumsum(self._groups.rows).tolist()]
        self._kept: OrderedDict[int, list[Sample]] = OrderedDict()

    def __repr__(self) -> str:
        identities = len(self.shards.identities(self.split))
        return (
            f"<{type(self).__name__} {self.shards.root}, split {self.split}: {len(self)} samples of "
            f"{identities} identities>"
        )

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: SupportsIndex) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self._at(place) for place in range(*index.indices(len(self)))]
        place = operator.index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"sample {place} of {len(self)}")
        return self._at(place % len(self))

    def __iter__(self) -> Iterator[Sample]:
        for group in self._groups:
            yield from self.shards.read_group(group)

    def __getstate__(self) -> dict[str, object]:
        """Without the row groups that were read: other processes read their own."""
        return {**vars(self), "_kept": OrderedDict()}

    def _at(self, place: int) -> Sample:
        number = bisect_right(self._starts, place) - 1
        held = self._kept.get(number)
        if held is None:
            held = self._kept[number] = self.shards.read_group(self._groups[number])
            while len(self._kept) > _ROW_GROUPS_KEPT:
                self._kept.pop(next(iter(self._kept)), None)
        return held[place - self._starts[number]]
