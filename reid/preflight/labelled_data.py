"""The labels that a preflight looks at: of a built shard set, or of rows that are not built yet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np

from reid.config import Config
from reid.data.batches.row_group_index import identity_subsets
from reid.data.images import SensorSettings
from reid.data.shards.identity_captures import IdentityCaptures
from reid.data.shards.identity_list import Identity, IdentityList
from reid.data.shards.schema import SPLITS
from reid.data.shards.shard_set import ShardSet
from reid.evaluate.protocols.items import Provenance, SampleLabels
from reid.evaluate.protocols.label_columns import LabelColumns
from reid.evaluate.protocols.label_table import LabelTable
from reid.generate.registry import bind
from reid.modality import PHOTO, Subset, Target, canonical


class LabelledData(ABC):
    """Labels of a data set by split, without pixels."""

    where: str
    """What messages call it."""

    @abstractmethod
    def counts(self, split: str) -> IdentityCaptures:
        """Captures of each identity of a split by the modalities that they have; empty without the split."""

    @abstractmethod
    def labels(self, split: str, who: Container[Identity] | None = None) -> Sequence[SampleLabels]:
        """The rows of a split, or those of some of its identities."""

    def set_aside(self) -> Counter[str]:
        """Rows that the build left out, by reason."""
        return Counter()

    @property
    def splits(self) -> list[str]:
        """The splits that have rows."""
        return [split for split in SPLITS if self.counts(split)]

    def identities(self, split: str) -> IdentityList:
        """The sorted identities of a split."""
        return self.counts(split).identities

    def modalities(self, split: str) -> Subset:
        """What any row of a split has, in canonical order."""
        return canonical({m for counts, _, _ in self.counts(split).used for subset in counts for m in subset})


class BuiltData(LabelledData):
    """The labels of a shard set; counts come from its manifest alone."""

    def __init__(self, shards: ShardSet) -> None:
        self.shards, self.where = shards, shards.root
        self._counts: dict[str, IdentityCaptures] = {}

    def counts(self, split: str) -> IdentityCaptures:
        if split not in self._counts:
            self._counts[split] = identity_subsets(self.shards, split)
        return self._counts[split]

    def labels(self, split: str, who: Container[Identity] | None = None) -> LabelTable:
        columns = LabelColumns()
        for table in self.shards.label_tables(split):
            columns.add(table)
        found = columns.table()
        if who is None:
            return found
        _, first, number = np.unique(found.identity, return_index=True, return_inverse=True)
        asked = [found.dataset.values[found.dataset.codes[i]] for i in first]
        kept = np.array([(d, int(p)) in who for d, p in zip(asked, found.pid[first], strict=True)], bool)
        return found.take(np.flatnonzero(kept[number]))

    def set_aside(self) -> Counter[str]:
        return Counter(str(row.get("reason")) for row in self.shards.manifest.quarantine_rows)


class ListedData(LabelledData):
    """Rows as a reader lists them.

    >>> rows = [SampleLabels("0001", "mine", pid=7, split="train", captions=(Provenance(),))]
    >>> data = ListedData("mine", rows)
    >>> data.identities("train"), data.modalities("train")
    (<1 identities: ('mine', 7)>, (<Modality.TEXT: 'text'>,))
    """

    def __init__(self, where: str, rows: Sequence[SampleLabels]) -> None:
        self.where, self.rows = where, rows

    @staticmethod
    def planned(where: str, rows: Sequence[SampleLabels], config: Config) -> ListedData:
        """The rows with the bands and the generated modalities that the build may add to them.

        Raises ConfigError for a wrong generator.
        """
        return ListedData(where, [_as_built(row, config) for row in rows])

    def counts(self, split: str) -> IdentityCaptures:
        found: dict[Identity, Counter[Subset]] = defaultdict(Counter)
        for row in self.labels(split):
            found[row.dataset, row.pid][row.modalities] += 1
        return IdentityCaptures.of(found)

    def labels(self, split: str, who: Container[Identity] | None = None) -> list[SampleLabels]:
        rows = (row for row in self.rows if row.split == split)
        return [row for row in rows if who is None or (row.dataset, row.pid) in who]


def _as_built(row: SampleLabels, config: Config) -> SampleLabels:
    """The row as it will be built, if its colours have a fourth band where one is taken, and if no generator
    fails on it.
    """
    images, captions = dict(row.images or {}), row.captions
    fourth = SensorSettings.of(config.data).fourth
    if fourth is not None and PHOTO in images:  # only decoding tells
        images.setdefault(fourth, images[PHOTO])
    for target, section in config.build.generate.items():
        reads = bind(target, section).entry.reads
        modality, made = target.modality, Provenance("generated", row.sample_id)
        if modality is None or not any(m in images for m in reads):
            continue
        if target is Target.TEXT:
            captions = captions or (made,)
        else:
            images.setdefault(modality, made)
    return replace(row, images=images, captions=captions)
