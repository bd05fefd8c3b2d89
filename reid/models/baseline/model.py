"""The baseline of all comparisons: a shared CLIP tower, its modalities concatenated or averaged.

`fusion: concat` (matched): one tower for the aligned camera modalities, a camera embedding added to the class
token, class tokens concatenated; the CLIP baseline of the tri-modal papers (MFRNet section 4, Signal section
4). `fusion: mean` (any-to-any): normalised features of the modalities averaged in one shared space under one
classifier, with SDM (IRRA) between modalities; CLIP's text tower encodes text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from reid.comparison.regimes import Regime
from reid.config import Plugin
from reid.data.batches.batch import Batch
from reid.data.batches.host_labels import placed
from reid.errors import ConfigError
from reid.modality import ORDER, Modality, Subset
from reid.models.base import ModelContext, Output, ReIDModel, Side
from reid.nn.bnneck import BNNeck
from reid.nn.centering import Centering
from reid.nn.distributed import gather_rows
from reid.nn.losses.identity import IdentityTerms, identity_losses
from reid.nn.losses.sdm import sdm
from reid.nn.towers.class_bias import ClassBias
from reid.nn.towers.clip import ImageTower, ImageTowerConfig, TextTower, TextTowerConfig
from reid.nn.towers.weights import load_tower_weights


class Config(IdentityTerms, Plugin):
    """Fields of `model:` when `model.name` is baseline."""

    name: Literal["baseline"] = Field("baseline", description="the system: the CLIP baseline")
    fusion: Literal["concat", "mean"] = Field(
        "concat",
        description="how modalities are combined: concatenated (matched), or averaged in one space "
        "(any-to-any)",
    )
    weights: str = Field(
        "random", description="initial weights: random, an open_clip tag (openai), a path or run:<path>"
    )
    tower: ImageTowerConfig = Field(ImageTowerConfig(), description="sizes of the image tower")
    text: TextTowerConfig = Field(TextTowerConfig(), description="sizes of the text tower")
    camera_embedding: bool = Field(
        True, description="add a learned vector for each camera to the class token"
    )
    modality_embedding: bool = Field(
        False, description="add a learned vector for each modality to the class token"
    )
    sdm_weight: float = Field(
        1.0, ge=0, description="weight of similarity distribution matching between modalities (fusion: mean)"
    )
    sdm_scale: float = Field(
        50.0, gt=0, description="inverse temperature of similarity distribution matching"
    )
    centering: bool = Field(
        False,
        description="subtract the mean feature of each modality before normalising, so that similarities of "
        "unrelated pairs do not crowd near 1 (fusion: mean)",
    )
    gate: bool = Field(
        False,
        description="weigh modalities in the average by one learned number each instead of equally "
        "(fusion: mean)",
    )

    @model_validator(mode="after")
    def _for_the_mean(self) -> Config:
        for name in ("centering", "gate"):
            if getattr(self, name) and self.fusion != "mean":
                raise ValueError(f"{name} belongs to fusion: mean; fusion is {self.fusion}")
        return self


class Model(ReIDModel):
    """The baseline model. Rows may have any non-empty subset of the modalities.

    The example embeds two rows with a small model; the second row has no near infrared image.

    >>> tower = {"arch": None, "patch": 8, "width": 16, "layers": 1, "heads": 2, "dim": 8}
    >>> context = ModelContext(10, 2, 16, 16, (Modality.RGB, Modality.NIR))
    >>> model = Model(Config.model_validate({"tower": tower}), context).eval()
    >>> model.regime.value, model.dim, sorted(model.feature_blocks)
    ('matched', 16, ['nir', 'rgb'])
    >>> present = torch.zeros(2, len(ORDER), dtype=torch.bool)
    >>> present[:, 0], present[0, 1] = True, True
    >>> unknown = torch.full((2, len(ORDER)), -1)
    >>> images = {Modality.RGB: torch.rand(2, 3, 16, 16), Modality.NIR: torch.rand(1, 3, 16, 16)}
    >>> index = {Modality.RGB: torch.tensor([0, 1]), Modality.NIR: torch.tensor([0])}
    >>> batch = Batch(torch.tensor([0, 1]), present, unknown, unknown, images, index)
    >>> with torch.no_grad():
    ...     vectors = model.embed(batch, "query")
    >>> vectors.shape, vectors[1, model.feature_blocks["nir"]].abs().sum().item()
    (torch.Size([2, 16]), 0.0)
    >>> model.pairing([Modality.RGB, Modality.NIR], [Modality.RGB])
    ((<Modality.RGB: 'rgb'>,), (<Modality.RGB: 'rgb'>,))
    """

    mixes_rows = ""

    def __init__(self, config: Config, context: ModelContext) -> None:
        super().__init__()
        self.config = config
        self.modalities = context.modalities
        visual = [m for m in context.modalities if m.is_visual]
        if not visual:
            raise ConfigError("data.modalities: the baseline needs at least one visual modality.")
        self.image_tower = ImageTower(config.tower, context.height, context.width)
        self.regime = Regime.MATCHED if config.fusion == "concat" else Regime.ANY_TO_ANY
        self.needs_whole_rows = config.fusion == "concat"
        if Modality.TEXT in context.modalities:
            if config.fusion == "concat":
                raise ConfigError(
                    "model.fusion: concat takes camera modalities only; use fusion: mean for text."
                )
            self.text_tower = TextTower(config.text, self.image_tower.dim)
        width, dim = self.image_tower.width, self.image_tower.dim
        cameras = context.num_cameras if config.camera_embedding else 0
        self.class_bias = ClassBias(width, cameras, self.modalities if config.modality_embedding else ())
        self.query_modalities = self.gallery_modalities = frozenset(context.modalities)
        blocks = len(visual) if config.fusion == "concat" else 1
        self.dim = blocks * dim
        self.feature_blocks = (
            {m.value: slice(i * dim, (i + 1) * dim) for i, m in enumerate(visual)}
            if config.fusion == "concat"
            else {"shared": slice(0, dim)}
        )
        self.centering = Centering(context.modalities, dim) if config.centering else None
        self.gate = nn.Parameter(torch.zeros(len(context.modalities))) if config.gate else None
        self.head = BNNeck(self.dim, context.num_classes)

    @classmethod
    def answers(cls, query: Subset, gallery: Subset) -> str | None:
        """Any pairing, with `fusion: mean`."""
        return "fusion: mean"

    def load_pretrained(self) -> None:
        """Fill the towers from `model.weights`."""
        text = getattr(self, "text_tower", None)
        load_tower_weights(self.config.weights, self.image_tower, text, self.config.tower.arch)

    def _features(self, batch: Batch) -> dict[Modality, Tensor]:
        """Features m -> (b_m, dim) in canonical order; one pass of the tower over all images."""
        visual = [m for m in self.modalities if m.is_visual and m in batch.index]
        features: dict[Modality, Tensor] = {}
        if visual:
            images = torch.cat([batch.images[m] for m in visual])
            sizes = [len(batch.index[m]) for m in visual]
            stacked = self.image_tower.class_feature(images, self.class_bias(batch, visual), self.prune)
            features = dict(zip(visual, stacked.split(sizes), strict=True))
        if Modality.TEXT in self.modalities and batch.tokens is not None:
            features[Modality.TEXT] = self.text_tower.feature(batch.tokens)
        return features

    def forward(self, batch: Batch) -> Output:
        """Losses over the batch of all ranks. `fusion: concat` needs every modality in every row."""
        if self.config.fusion == "concat":
            batch.require(self.modalities)
        batch = batch.completed(self.modalities, *self.image_tower.size)
        features = self._features(batch)
        labels = gather_rows(batch.pid)
        if self.config.fusion == "concat":
            joined = torch.cat([features[m] for m in self.modalities], dim=1)
            everywhere = gather_rows(joined.float())
            return Output(self._identity_losses(everywhere, labels), joined)
        unit = self._unit(features)
        fused = self._mean(unit, batch)
        losses = self._identity_losses(gather_rows(fused), labels)
        rows = {m: gather_rows(x) for m, x in unit.items()}
        names = {m: gather_rows(batch.pid[batch.index[m]]) for m in unit}
        pooled, pooled_labels = torch.cat(list(rows.values())), torch.cat(list(names.values()))
        for name, value in self._identity_losses(pooled, pooled_labels).items():
            losses[f"{name}_each"] = value
        if self.config.sdm_weight:
            terms = [self._sdm(batch, unit, a, b) for a, b in combinations(unit, 2)]
            shared = [term for term in terms if term is not None]
            if shared:
                losses["sdm"] = self.config.sdm_weight * torch.stack(shared).mean()
        return Output(losses, fused)

    def _sdm(self, batch: Batch, unit: dict[Modality, Tensor], a: Modality, b: Modality) -> Tensor | None:
        """SDM between two modalities, over the rows that have both; None without any."""
        here, device = batch.labels, batch.pid.device
        both = here.present[:, ORDER.index(a)] & here.present[:, ORDER.index(b)]
        labels = gather_rows(batch.pid[placed(both.nonzero()[:, 0], device)])
        if not len(labels):
            return None
        entries = {m: both[here.rows(ORDER.index(m))].nonzero()[:, 0] for m in (a, b)}  # with the other, too
        left, right = (gather_rows(unit[m][placed(entries[m], device)]) for m in (a, b))
        return sdm(left, right, labels, self.config.sdm_scale)

    def _identity_losses(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Weighted classification and triplet losses of gathered rows."""
        return identity_losses(self.head, features, labels, self.config)

    def _unit(self, features: dict[Modality, Tensor]) -> dict[Modality, Tensor]:
        """Features m -> (b_m, dim) as unit vectors in float32."""
        if self.centering is not None:
            features = self.centering(features)
        return {m: F.normalize(x.float(), dim=1) for m, x in features.items()}

    def _mean(self, unit: dict[Modality, Tensor], batch: Batch) -> Tensor:
        """Average of the present modalities' unit vectors, (B, dim), by weight where there is a gate."""
        first = next(iter(unit.values()))
        total = first.new_zeros(len(batch), first.shape[1])
        count = first.new_zeros(len(batch), 1)
        for modality, vectors in unit.items():
            weight = torch.ones_like(vectors[:, :1])
            if self.gate is not None:
                weight = weight * self.gate[self.modalities.index(modality)].exp()
            total = total.index_add(0, batch.index[modality], weight * vectors)
            count = count.index_add(0, batch.index[modality], weight)
        return total / torch.where(count > 0, count, 1)

    def embed(self, batch: Batch, side: Side) -> Tensor:
        """(B, dim) unit vectors. In concat, the block of a missing modality is zero.

        Raises DataError when a row has no modality of this model.
        """
        batch.require_any(self.modalities)
        return self._fused(self._features(batch), batch)

    def embed_many(self, batch: Batch, subsets: Sequence[Subset], side: Side) -> dict[Subset, Tensor]:
        """See ReIDModel; one pass of the towers for all subsets."""
        features = self._features(batch.only({m for subset in subsets for m in subset}))
        found = {}
        for subset in subsets:
            rows = batch.only(subset)
            rows.require_any(self.modalities)
            found[subset] = self._fused({m: x for m, x in features.items() if m in subset}, rows)
        return found

    def _fused(self, encoded: dict[Modality, Tensor], batch: Batch) -> Tensor:
        """(B, dim) unit vectors from the features (b_m, dim) of the batch's modalities."""
        if self.config.fusion == "mean":
            return F.normalize(self._mean(self._unit(encoded), batch), dim=1)
        features = {m: x.float() for m, x in encoded.items()}
        vectors = batch.present.new_zeros(len(batch), self.dim, dtype=torch.float32)
        for modality, x in features.items():
            block = vectors.new_zeros(len(batch), x.shape[1]).index_copy(0, batch.index[modality], x)
            vectors[:, self.feature_blocks[modality.value]] = block
        return F.normalize(vectors, dim=1)
