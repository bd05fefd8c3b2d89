"""The model interface and its two regimes.

A system is one folder (or file) of this package that gives `Config` (a reid.config.Plugin) and `Model` (a
ReIDModel built as `Model(config, context)`); `reid.models.registry` finds it by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from torch import Tensor, nn

from reid.data.batches.batch import Batch
from reid.errors import UnsupportedPairing
from reid.modality import Modality, Subset, all_subsets, canonical, subset_name
from reid.models.registry import suggest_systems

Side = Literal["query", "gallery"]


class Regime(StrEnum):
    """How vectors of different modality subsets relate."""

    MATCHED = "matched"
    """One layout; both sides are compared on their common modalities."""
    ANY_TO_ANY = "any_to_any"
    """Every supported subset lands in one shared space."""


class Auxiliary(StrEnum):
    """Inputs that a model may use besides the query's own modalities."""

    CAPTION = "caption"
    MASK = "mask"


@dataclass(frozen=True)
class ModelContext:
    """What a model must know of the data it is built for."""

    num_classes: int
    num_cameras: int
    height: int
    width: int
    modalities: Subset


@dataclass
class Output:
    """A training step's result. `losses` are already weighted; their sum is minimised."""

    losses: dict[str, Tensor]
    features: Tensor  # (B, dim) as used for retrieval, not normalised
    stats: dict[str, Tensor | float] = field(default_factory=dict)  # scalars: router load, entropy, ...


@dataclass(frozen=True, eq=False)
class ExpertMap:
    """The experts that the patches of B images went to."""

    experts: Tensor  # (B, rows, columns) int64: of the highest gate; -1: dropped, or no such image
    count: int  # experts that there are


class ReIDModel(nn.Module, ABC):
    """A trainable embedder of multi-modal captures."""

    regime: Regime
    query_modalities: frozenset[Modality]
    gallery_modalities: frozenset[Modality]
    auxiliary: frozenset[Auxiliary] = frozenset()
    dim: int
    feature_blocks: dict[str, slice]
    completes: bool = False
    """A matched model that fills in missing modalities itself: every subset's vector has all blocks."""
    prune: bool = True
    """Skip what cannot change an embedding. False computes the whole architecture: to count it, to test."""

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Losses and features of a training batch. Statistics are over the batches of all ranks."""

    @abstractmethod
    def embed(self, batch: Batch, side: Side) -> Tensor:
        """(B, dim) float32 vectors of unit norm, from whatever modalities the rows have."""

    def embed_many(self, batch: Batch, subsets: Sequence[Subset], side: Side) -> dict[Subset, Tensor]:
        """Subset -> (B, dim): what `embed` gives for `batch.only(subset)`, whose modalities every row has.

        A model overrides this to encode each picture once for all subsets.
        """
        return {subset: self.embed(batch.only(subset), side) for subset in subsets}

    def routing(self, batch: Batch) -> dict[str, ExpertMap]:
        """ "<mixture>/<modality>" -> where an embedding of this batch sends patches; {} without experts."""
        return {}

    def load_pretrained(self) -> None:
        """Fill the towers from the config's `weights`. Nothing to do by default."""

    @classmethod
    def answers(cls, query: Subset, gallery: Subset) -> str | None:
        """How to configure this system so that it compares these two subsets; None when it never does.

        "" means as it is. Asked of every system when another one cannot answer: see `registry.suggest_systems`.
        """
        return None

    def supported(self, side: Side) -> list[Subset]:
        """Every subset that this side may have."""
        return all_subsets(self.query_modalities if side == "query" else self.gallery_modalities)

    def pairing(self, query: Iterable[Modality], gallery: Iterable[Modality]) -> tuple[Subset, Subset]:
        """The subsets that are embedded on each side to compare `query` with `gallery`.

        Matched models compare what is common, unless they complete what is missing. Raises
        UnsupportedPairing, naming the reason and the remedy.
        """
        q, g = canonical(query), canonical(gallery)
        if not q or not g:
            raise UnsupportedPairing("Empty modality subset: both sides need at least one modality.")
        for side, subset, known in (
            ("query", q, self.query_modalities),
            ("gallery", g, self.gallery_modalities),
        ):
            stray = [m for m in subset if m not in known]
            if stray and not (self.regime is Regime.MATCHED and set(subset) & known):
                raise UnsupportedPairing(
                    f"This model cannot take {subset_name(stray)} on the {side} side; it takes any subset of "
                    f"{subset_name(known)}.{suggest_systems(q, g)}"
                )
        if self.regime is Regime.ANY_TO_ANY:
            return q, g
        if self.completes:
            return canonical(set(q) & self.query_modalities), canonical(set(g) & self.gallery_modalities)
        common = canonical(set(q) & set(g) & self.query_modalities & self.gallery_modalities)
        if not common:
            raise UnsupportedPairing(
                f"A matched model compares common modalities, and query {subset_name(q)!r} shares none with "
                f"gallery {subset_name(g)!r}.{suggest_systems(q, g)}"
            )
        return common, common
