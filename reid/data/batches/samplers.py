"""The samplers pk, tuple and cross: how an identity's captures become parts of batches, and who is drawn.

A sampler splits an identity's captures into chunks, the unit of drawing. The number of chunks follows from
counts alone, so that an epoch is planned and replayed without reading a capture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from reid.config import BatchConfig
from reid.data.batches.sample_rows import ANCHOR, Pick
from reid.data.shards.identity_table import Counts
from reid.data.shards.schema import Sample
from reid.errors import ConfigError, DataError
from reid.modality import INFRARED, PHOTO, Modality, Subset, subset_name

Chunk = list[Pick]


class Sampler(ABC):
    """One way to make batches of identities."""

    def __init__(self, config: BatchConfig, modalities: Subset) -> None:
        self.config, self.modalities = config, modalities

    @abstractmethod
    def chunks(self, counts: Counts) -> int:
        """How often an identity with these captures is drawn in an epoch; 0: it is left out."""

    @abstractmethod
    def split(self, samples: Sequence[Sample], rng: np.random.Generator) -> list[Chunk]:
        """Split an identity's captures into as many chunks, shuffled."""

    def lacks(self, counts: Counts) -> Subset:
        """The modalities whose absence excludes an identity."""
        return tuple(m for m in self.modalities if not _having(counts, m))

    def refuses(self, counts: Counts) -> bool:
        """Whether an identity with these captures is an error."""
        return False

    def unused(self, counts: Counts) -> int:
        """Number of captures that are not anchors because they are incomplete."""
        return 0

    def choose(self, left: NDArray[np.int64], size: int, rng: np.random.Generator) -> list[int]:
        """Choose the identities of the next batch: `size` distinct positions in `left`, their numbers of
        chunks left.
        """
        chosen: list[int] = rng.choice(len(left), size, replace=False).tolist()
        return chosen


class PKSampler(Sampler):
    """K captures of each identity with all their modalities, drawn like the classical P x K sampler."""

    def chunks(self, counts: Counts) -> int:
        usable = sum(n for subset, n in counts.items() if any(m in subset for m in self.modalities))
        return max(1, usable // self.config.instances) if usable else 0

    def split(self, samples: Sequence[Sample], rng: np.random.Generator) -> list[Chunk]:
        k = self.config.instances
        usable = [s for s in samples if any(m in s.modalities for m in self.modalities)]
        order = rng.permutation(len(usable)).tolist()
        if 0 < len(usable) < k:
            order += rng.integers(0, len(usable), k - len(usable)).tolist()
        picks = [Pick(usable[i], [usable[i]], self.modalities) for i in order]
        return [picks[i : i + k] for i in range(0, len(picks) - k + 1, k)]


class TupleSampler(Sampler):
    """One row of each identity: an RGB anchor with every other modality of its identity or its capture.

    These are FlexiReID's batches; every anchor is drawn once an epoch.
    """

    def __init__(self, config: BatchConfig, modalities: Subset) -> None:
        super().__init__(config, modalities)
        if ANCHOR not in modalities:
            raise ConfigError(
                f"train.batch.sampler: tuples are anchored on {ANCHOR.value}; add it to data.modalities, "
                "or use pk."
            )
        self.whole_captures = config.pairing == "same_sample"

    def chunks(self, counts: Counts) -> int:
        if self.config.incomplete == "allow":
            return _having(counts, ANCHOR)
        if self.whole_captures:
            return sum(n for subset, n in counts.items() if self._complete(subset))
        return 0 if self.lacks(counts) else _having(counts, ANCHOR)

    def lacks(self, counts: Counts) -> Subset:
        if self.whole_captures:
            counts = {subset: n for subset, n in counts.items() if ANCHOR in subset}
            if counts:
                return tuple(m for m in self.modalities if _having(counts, m) < _having(counts, ANCHOR))
        return super().lacks(counts)

    def refuses(self, counts: Counts) -> bool:
        return self.config.incomplete == "error" and bool(self.lacks(counts))

    def unused(self, counts: Counts) -> int:
        return _having(counts, ANCHOR) - self.chunks(counts)

    def split(self, samples: Sequence[Sample], rng: np.random.Generator) -> list[Chunk]:
        whole = self.whole_captures
        anchors = [s for s in samples if ANCHOR in s.images]
        if whole and self.config.incomplete != "allow":
            anchors = [s for s in anchors if self._complete(s.modalities)]
        order = [anchors[i] for i in rng.permutation(len(anchors))]
        return [[Pick(s, [s] if whole else samples, self.modalities)] for s in order]

    def choose(self, left: NDArray[np.int64], size: int, rng: np.random.Generator) -> list[int]:
        """Weighted by the chunks left. Identities that every remaining batch needs come first, which gives as
        many batches of distinct identities as possible.
        """
        batches = int(left.sum()) // size
        while (possible := int(np.minimum(left, batches).sum()) // size) < batches:
            batches = possible
        urgent = left >= batches
        # Efraimidis and Spirakis: the largest exponential keys are a weighted draw without replacement.
        keys = np.log(rng.random(len(left))) / left
        ranked: list[int] = np.lexsort((-keys, ~urgent))[:size].tolist()
        return ranked

    def _complete(self, subset: Subset) -> bool:
        return all(m in subset for m in self.modalities)


class CrossSampler(Sampler):
    """K rows of one image for each identity: first K / 2 visible ones, then K / 2 infrared ones.

    These are the batches of visible-infrared systems. A capture with both spectra serves either side, with
    its other image hidden. The side with more images is used once; the other is repeated as often as needed.
    """

    def __init__(self, config: BatchConfig, modalities: Subset) -> None:
        super().__init__(config, modalities)
        self.infrared = tuple(m for m in INFRARED if m in modalities)
        if PHOTO not in modalities or not self.infrared:
            raise ConfigError(
                "train.batch.sampler: cross draws visible and infrared pictures; data.modalities is "
                f"{subset_name(modalities)}. Add {PHOTO.value} and {' or '.join(INFRARED)}, or use pk."
            )
        if config.instances % 2:
            raise ConfigError(f"train.batch.instances: {config.instances} is odd; cross needs an even K.")
        self.half = config.instances // 2

    def chunks(self, counts: Counts) -> int:
        visible, infrared = _having(counts, PHOTO), _having(counts, *self.infrared)
        return max(1, max(visible, infrared) // self.half) if visible and infrared else 0

    def lacks(self, counts: Counts) -> Subset:
        sides = ((PHOTO,), self.infrared)
        return tuple(m for side in sides if not _having(counts, *side) for m in side)

    def split(self, samples: Sequence[Sample], rng: np.random.Generator) -> list[Chunk]:
        visible = [Pick(s, [s], (PHOTO,)) for s in samples if PHOTO in s.images]
        infrared = []
        for sample in samples:
            if having := [m for m in self.infrared if m in sample.images]:
                which = having[int(rng.integers(len(having)))] if len(having) > 1 else having[0]
                infrared.append(Pick(sample, [sample], (which,)))
        if not visible or not infrared:
            return []
        count = max(1, max(len(visible), len(infrared)) // self.half)
        sides = [_cycle(side, count * self.half, rng) for side in (visible, infrared)]
        return [
            [pick for side in sides for pick in side[i : i + self.half]]
            for i in range(0, count * self.half, self.half)
        ]


_SAMPLERS: dict[str, Callable[[BatchConfig, Subset], Sampler]] = {
    "pk": PKSampler,
    "tuple": TupleSampler,
    "cross": CrossSampler,
}


def sampler_of(config: BatchConfig, modalities: Subset) -> Sampler:
    """The sampler that `train.batch.sampler` names. Raises ConfigError if it does not suit the modalities."""
    return _SAMPLERS[config.sampler](config, modalities)


def chunk_of(chunks: Sequence[Chunk], place: int, label: int) -> Chunk:
    """A planned chunk. Raises DataError when a shard holds other captures than its manifest lists."""
    if place >= len(chunks):
        raise DataError(
            f"The shard set's manifest promises more captures of training identity {label} than its shards "
            "hold. Build the set again."
        )
    return chunks[place]


def _having(counts: Counts, *modalities: Modality) -> int:
    return sum(n for subset, n in counts.items() if any(m in subset for m in modalities))


def _cycle(picks: list[Pick], length: int, rng: np.random.Generator) -> list[Pick]:
    """`length` picks: shuffled passes over all, so that none repeats before the others were used."""
    order: list[int] = []
    while len(order) < length:
        order += rng.permutation(len(picks)).tolist()
    return [picks[i] for i in order[:length]]
