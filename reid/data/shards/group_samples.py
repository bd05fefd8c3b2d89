"""Samples found by id: which row group holds each one, and the last few row groups that were read.

Ids are held as one Arrow column, row groups are known from the manifest: no row group is opened to look.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import GroupRef, ShardSet
from reid.errors import DataError

Ints = npt.NDArray[np.int64]
KEPT = 4
"""Row groups that are kept."""


class GroupReader:
    """Samples of numbered row groups; the last few that were read are kept. Not thread-safe."""

    def __init__(self, shards: ShardSet, groups: Sequence[GroupRef], kept: int = KEPT) -> None:
        self.shards, self.groups, self._most = shards, groups, kept
        self._kept: OrderedDict[int, dict[str, Sample]] = OrderedDict()

    def read(self, group: int) -> dict[str, Sample]:
        """A row group's samples by id, in stored order."""
        if group not in self._kept:
            found = self.shards.read_group(self.groups[group])
            self._kept[group] = {s.labels.sample_id: s for s in found}
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(group)
        return self._kept[group]


class GroupSamples(GroupReader):
    """The samples of some splits by id. Row groups are numbered over the splits in their order."""

    def __init__(self, shards: ShardSet, splits: Sequence[str], kept: int = KEPT) -> None:
        lists = [shards.groups(split) for split in splits]
        # Of one split they are made when they are asked for: there may be millions.
        super().__init__(shards, lists[0] if len(lists) == 1 else list(chain.from_iterable(lists)), kept)
        self.splits = tuple(splits)
        self._rows = np.concatenate([np.zeros(0, np.int64), *(listed.rows for listed in lists)])

    @property
    def size(self) -> int:
        """Samples in all, as the manifest counts them."""
        return int(self._rows.sum())

    def groups_of(self, ids: pa.Array | pa.ChunkedArray) -> Ints:
        """The number of the row group of each id, (n,) int64. Raises DataError naming an unknown one.

        Each call makes an index of all ids of the splits: ask for many together.
        """
        place = pc.index_in(ids.cast(self._names.type), value_set=self._names)
        if place.null_count:
            unknown = pc.filter(ids, pc.is_null(place))[0].as_py()
            raise DataError(self._unknown(unknown))
        found: Ints = self._group_of_row[place.to_numpy(zero_copy_only=False).astype(np.int64)]
        return found

    def group_of(self, sample_id: str) -> int:
        """The number of one sample's row group. Raises DataError for an unknown one."""
        place = bisect_left(self._sorted, sample_id, key=lambda row: str(self._names[int(row)]))
        if place < len(self._sorted):
            row = int(self._sorted[place])
            if str(self._names[row]) == sample_id:
                return int(self._group_of_row[row])
        raise DataError(self._unknown(sample_id))

    def sample(self, sample_id: str, group: int | None = None) -> Sample:
        """A sample; its row group is looked up unless it is given. Raises DataError for an unknown one."""
        if group is None:
            group = self.group_of(sample_id)
        return self.read(group)[sample_id]

    @cached_property
    def _names(self) -> pa.Array:
        kind = pa.large_string()  # the ids of 10^8 samples are more than the 2 GiB of an array of strings
        chunks = [chunk.cast(kind) for split in self.splits for chunk in self.shards.names(split).chunks]
        return pa.concat_arrays(chunks) if chunks else pa.array([], kind)

    @cached_property
    def _group_of_row(self) -> Ints:
        return np.repeat(np.arange(len(self._rows)), self._rows)

    @cached_property
    def _sorted(self) -> Ints:
        rows: Ints = pc.sort_indices(self._names).to_numpy().astype(np.int64)
        return rows

    def _unknown(self, sample_id: str) -> str:
        return f"{self.shards.root}: no sample {sample_id!r} in {', '.join(self.splits)}."
