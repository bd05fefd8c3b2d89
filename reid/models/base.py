"""The model interface.

A system is one folder (or file) of this package that gives `Config` (a reid.config.Plugin) and `Model` (a
ReIDModel built as `Model(config, context)`); `reid.models.registry` finds it by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from torch import Tensor, nn

from reid.comparison.regimes import Regime
from reid.comparison.rule import ComparisonRule
from reid.comparison.terms import FeatureBlock, PairComparison, RefusedPair
from reid.data.batches.batch import Batch
from reid.errors import UnsupportedPairing
from reid.modality import Modality, Subset, all_subsets, canonical
from reid.models.registry import suggest_systems
from reid.nn.towers.clip import ImageTowerConfig, TextTowerConfig

Side = Literal["query", "gallery"]
SMALL_TOWER: dict[str, Any] = {"arch": None, "patch": 4, "width": 32, "layers": 2, "heads": 2, "dim": 16}
SMALL_TEXT: dict[str, Any] = {"width": 16, "layers": 1, "heads": 1, "vocab": 64, "context": 12}


class Auxiliary(StrEnum):
    """Inputs of a row that are not one of its modalities: a caption or a mask of the object.

    >>> [a.value for a in Auxiliary]
    ['caption', 'mask']
    """

    CAPTION = "caption"
    MASK = "mask"


@dataclass(frozen=True)
class ModelContext:
    """Facts about the data that a model is built for.

    Args:
        num_classes: identities in training; the classifiers have one output for each.
        num_cameras: cameras in training; camera embeddings have one vector for each.
        height, width: size of the input images in pixels.
        modalities: modalities of the data in canonical order.

    >>> from reid.modality import Modality
    >>> ModelContext(100, 4, 256, 128, (Modality.RGB, Modality.NIR)).num_classes
    100
    """

    num_classes: int
    num_cameras: int
    height: int
    width: int
    modalities: Subset


@dataclass
class Output:
    """The result of one training step. Train on the sum of `losses`; they are already weighted.

    >>> import torch
    >>> output = Output({"id": torch.tensor(2.0), "triplet": torch.tensor(0.5)}, torch.zeros(4, 8))
    >>> float(sum(output.losses.values()))
    2.5
    """

    losses: dict[str, Tensor]
    features: Tensor  # (B, dim) as used for retrieval, not normalised
    stats: dict[str, Tensor | float] = field(default_factory=dict)  # scalars: router load, entropy, ...


@dataclass(frozen=True, eq=False)
class ExpertMap:
    """The experts to which a mixture sent the patches of B images.

    >>> import torch
    >>> ExpertMap(torch.zeros(2, 16, 8, dtype=torch.int64), count=6).experts.shape
    torch.Size([2, 16, 8])
    """

    experts: Tensor  # (B, rows, columns) int64: of the highest gate; -1: dropped, or no such image
    count: int  # experts that there are


class ReIDModel(nn.Module, ABC):
    """A trainable embedder of multi-modal captures: the interface that every system implements.

    `docs/write-a-model.md` writes one from nothing to a search.
    """

    regime: Regime
    """Which pairs of modality subsets can be compared; see `Regime`."""
    query_modalities: frozenset[Modality]
    """Modalities that a query may have."""
    gallery_modalities: frozenset[Modality]
    """Modalities that a gallery item may have."""
    auxiliary: frozenset[Auxiliary] = frozenset()
    """Additional inputs of a row that the model reads: a caption, a mask."""
    dim: int
    """Length of a vector."""
    feature_blocks: dict[str, slice]
    """Name -> part of the vector; in matched models the parts of a missing modality are zero.

    A block speaks for the modality that its name is or ends with ("nir", "interaction_nir"), or for all."""
    shared_blocks: frozenset[str] = frozenset()
    """Of a decoupled model, the blocks that are compared with those of all modalities."""
    completes: bool = False
    """Whether a matched model fills in missing modalities, so that every vector has all blocks."""
    needs_whole_rows: bool = False
    """Whether each row of a training batch must have every modality of the data."""
    mixes_rows: str = "it does not say that its encoder treats rows independently"
    """Why an encoder cannot take a training batch in parts (`train.compute.accumulate`); "": it can.

    One that can encodes with `reid.nn.towers`' transformers or `reid.nn.blockwise.in_parts`."""
    prune: bool = True
    """Skip computations that cannot change an embedding. False runs the whole network, e.g. to count it."""

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Compute the losses of a training batch.

        Args:
            batch: B rows of this rank; see `Batch`. `pid` holds labels from 0 to num_classes - 1.

        Returns:
            An `Output`: weighted scalar losses, features (B, dim) and scalar statistics. Losses are over the
            batches of all ranks unless `local_statistics()` is active.

        Raises DataError when rows lack a modality that training of this model needs.

        >>> model = reid.load("runs/train/mine").model
        >>> output = model(next(reid.open_shards("runs/shards/mine").batches(run)))
        >>> tuple(output.features.shape), bool(sum(output.losses.values()) > 0)
        ((4, 16), True)
        """

    @abstractmethod
    def embed(self, batch: Batch, side: Side) -> Tensor:
        """Compute the vectors of a batch from the modalities that each row has.

        Args:
            batch: B rows, each with a non-empty subset of this model's modalities.
            side: "query" or "gallery"; some systems encode the two differently.

        Returns:
            (B, dim) float32 vectors of unit norm.

        Raises DataError when a row has no modality of this model.

        >>> model = reid.load("runs/train/mine").model
        >>> vectors = model.embed(next(reid.open_shards("runs/shards/mine").batches(run)), "query")
        >>> tuple(vectors.shape), torch.allclose(vectors.norm(dim=1), torch.ones(4))
        ((4, 16), True)
        """

    def embed_many(self, batch: Batch, subsets: Sequence[Subset], side: Side) -> dict[Subset, Tensor]:
        """Compute the vectors of several modality subsets of the same rows.

        Args:
            batch: B rows that have every modality of every subset.
            subsets: modality subsets in canonical order.
            side: "query" or "gallery".

        Returns:
            For each subset the (B, dim) vectors that `embed(batch.only(subset), side)` gives.

        Systems override this to encode each image once for all subsets. Raises DataError like `embed`.

        >>> from reid.modality import parse_subset, subset_name
        >>> model = reid.load("runs/train/mine").model
        >>> batch = next(reid.open_shards("runs/shards/mine").batches(run))
        >>> found = model.embed_many(batch, [parse_subset("rgb"), parse_subset("rgb+nir")], "gallery")
        >>> {subset_name(subset): tuple(vectors.shape) for subset, vectors in found.items()}
        {'rgb': (4, 16), 'rgb+nir': (4, 16)}
        """
        return {subset: self.embed(batch.only(subset), side) for subset in subsets}

    def routing(self, batch: Batch) -> dict[str, ExpertMap]:
        """The experts to which an embedding of this batch sends its patches.

        Args:
            batch: B rows; see `embed`.

        Returns:
            "<mixture>/<modality>" -> `ExpertMap`; empty for a model without experts.

        >>> model = reid.load("runs/train/mine").model  # one without experts
        >>> model.routing(next(reid.open_shards("runs/shards/mine").batches(run)))
        {}
        """
        return {}

    def load_pretrained(self) -> None:
        """Load the towers from the weights that the configuration names; nothing by default.

        Raises WeightsError when the weights are missing or do not fit.

        >>> run = reid.load("runs/train/mine")
        >>> run.config.model.weights  # "random": nothing to load
        'random'
        >>> run.model.load_pretrained()
        """

    @classmethod
    def answers(cls, query: Subset, gallery: Subset) -> str | None:
        """How to configure this system so that it can compare two modality subsets.

        Args:
            query, gallery: the two subsets in canonical order.

        Returns:
            None if no configuration can; "" if the default one can; else what to set, e.g. "fusion: mean".
            `registry.suggest_systems` collects the answers of all systems for an error message.

        >>> from reid.modality import parse_subset
        >>> ReIDModel.answers(parse_subset("text"), parse_subset("rgb")) is None
        True
        """
        return None

    @classmethod
    def smaller(cls, section: Any) -> dict[str, Any]:
        """Fields that make any model of this system so small that it runs within a moment.

        Args:
            section: a `Config` of this system.

        Returns:
            Names of fields and values; by default towers with few and narrow layers. Numbers of so small a
            model tell whether a change of the source changes what is learnt (`reid.train.naming.numbers`).

        >>> from reid.models.baseline import Config, Model
        >>> sorted(Model.smaller(Config()))
        ['text', 'tower']
        """
        small = {ImageTowerConfig: SMALL_TOWER, TextTowerConfig: SMALL_TEXT}
        fields = type(section).model_fields.items()
        return {name: small[kind] for name, field in fields if (kind := field.annotation) in small}

    def supported(self, side: Side) -> list[Subset]:
        """Every non-empty subset of modalities that one side may have, smallest first.

        Args:
            side: "query" or "gallery".

        >>> from reid.modality import subset_name
        >>> subsets = reid.load("runs/train/mine").model.supported("query")
        >>> len(subsets), [subset_name(s) for s in subsets[:3]], subset_name(subsets[-1])
        (15, ['rgb', 'nir', 'sketch'], 'rgb+nir+sketch+text')
        """
        return all_subsets(self.query_modalities if side == "query" else self.gallery_modalities)

    @property
    def comparison_rule(self) -> ComparisonRule:
        """What this model says of every pair of subsets, by its regime and blocks.

        >>> reid.load("runs/train/mine").model.comparison_rule.regime.value
        'any_to_any'
        """
        known = self.query_modalities | self.gallery_modalities
        one_space = self.regime is Regime.ANY_TO_ANY
        blocks = [
            FeatureBlock(
                name,
                place.start,
                place.stop,
                "" if one_space else _modality_of(name, known),
                name in self.shared_blocks,
            )
            for name, place in self.feature_blocks.items()
        ]
        sides = canonical(self.query_modalities), canonical(self.gallery_modalities)
        return ComparisonRule(self.regime, tuple(blocks), *sides, self.completes)

    def comparison(
        self, query: Iterable[Modality], gallery: Iterable[Modality]
    ) -> PairComparison | RefusedPair:
        """How this model compares a query subset with a gallery subset: terms and a normaliser, or why not.

        Args:
            query, gallery: the modalities of each side, in any order.

        Returns:
            A comparison that names the subsets to embed: any-to-any and decoupled models embed both sides as
            they are, matched models the common modalities, or all if they complete missing ones. Or a refusal
            with the systems that can compare these subsets.

        >>> model = reid.load("runs/train/mine").model  # any-to-any
        >>> model.comparison({Modality.TEXT}, {Modality.NIR, Modality.RGB}).name
        'text->rgb+nir'
        """
        q, g = canonical(query), canonical(gallery)
        found = self.comparison_rule.between(q, g)
        if isinstance(found, RefusedPair) and q and g:
            return RefusedPair(found.reason, suggest_systems(q, g).strip())
        return found

    def pairing(self, query: Iterable[Modality], gallery: Iterable[Modality]) -> tuple[Subset, Subset]:
        """The subsets to embed on each side in order to compare `query` with `gallery`: see `comparison`.

        Args:
            query, gallery: the modalities of each side, in any order.

        Raises UnsupportedPairing with the reason and the systems that can compare these subsets.

        >>> from reid.modality import subset_name
        >>> model = reid.load("runs/train/mine").model  # any-to-any
        >>> [subset_name(s) for s in model.pairing({Modality.TEXT}, {Modality.NIR, Modality.RGB})]
        ['text', 'rgb+nir']
        """
        found = self.comparison(query, gallery)
        if isinstance(found, RefusedPair):
            raise UnsupportedPairing(found.message)
        return found.query, found.gallery


def _modality_of(block: str, known: Iterable[Modality]) -> str:
    """The modality that a block's name is or ends with; "" for none."""
    names = [m.value for m in known if block == m.value or block.endswith(f"_{m.value}")]
    return max(names, key=len, default="")
