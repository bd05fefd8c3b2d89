"""The labels that a preflight looks at: of a built shard set, or of rows that are not built yet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from dataclasses import replace

from reid.config import Config
from reid.data.batches.row_group_index import identity_subsets
from reid.data.batches.samplers import Counts
from reid.data.shards.schema import SPLITS
from reid.data.shards.shard_set import Identity, ShardSet
from reid.evaluate.protocols.items import Provenance, SampleLabels
from reid.generate.registry import bind
from reid.modality import Modality, Subset, Target, canonical


class LabelledData(ABC):
    """Labels of a data set by split, without pixels."""

    where: str
    """What messages call it."""

    @abstractmethod
    def counts(self, split: str) -> dict[Identity, Counts]:
        """Captures of each identity of a split by the modalities that they have; empty without the split."""

    @abstractmethod
    def labels(self, split: str, who: Container[Identity] | None = None) -> list[SampleLabels]:
        """The rows of a split, or those of some of its identities."""

    def set_aside(self) -> Counter[str]:
        """Rows that the build left out, by reason."""
        return Counter()

    @property
    def splits(self) -> list[str]:
        """The splits that have rows."""
        return [split for split in SPLITS if self.counts(split)]

    def identities(self, split: str) -> list[Identity]:
        """The sorted identities of a split."""
        return sorted(self.counts(split))

    def modalities(self, split: str) -> Subset:
        """What any row of a split has, in canonical order."""
        return canonical({m for counts in self.counts(split).values() for subset in counts for m in subset})


class BuiltData(LabelledData):
    """The labels of a shard set; counts come from its manifest alone."""

    def __init__(self, shards: ShardSet) -> None:
        self.shards, self.where = shards, shards.root
        self._counts: dict[str, dict[Identity, Counts]] = {}

    def counts(self, split: str) -> dict[Identity, Counts]:
        if split not in self._counts:
            self._counts[split] = identity_subsets(self.shards, split)
        return self._counts[split]

    def labels(self, split: str, who: Container[Identity] | None = None) -> list[SampleLabels]:
        return [SampleLabels.of(s) for s in self.shards.light(split) if who is None or s.identity in who]

    def set_aside(self) -> Counter[str]:
        return Counter(str(row.get("reason")) for row in self.shards.manifest.quarantine_rows)


class ListedData(LabelledData):
    """Rows as a reader lists them.

    >>> rows = [SampleLabels("0001", "mine", pid=7, split="train", captions=(Provenance(),))]
    >>> data = ListedData("mine", rows)
    >>> data.identities("train"), data.modalities("train")
    ([('mine', 7)], (<Modality.TEXT: 'text'>,))
    """

    def __init__(self, where: str, rows: Sequence[SampleLabels]) -> None:
        self.where, self.rows = where, rows

    @staticmethod
    def planned(where: str, rows: Sequence[SampleLabels], config: Config) -> ListedData:
        """The rows with the bands and the generated modalities that the build may add to them.

        Raises ConfigError for a wrong generator.
        """
        return ListedData(where, [_as_built(row, config) for row in rows])

    def counts(self, split: str) -> dict[Identity, Counts]:
        found: dict[Identity, Counter[Subset]] = defaultdict(Counter)
        for row in self.labels(split):
            found[row.dataset, row.pid][row.modalities] += 1
        return dict(found)

    def labels(self, split: str, who: Container[Identity] | None = None) -> list[SampleLabels]:
        rows = (row for row in self.rows if row.split == split)
        return [row for row in rows if who is None or (row.dataset, row.pid) in who]


def _as_built(row: SampleLabels, config: Config) -> SampleLabels:
    """The row as it will be built, if its colours have a fourth band where one is taken, and if no generator
    fails on it.
    """
    images, captions = dict(row.images or {}), row.captions
    if config.data.fourth_band == "nir" and Modality.RGB in images:  # only decoding tells
        images.setdefault(Modality.NIR, images[Modality.RGB])
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
