"""MixER: modality-erased and modality-related features, for galleries that mix visible and infrared images.

After arXiv 2501.13307, of which only the abstract and the supplement were available. From the paper: the two
kinds of features; the identity loss on the erased one; a loss that makes the related one predict identity and
modality; orthogonality of the two; a modality classifier on the erased one whose gradient is reversed;
concatenation; the weights 0.4, 0.6, 0.4; input sizes and parameter totals. Reconstructed: the branches (see
`branches`), the joint identity-modality classes, the metric terms, the features on which orthogonality is
measured, the mixed cross-modal triplet, the assignment of the weights, and the recipe (SAAI's). Any-to-any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from reid.comparison.regimes import Regime
from reid.config import Plugin
from reid.data.batches.batch import Batch
from reid.errors import ConfigError, DataError
from reid.modality import Modality, Subset, subset_name
from reid.models.base import ModelContext, Output, ReIDModel, Side
from reid.models.mixer.branches import AveragePool, GeM
from reid.models.mixer.head import HeadConfig, MixerHead
from reid.nn.distributed import gather_rows
from reid.nn.towers.clip import ImageTowerConfig
from reid.nn.towers.resnet import ResNetTrunk
from reid.nn.towers.vit import LastBlock, TowerTrunk, ViTTrunk

Backbone = Literal["resnet18", "resnet50", "vit_b_16", "vit_l_16", "tower"]


class Config(HeadConfig, Plugin):
    """Fields of `model:` when `model.name` is mixer."""

    name: Literal["mixer"] = Field("mixer", description="the system: MixER")
    infrared: Literal["nir", "tir"] = Field("nir", description="infrared modality that is compared with rgb")
    backbone: Backbone = Field(
        "resnet50", description="a torchvision ResNet, or CLIP's image tower with the sizes of `tower`"
    )
    base_width: int = Field(64, ge=4, description="channels of a ResNet's first stage; torchvision's have 64")
    two_stream_stem: bool = Field(
        False, description="a separate first convolution for each modality, as in AGW (ResNets only)"
    )
    tower: ImageTowerConfig = Field(
        ImageTowerConfig(), description="sizes of the image tower (backbone: tower)"
    )
    weights: str = Field(
        "random",
        description="initial weights: random, a torchvision name (IMAGENET1K_V1) or a path; for a "
        "tower an open_clip tag, a path or run:<path>",
    )


class Model(ReIDModel):
    """The MixER model. A row may have rgb, the infrared modality, or both."""

    regime = Regime.ANY_TO_ANY

    def __init__(self, config: Config, context: ModelContext) -> None:
        super().__init__()
        self.config = config
        self.modalities: Subset = (Modality.RGB, Modality(config.infrared))
        if context.modalities != self.modalities:
            raise ConfigError(
                f"data.modalities: mixer with model.infrared={config.infrared} takes rgb+{config.infrared}; "
                f"got {subset_name(context.modalities)}."
            )
        self.query_modalities = self.gallery_modalities = frozenset(self.modalities)
        self.size = (context.height, context.width)
        resnet = config.backbone in ("resnet18", "resnet50")
        self.mixes_rows = "a ResNet's batch norms are over the whole batch" if resnet else ""
        for field, value in (
            ("two_stream_stem", config.two_stream_stem),
            ("pooling", config.pooling == "gem"),
        ):
            if value and not resnet:
                raise ConfigError(f"model.{field}: only ResNets have this; model.backbone={config.backbone}.")
        self.trunk = _trunk(config, *self.size)
        pool: nn.Module
        if isinstance(self.trunk, ResNetTrunk):
            pool = GeM() if config.pooling == "gem" else AveragePool()
        else:
            pool = self.trunk.take_pool()
        last, widths = self.trunk.take_last(), (self.trunk.shared, self.trunk.channels)
        self.head = MixerHead(config, last, pool, *widths, context.num_classes, mam=resnet and config.mam)
        self.feature_blocks = self.head.feature_blocks
        self.dim = self.head.dim

    @classmethod
    def smaller(cls, section: Config) -> dict[str, Any]:
        """A narrow ResNet; a small tower in place of a torchvision transformer."""
        fields = {**super().smaller(section), "base_width": 4}
        return {**fields, "backbone": "tower"} if section.backbone.startswith("vit") else fields

    @classmethod
    def answers(cls, query: Subset, gallery: Subset) -> str | None:
        """Any pairing of rgb and one infrared modality."""
        infrared = {*query, *gallery} - {Modality.RGB}
        if len(infrared) != 1 or not infrared <= {Modality.NIR, Modality.TIR}:
            return None
        return "infrared: tir" if Modality.TIR in infrared else ""

    def load_pretrained(self) -> None:
        """Load the backbone, and every copy of its last stage, from `model.weights`."""
        if self.config.weights == "random":
            return
        branches = self.head.branches
        if isinstance(self.trunk, ResNetTrunk):
            self.trunk.load(self.config.weights, branches.copies)
        else:
            self.trunk.load(self.config.weights, branches.copies, branches.pool)

    def _shared(self, batch: Batch) -> tuple[Tensor, int]:
        """The maps before the last stage, visible images first, and the number of visible images."""
        batch = batch.completed(self.modalities, *self.size)
        visible, infrared = (batch.images[m] for m in self.modalities)
        return self.trunk(visible, infrared), len(visible)

    def forward(self, batch: Batch) -> Output:
        """Losses over the images of all ranks; a row with both modalities counts as two images.

        Raises DataError when all images are of one modality.
        """
        batch.require_any(self.modalities)
        batch = batch.only(self.modalities).completed(self.modalities, *self.size)
        labels = [gather_rows(batch.pid[batch.index[m]]) for m in self.modalities]
        lacking = [m.value for m, own in zip(self.modalities, labels, strict=True) if not len(own)]
        if lacking:
            raise DataError(
                f"This training batch holds no {lacking[0]} picture: MixER compares modalities within a "
                "batch. Set train.batch.sampler=cross, which draws as many pictures of each."
            )
        shared, visible = self._shared(batch)
        views = self.head(shared, visible)
        losses, stats = self.head.losses(views, labels[0], labels[1])
        with torch.no_grad():
            vectors = self.head.vectors(views).split([visible, len(shared) - visible])
            summed = sum(batch.spread(m, x) for m, x in zip(self.modalities, vectors, strict=True))
        assert isinstance(summed, Tensor)
        return Output(losses, summed, stats)

    def embed(self, batch: Batch, side: Side) -> Tensor:
        """(B, dim) unit vectors; for a row with both modalities the normalised mean of the two.

        Raises DataError when a row has no modality of this model.
        """
        subset = batch.modalities
        return self.embed_many(batch, [subset], side)[subset]

    def embed_many(self, batch: Batch, subsets: Sequence[Subset], side: Side) -> dict[Subset, Tensor]:
        """See ReIDModel; one pass over the images for all subsets."""
        for subset in subsets:
            batch.only(subset).require_any(self.modalities)
        requested = {m for subset in subsets for m in subset} & set(self.modalities)
        batch = batch.only(requested)
        vectors: dict[Modality, Tensor] = {}
        if batch.modalities:
            for copy in self.head.branches.copies:
                if isinstance(copy, LastBlock):
                    copy.whole = not self.prune
            shared, visible = self._shared(batch)
            views = self.head(shared, visible, retrieval=self.prune, whole=not self.prune)
            parts = self.head.vectors(views).split([visible, len(shared) - visible])
            packed = dict(zip(self.modalities, parts, strict=True))
            vectors = {m: batch.spread(m, packed[m]) for m in batch.modalities}
        nothing = batch.present.new_zeros(len(batch), self.dim, dtype=torch.float32)
        return {
            subset: F.normalize(sum((x for m, x in vectors.items() if m in subset), nothing), dim=1)
            for subset in subsets
        }


def _trunk(config: Config, height: int, width: int) -> ResNetTrunk | ViTTrunk | TowerTrunk:
    if config.backbone == "tower":
        return TowerTrunk(config.tower, height, width)
    if config.backbone == "vit_b_16" or config.backbone == "vit_l_16":
        return ViTTrunk(config.backbone, height, width)
    return ResNetTrunk(config.backbone, config.base_width, config.two_stream_stem)
