"""Signal (AAAI 2026): selective interaction of patches, and global and local alignment of modalities.

One CLIP tower encodes all cameras. SIM: class tokens attend to the patches that they, or another modality's
class token, selected (`token_selection`). GAM: a contrast of the volumes that a capture's modalities span.
LAM: feature maps sampled at moved points must agree. GAM and LAM act in training only. Matched regime: a
vector has one block for each modality before interaction and one after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from reid.comparison.regimes import Regime
from reid.config import Plugin, Section
from reid.data.batches.batch import Batch
from reid.errors import ConfigError
from reid.modality import ORDER, Modality, Subset, subset_name
from reid.models.base import ModelContext, Output, ReIDModel, Side
from reid.models.signal.alignment import (
    GlobalAlignment,
    GlobalAlignmentConfig,
    LocalAlignment,
    LocalAlignmentConfig,
)
from reid.models.signal.token_selection import Drop, Projections, SelectiveInteraction
from reid.nn.bnneck import BNNeck
from reid.nn.distributed import gather_rows, local_statistics
from reid.nn.losses.identity import IdentityTerms, identity_losses
from reid.nn.towers.class_bias import ClassBias
from reid.nn.towers.clip import ImageTower, ImageTowerConfig
from reid.nn.towers.weights import load_tower_weights


class InteractionConfig(Section):
    """Selective interaction (paper §3.2; Signal's released configurations)."""

    enabled: bool = Field(True, description="use selective interaction")
    k1: int = Field(
        80,
        ge=1,
        description="patches that a class token selects from its own modality; from the others it "
        "selects k1 times their number",
    )
    projections: Projections = Field(
        "frozen",
        description="projections before the scores between modalities: frozen (random), learned "
        "(public code), identity",
    )
    heads: int = Field(8, ge=1, description="attention heads of the interaction")
    hidden: int = Field(1024, ge=1, description="size of the feed-forward network's hidden layer")
    drop: Drop = Field(
        "zero",
        description="discarded patches: zero vectors among the keys (zero), or excluded from attention",
    )


class Config(IdentityTerms, Plugin):
    """Fields of `model:` when `model.name` is signal."""

    name: Literal["signal"] = Field("signal", description="the system: Signal")
    weights: str = Field(
        "random", description="initial weights: random, an open_clip tag (openai), a path or run:<path>"
    )
    tower: ImageTowerConfig = Field(ImageTowerConfig(), description="sizes of the image tower")
    camera_embedding: bool = Field(
        True, description="add a learned vector for each camera to the class token"
    )
    modality_embedding: bool = Field(
        False, description="add a learned vector for each modality to the class token"
    )
    heads: Literal["joint", "each"] = Field(
        "joint",
        description="identity heads before interaction: one on all class tokens (joint), or one for "
        "each modality",
    )
    retrieval: Literal["both", "ori", "interaction"] = Field(
        "both", description="what a vector consists of: class tokens (ori), tokens after interaction, or both"
    )
    sim: InteractionConfig = Field(InteractionConfig(), description="selective interaction of patches (SIM)")
    gam: GlobalAlignmentConfig = Field(
        GlobalAlignmentConfig(), description="global alignment of modalities (GAM)"
    )
    lam: LocalAlignmentConfig = Field(
        LocalAlignmentConfig(), description="local alignment of modalities (LAM)"
    )


class Model(ReIDModel):
    """The Signal model. Training needs every modality in every row; queries and items may lack some."""

    regime = Regime.MATCHED
    needs_whole_rows = True
    mixes_rows = ""

    def __init__(self, config: Config, context: ModelContext) -> None:
        super().__init__()
        self.config = config
        self.modalities = context.modalities
        _check_modalities(self.modalities)
        self.query_modalities = self.gallery_modalities = frozenset(self.modalities)
        self.image_tower = ImageTower(config.tower, context.height, context.width)
        dim, grid = self.image_tower.dim, self.image_tower.grid
        cameras = context.num_cameras if config.camera_embedding else 0
        kinds = self.modalities if config.modality_embedding else ()
        self.class_bias = ClassBias(self.image_tower.width, cameras, kinds)
        sim = config.sim
        self.sim: SelectiveInteraction | None = None
        if sim.enabled:
            _check_sim(sim, dim, grid[0] * grid[1])
            self.sim = SelectiveInteraction(dim, sim.k1, sim.projections, sim.heads, sim.hidden, sim.drop)
        elif config.retrieval == "interaction":
            raise ConfigError("model.retrieval: interaction needs model.sim.enabled=true.")
        self.gam = GlobalAlignment(config.gam) if config.gam.enabled else None
        self.lam = LocalAlignment(config.lam, self.modalities, dim, grid) if config.lam.enabled else None
        joined = len(self.modalities) * dim
        sizes = {"joint": joined} if config.heads == "joint" else {m.value: dim for m in self.modalities}
        if self.sim is not None:
            sizes["interaction"] = joined
        self.heads = nn.ModuleDict({name: BNNeck(n, context.num_classes) for name, n in sizes.items()})
        self._parts = [
            part
            for part in ("ori", "interaction")
            if config.retrieval in (part, "both") and (part == "ori" or self.sim is not None)
        ]
        names = [
            m.value if part == "ori" else f"{part}_{m.value}" for part in self._parts for m in self.modalities
        ]
        self.feature_blocks = {name: slice(i * dim, (i + 1) * dim) for i, name in enumerate(names)}
        self.dim = len(names) * dim

    @classmethod
    def smaller(cls, section: Config) -> dict[str, Any]:
        """Of small patches, since `sim.k1` of them are taken."""
        fields = super().smaller(section)
        return {**fields, "tower": {**fields["tower"], "patch": 2}}

    def load_pretrained(self) -> None:
        """Fill the tower from `model.weights`."""
        load_tower_weights(self.config.weights, self.image_tower, None, self.config.tower.arch)

    def _tokens(
        self, batch: Batch, modalities: Sequence[Modality], with_patches: bool
    ) -> tuple[Tensor, Tensor]:
        """Class tokens (B, M, D) and patches (B, M, N, D) of some modalities, zero where a row has none.

        One pass of the tower over all images. Without patches N is 0, and the tower skips what they need.
        """
        images = torch.cat([batch.images[m] for m in modalities])
        tower = self.image_tower
        tokens = tower.patchify(images, self.class_bias(batch, modalities))
        tokens = tower.project(tower.encode(tokens, class_only=not with_patches))
        parts = tokens.split([len(batch.index[m]) for m in modalities])
        rows = [batch.spread(m, own) for m, own in zip(modalities, parts, strict=True)]
        stacked = torch.stack(rows, dim=1)  # (B, M, 1 + N, D)
        return stacked[:, :, 0], stacked[:, :, 1:]

    def forward(self, batch: Batch) -> Output:
        """Losses over the batch of all ranks; every row needs every modality."""
        batch.require(self.modalities)
        patches_used = not self.prune or any(x is not None for x in (self.sim, self.gam, self.lam))
        cls, patches = self._tokens(batch, self.modalities, patches_used)
        features = {"ori": cls.flatten(1)}
        inputs = {m.value: cls[:, i] for i, m in enumerate(self.modalities)} | {"joint": features["ori"]}
        stats: dict[str, Tensor | float] = {}
        if self.sim is not None:
            rows, kept = self.sim(cls, patches)
            features["interaction"] = inputs["interaction"] = rows.flatten(1)
            ratio = kept.float().mean((0, 2))
            stats |= {f"kept_{m.value}": ratio[i] for i, m in enumerate(self.modalities)}
        losses: dict[str, Tensor] = {}
        labels = gather_rows(batch.pid)
        for name, head in self.heads.items():
            assert isinstance(head, BNNeck)
            everywhere = gather_rows(inputs[name].float())
            suffix = "" if name == "joint" else f"_{name}"
            for term, value in identity_losses(head, everywhere, labels, self.config).items():
                losses[term + suffix] = value
        losses |= self._alignment(patches)
        if self.gam is not None:
            stats["temperature"] = self.gam.bounded().detach()
        return Output(losses, torch.cat([features[part] for part in self._parts], dim=1), stats)

    def _alignment(self, patches: Tensor) -> dict[str, Tensor]:
        """The weighted losses of global and local alignment, of patches (B, M, N, D)."""
        losses: dict[str, Tensor] = {}
        if self.gam is not None:
            losses["gam"] = self.config.gam.weight * self.gam(patches)
        if self.lam is not None:
            losses["lam"] = self.config.lam.weight * self.lam(patches)
        return losses

    def embed(self, batch: Batch, side: Side) -> Tensor:
        """(B, dim) unit vectors; a missing modality's blocks are zero, and it takes no part in interaction.

        Raises DataError when a row has no modality of this model.
        """
        subset = batch.modalities
        return self.embed_many(batch, [subset], side)[subset]

    def embed_many(self, batch: Batch, subsets: Sequence[Subset], side: Side) -> dict[Subset, Tensor]:
        """Subset -> (B, dim), from one pass of the tower; interaction is computed for each subset."""
        requested = {m for subset in subsets for m in subset}
        for subset in subsets:
            batch.only(subset).require_any(self.modalities)
        encoded = [m for m in self.modalities if m in requested and m in batch.modalities]
        interacts = "interaction" in self._parts or not self.prune
        cls, patches = self._tokens(batch, encoded, with_patches=interacts)
        found = {}
        for subset in subsets:
            here = [m for m in encoded if m in subset]
            columns = [encoded.index(m) for m in here]
            vectors = cls.new_zeros(
                len(batch), len(self._parts), len(self.modalities), cls.shape[-1], dtype=torch.float32
            )
            places = [self.modalities.index(m) for m in here]
            for i, part in enumerate(self._embedded(batch, here, cls[:, columns], patches[:, columns])):
                vectors[:, i, places] = part.float()
            found[subset] = F.normalize(vectors.flatten(1), dim=1)
        return found

    def _embedded(self, batch: Batch, here: Sequence[Modality], cls: Tensor, patches: Tensor) -> list[Tensor]:
        """The parts of a vector, (B, M, D) each, from tokens of the modalities `here`."""
        interacts = "interaction" in self._parts or not self.prune
        parts = {"ori": cls}
        if self.sim is not None and interacts:
            complete = all(batch.full(m) for m in here)
            present = None if complete else batch.present[:, [ORDER.index(m) for m in here]]
            rows, _ = self.sim(cls, patches, present)
            parts["interaction"] = rows if present is None else rows.masked_fill(~present[..., None], 0)
        if not self.prune and len(here) == len(self.modalities):
            with local_statistics():
                self._alignment(patches)
        return [parts[part] for part in self._parts]


def _check_modalities(modalities: Sequence[Modality]) -> None:
    if len(modalities) < 2 or Modality.TEXT in modalities:
        raise ConfigError(
            "data.modalities: signal takes two or more visual modalities and no text; got "
            f"{subset_name(modalities)}."
        )


def _check_sim(config: InteractionConfig, dim: int, patches: int) -> None:
    if config.k1 > patches:
        raise ConfigError(
            f"model.sim.k1 = {config.k1} is more than the {patches} patches of an image: lower it, or use a "
            "smaller model.tower.patch."
        )
    if dim % config.heads:
        raise ConfigError(f"model.sim.heads = {config.heads} does not divide model.tower.dim = {dim}.")
