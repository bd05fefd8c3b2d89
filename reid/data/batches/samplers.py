"""What an identity gives to batches, and who is drawn: the samplers pk, tuple and cross.

A sampler splits an identity's captures into chunks, the unit of drawing. How many there are follows from
counts alone, so that an epoch is planned, and replayed, without reading a capture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reid.config import BatchConfig
from reid.data.batches.sample_rows import ANCHOR, Pick
from reid.data.shards.schema import Sample
from reid.errors import ConfigError, DataError
from reid.modality import Modality, Subset, subset_name

Counts = Mapping[Subset, int]
"""Captures of an identity by the modalities that they have."""
Chunk = list[Pick]
INFRARED = (Modality.NIR, Modality.TIR)


class Sampler(ABC):
    """One way to make batches of identities."""

    def __init__(self, config: BatchConfig, modalities: Subset) -> None:
        self.config, self.modalities = config, modalities

    @abstractmethod
    def chunks(self, counts: Counts) -> int:
        """How often an identity with these captures can be drawn in an epoch; 0: it is left out."""

    @abstractmethod
    def split(self, samples: Sequence[Sample], rng: np.random.Generator) -> list[Chunk]:
        """An identity's captures as that many chunks, shuffled."""

    def lacks(self, counts: Counts) -> Subset:
        """The modalities for want of which an identity is left out."""
        return tuple(m for m in self.modalities if not _having(counts, m))

    def refuses(self, counts: Counts) -> bool:
        """Whether such an identity is an error."""
        return False

    def unused(self, counts: Counts) -> int:
        """Captures that would be drawn on their own, were they complete."""
        return 0

    def choose(self, left: NDArray[np.int64], size: int, rng: np.random.Generator) -> list[int]:
        """Who of the reservoir is in the next batch: `size` distinct places of `left` (chunks left, > 0)."""
        chosen: list[int] = rng.choice(len(left), size, replace=False).tolist()
        return chosen


class PKSampler(Sampler):
    """K captures of each identity, with all that a capture has; drawn as the classical sampler draws."""

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
    """One row an identity: an RGB anchor, and every other modality of its identity or its capture.

    FlexiReID's batches; every anchor is drawn once an epoch.
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
        """By how much is left; those that must serve every batch to come are first, so that the batches are
        as many as distinctness allows."""
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
    """K rows of one picture an identity: first K / 2 visible ones, then K / 2 infrared ones.

    The batches of visible-infrared systems. A capture of both spectra serves either side, its other picture
    hidden. The side with more pictures is gone over once; the other starts again as often as it must.
    """

    def __init__(self, config: BatchConfig, modalities: Subset) -> None:
        super().__init__(config, modalities)
        self.infrared = tuple(m for m in INFRARED if m in modalities)
        if Modality.RGB not in modalities or not self.infrared:
            raise ConfigError(
                "train.batch.sampler: cross draws visible and infrared pictures; data.modalities is "
                f"{subset_name(modalities)}. Add rgb and nir (or tir), or use pk."
            )
        if config.instances % 2:
            raise ConfigError(f"train.batch.instances: {config.instances} is odd; cross needs an even K.")
        self.half = config.instances // 2

    def chunks(self, counts: Counts) -> int:
        visible, infrared = _having(counts, Modality.RGB), _having(counts, *self.infrared)
        return max(1, max(visible, infrared) // self.half) if visible and infrared else 0

    def lacks(self, counts: Counts) -> Subset:
        sides = ((Modality.RGB,), self.infrared)
        return tuple(m for side in sides if not _having(counts, *side) for m in side)

    def split(self, samples: Sequence[Sample], rng: np.random.Generator) -> list[Chunk]:
        visible = [Pick(s, [s], (Modality.RGB,)) for s in samples if Modality.RGB in s.images]
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
    """The sampler that `train.batch.sampler` names. ConfigError where the modalities do not suit it."""
    return _SAMPLERS[config.sampler](config, modalities)


def chunk_of(chunks: Sequence[Chunk], place: int, label: int) -> Chunk:
    """A planned chunk. Raises DataError when a shard holds other captures than its manifest says."""
    if place >= len(chunks):
        raise DataError(
            f"The shard set's manifest promises more captures of training identity {label} than its shards "
            "hold. Build the set anew."
        )
    return chunks[place]


def _having(counts: Counts, *modalities: Modality) -> int:
    return sum(n for subset, n in counts.items() if any(m in subset for m in modalities))


def _cycle(picks: list[Pick], length: int, rng: np.random.Generator) -> list[Pick]:
    """Shuffled, over and over until there are `length`: no pick is a second time ahead of the others."""
    order: list[int] = []
    while len(order) < length:
        order += rng.permutation(len(picks)).tolist()
    return [picks[i] for i in order[:length]]
