"""FlexiReID: find a photo by a sketch, an infrared image, a sentence, or any of them together.

From the paper: CLIP's two towers, frozen, with a mixture of adapters in every block (`adaptive_experts`); the
image experts are shared by RGB, sketch and infrared; cross-modal query fusion with learned embeddings for
missing modalities (`query_fusion`); SDM between the photo and each of the seven queries, summed; the routers'
entropy. The photo's vector is CLIP's class token, without fusion. Reconstructed, because the paper does not
say: the place and input of the mixtures, SDM's scale and epsilon (IRRA's), the details of the fusion.

Any-to-any, with equal vectors on both sides: a subset without RGB is fused; RGB is its own vector; RGB with
others is the normalised mean of the two unit vectors. Training covers galleries of photos only; sketches,
infrared and text as gallery lie in the same space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from reid.comparison.regimes import Regime
from reid.config import Plugin
from reid.data.batches.batch import Batch
from reid.data.batches.host_labels import placed
from reid.errors import ConfigError
from reid.modality import ORDER, Modality, Subset, canonical, subset_name
from reid.models.base import ExpertMap, ModelContext, Output, ReIDModel, Side
from reid.models.flexireid.adapted_tower import Style
from reid.models.flexireid.adaptive_experts import AdaptiveExperts, AdaptiveExpertsConfig
from reid.models.flexireid.adaptive_loss import Reduction, RouterTotals
from reid.models.flexireid.fusion_variants import make_fusion, reads_tokens
from reid.models.flexireid.query_fusion import FusionConfig
from reid.models.flexireid.stream_encoder import AdapterUse, picture_streams, sentence_stream
from reid.models.flexireid.streams import Stream, all_modes, pairs_of
from reid.nn.bnneck import BNNeck
from reid.nn.distributed import gather_host_rows, gather_rows
from reid.nn.losses.routing import balance_loss
from reid.nn.losses.sdm import sdm
from reid.nn.towers.class_bias import ClassBias
from reid.nn.towers.clip import (
    ImageTower,
    ImageTowerConfig,
    TextTower,
    TextTowerConfig,
    resolved_image_config,
)
from reid.nn.towers.freezing import freeze_towers, load_modality_embedding
from reid.nn.towers.weights import load_tower_weights

RGB = Modality.RGB


class Config(Plugin):
    """Fields of `model:` when `model.name` is flexireid."""

    name: Literal["flexireid"] = Field("flexireid", description="the system: FlexiReID")
    weights: str = Field(
        "random", description="initial weights: random, an open_clip tag (openai), a path or run:<path>"
    )
    tower: ImageTowerConfig = Field(ImageTowerConfig(), description="sizes of the image tower")
    text: TextTowerConfig = Field(TextTowerConfig(), description="sizes of the text tower")
    modality_embedding: bool = Field(
        False,
        description="add a vector for each modality to the class token; it comes with the towers of "
        "an own run and is frozen with them",
    )
    infrared: Literal["nir", "tir"] = Field("nir", description="modality that serves as infrared")
    freeze_backbone: bool = Field(
        True, description="train only the adapters and the fusion; needs pretrained weights"
    )
    unfreeze_ln: bool = Field(False, description="train the layer norms of frozen towers")
    unfreeze_proj: bool = Field(
        False, description="train the projections of frozen towers to the shared space"
    )
    moe: AdaptiveExpertsConfig = Field(
        AdaptiveExpertsConfig(), description="mixtures of adapters in the towers (AEA-MoE)"
    )
    fusion: FusionConfig = Field(FusionConfig(), description="fusion of query modalities (CMQF)")
    sdm_scale: float = Field(
        50.0, gt=0, description="inverse temperature of similarity distribution matching (kappa); not trained"
    )
    mode_reduction: Literal["sum", "mean"] = Field(
        "sum", description="how the matching losses of the query subsets are combined"
    )
    ada_weight: float = Field(0.5, ge=0, description="weight of the routers' entropy (lambda)")
    ada_reduction: Reduction = Field(
        "mean",
        description="the routers' entropy: mean over layers and streams, or sum over layers (sum_layers)",
    )
    balance_weight: float = Field(0.0, ge=0, description="weight of a load-balancing loss; not in the paper")
    id_weight: float = Field(0.0, ge=0, description="weight of identity classification; not in the paper")
    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="label smoothing of the identity classification"
    )


class Model(ReIDModel):
    """The FlexiReID model. Rows may have any non-empty subset of the modalities."""

    regime = Regime.ANY_TO_ANY
    mixes_rows = "its adapters' routing is a loss over the tokens of the whole batch"

    def __init__(self, config: Config, context: ModelContext) -> None:
        super().__init__()
        self.config = config
        self.modalities = canonical(context.modalities)
        slots = (Modality.SKETCH, Modality(config.infrared), Modality.TEXT)
        _check(self.modalities, slots)
        self.slots = {i: m for i, m in enumerate(slots) if m in self.modalities}
        self.visual = [m for m in self.modalities if m.is_visual]
        self.query_modalities = self.gallery_modalities = frozenset(self.modalities)
        moe = config.moe
        bare = moe.enabled and moe.place == "replace"
        depth = resolved_image_config(config.tower).layers
        self.image_tower = ImageTower(
            config.tower, context.height, context.width, range(depth) if bare else ()
        )
        self.dim = self.image_tower.dim
        self.feature_blocks = {"shared": slice(0, self.dim)}
        self.text_tower: TextTower | None = None
        if Modality.TEXT in self.modalities:
            texts = config.text.layers
            self.text_tower = TextTower(config.text, self.dim, range(texts) if bare else ())
        self.class_bias: ClassBias | None = None
        if config.modality_embedding:
            self.class_bias = ClassBias(self.image_tower.width, 0, self.modalities)
            self.class_bias.requires_grad_(not config.freeze_backbone)
        freeze_towers(
            [tower for tower in (self.image_tower, self.text_tower) if tower is not None],
            config.freeze_backbone,
            config.unfreeze_ln,
            config.unfreeze_proj,
        )
        self.image_moe = nn.ModuleList(
            AdaptiveExperts(moe, self.image_tower.width) for _ in range(depth if moe.enabled else 0)
        )
        self.text_moe = nn.ModuleList(
            AdaptiveExperts(moe, config.text.width)
            for _ in range(config.text.layers if moe.enabled and self.text_tower is not None else 0)
        )
        modes = all_modes(list(self.slots))
        self.modes: list[Subset] = [canonical(self.slots[s] for s in mode) for mode in modes]
        self.fusion = make_fusion(config.fusion, self.dim, list(self.slots), config.text.context)
        self.head = BNNeck(self.dim, context.num_classes) if config.id_weight else None
        self.style = Style(moe.place, moe.reads)

    @classmethod
    def answers(cls, query: Subset, gallery: Subset) -> str | None:
        """Photos in the gallery; queries of sketch, text and one infrared modality."""
        both = {*query, *gallery}
        if RGB not in gallery or {Modality.NIR, Modality.TIR} <= both:
            return None
        known = {RGB, Modality.SKETCH, Modality.TEXT, Modality.NIR, Modality.TIR}
        return None if both - known else "infrared: tir" if Modality.TIR in both else ""

    def load_pretrained(self) -> None:
        """Load the towers from `model.weights`.

        Raises ConfigError for frozen towers without weights, and when nothing would be trained.
        """
        config = self.config
        if config.freeze_backbone and config.weights == "random":
            raise ConfigError(
                "model.freeze_backbone=true would never train the random towers of model.weights=random: "
                "give model.weights (openai, a path, run:<path>) or train.init_from, or set "
                "model.freeze_backbone=false."
            )
        if not any(p.requires_grad for p in self.parameters()):
            raise ConfigError(
                "model.freeze_backbone=true leaves nothing to train without model.moe and with "
                "model.fusion.kind=sum; to write the towers as they are, set model.freeze_backbone=false and "
                "train.epochs=0."
            )
        load_tower_weights(config.weights, self.image_tower, self.text_tower, config.tower.arch)
        if self.class_bias is not None and config.weights != "random":
            load_modality_embedding(config.weights, self.class_bias)

    def forward(self, batch: Batch) -> Output:
        """SDM of the photo with every query subset that a row has, and the routers' entropy, over all ranks.

        `features` are the photos' vectors.
        """
        batch = batch.only(self.modalities).completed(self.modalities, *self.image_tower.size)
        streams, uses = self._encode(batch, prune=False)
        has_photo = batch.labels.present[:, ORDER.index(RGB)]
        wanted = self._available_queries(batch) & has_photo[:, None]
        photos = streams[RGB].spread(streams[RGB].whole, len(batch))  # (B, D)
        grid = self._fused(streams, wanted, every=True)  # (B, K, D)
        vectors = gather_rows(torch.cat([photos.float()[:, None], grid], dim=1))  # (all B, 1 + K, D)
        labels, valid = gather_rows(batch.pid), gather_host_rows(wanted)
        losses = self._sdm(vectors, labels, valid)
        if self.head is not None:
            counted = torch.cat([gather_host_rows(has_photo)[:, None], valid], dim=1)
            rows, columns = pairs_of(counted, labels.device)
            value = self.head.loss(vectors[rows, columns], labels[rows], self.config.label_smoothing)
            losses["id"] = self.config.id_weight * value
        stats: dict[str, Tensor | float] = {}
        if uses:
            tally = RouterTotals.of(uses)
            losses["ada"] = self.config.ada_weight * tally.loss(self.config.ada_reduction)
            stats = tally.stats()
            if self.config.balance_weight:
                each = torch.stack([balance_loss(use.routing) for use in uses])
                losses["balance"] = self.config.balance_weight * each.mean()
        return Output(losses, photos, stats)

    def _sdm(self, vectors: Tensor, labels: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """The loss of each query subset, from photos and fused vectors (B, 1 + K, D); `valid` (B, K), in
        main memory, marks the rows.
        """
        share = 1.0 if self.config.mode_reduction == "sum" else 1 / len(self.modes)
        losses = {}
        for k, mode in enumerate(self.modes):
            rows = valid[:, k].nonzero()[:, 0]
            value = vectors.sum() * 0  # no row has this subset
            if len(rows):
                rows = placed(rows, labels.device)
                value = sdm(vectors[rows, 0], vectors[rows, 1 + k], labels[rows], self.config.sdm_scale)
            losses[f"sdm_{subset_name(mode)}"] = share * value
        return losses

    def embed(self, batch: Batch, side: Side) -> Tensor:
        """(B, dim) unit vectors, the same on both sides; see the module's docstring.

        Raises DataError when a row has no modality of this model.
        """
        return self._vectors(batch, [batch])[0]

    def embed_many(self, batch: Batch, subsets: Sequence[Subset], side: Side) -> dict[Subset, Tensor]:
        """See ReIDModel; one pass of the towers and one of the fusion for all subsets."""
        vectors = self._vectors(batch, [batch.only(subset) for subset in subsets])
        return dict(zip(subsets, vectors, strict=True))

    def _vectors(self, batch: Batch, views: Sequence[Batch]) -> list[Tensor]:
        """The unit vectors of each view, the batch with some modalities hidden."""
        for view in views:
            view.require_any(self.modalities)
        seen = {m for view in views for m in view.modalities}
        streams, _ = self._encode(batch.only(seen & set(self.modalities)), self.prune)
        queries_of_views = [self._own_query(view) for view in views]
        grid = F.normalize(self._fused(streams, torch.stack(queries_of_views).any(0)), dim=2)  # (B, K, D)
        photo = streams.get(RGB)
        photos = grid.new_zeros(len(batch), self.dim)
        if photo is not None:
            photos = photo.spread(F.normalize(photo.whole.float(), dim=1), len(batch))
        vectors = []
        for view, columns in zip(views, queries_of_views, strict=True):
            own = photos * view.present[:, ORDER.index(RGB), None]
            there = placed(columns, grid.device)
            vectors.append(F.normalize(own + (grid * there[..., None]).sum(1), dim=1))
        return vectors

    @torch.no_grad()
    def routing(self, batch: Batch) -> dict[str, ExpertMap]:
        """Experts of the images in the first, middle and last block ("image0/rgb"); see ReIDModel.

        If samples are routed, all patches of an image share one expert.
        """
        batch.require_any(self.modalities)
        _, uses = self._encode(batch.only(self.modalities), prune=False)
        depth = len(self.image_moe)
        rows, columns = self.image_tower.grid
        found: dict[str, ExpertMap] = {}
        for use in uses:
            if use.tower != "image" or use.layer not in {0, depth // 2, depth - 1}:
                continue
            where = batch.index[Modality(use.stream)]
            best = use.routing.gates.argmax(1).view(len(where), -1)  # (b, 1 + N) or (b, 1)
            best = best[:, 1:] if best.shape[1] > 1 else best.expand(-1, rows * columns)
            experts = best.new_full((len(batch), rows * columns), -1).index_copy(0, where, best)
            name = f"image{use.layer}/{use.stream}"
            found[name] = ExpertMap(experts.view(-1, rows, columns), use.routing.experts)
        return found

    def _patterns(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The query modalities that rows have, (B, 1, S), and those of the query subsets, (1, K, S).

        In main memory, as what follows from them is.
        """
        own = list(self.slots.values())
        made = torch.tensor([[m in mode for m in own] for mode in self.modes])
        return batch.labels.present[:, None, [ORDER.index(m) for m in own]], made[None]

    def _available_queries(self, batch: Batch) -> Tensor:
        """(B, K) bool: query subsets whose modalities the row has, perhaps among others."""
        has, made = self._patterns(batch)
        can: Tensor = (has | ~made).all(2)
        return can

    def _own_query(self, batch: Batch) -> Tensor:
        """(B, K) bool: the query subset of all that the row has besides RGB; none for RGB alone."""
        has, made = self._patterns(batch)
        own: Tensor = (has == made).all(2)
        return own

    def _fused(self, streams: Mapping[Modality, Stream], wanted: Tensor, every: bool = False) -> Tensor:
        """(B, K, D) float32, zero where not wanted, (B, K) in main memory."""
        own = {slot: streams[m] for slot, m in self.slots.items() if m in streams}
        if not own:  # photos alone
            some = next(iter(streams.values())).whole
            return some.new_zeros(*wanted.shape, self.dim, dtype=torch.float32)
        packed = self.fusion(own, wanted, every).float()
        empty = packed.new_zeros(*wanted.shape, self.dim)
        grid: Tensor = empty.index_put(pairs_of(wanted, packed.device), packed)
        return grid

    def _encode(self, batch: Batch, prune: bool) -> tuple[dict[Modality, Stream], list[AdapterUse]]:
        """Streams of the batch's modalities, each tower run once, and without pruning how they were routed.

        `prune` leaves out tokens of the last block that are not used: for photos all but the class token.
        """
        streams: dict[Modality, Stream] = {}
        uses: list[AdapterUse] = []
        here = [m for m in self.visual if m in batch.index]
        if here:
            moe, local = self.config.moe, reads_tokens(self.config.fusion)
            short: list[Modality] = []  # RGB is first
            if prune and not (moe.enabled and moe.unit == "sample_mean"):
                short = [m for m in here if m is RGB or not local]
            bias = None if self.class_bias is None else self.class_bias(batch, here)
            streams, uses = picture_streams(
                self.image_tower, self.image_moe, batch, here, self.style, short, bias
            )
        if self.text_tower is not None and batch.tokens is not None:
            streams[Modality.TEXT], own = sentence_stream(self.text_tower, self.text_moe, batch, self.style)
            uses += own
        return streams, uses


def _check(modalities: Subset, slots: Sequence[Modality]) -> None:
    stray = [m for m in modalities if m is not RGB and m not in slots]
    if RGB not in modalities or len(modalities) < 2 or stray:
        raise ConfigError(
            f"data.modalities: flexireid takes rgb and one or more of {subset_name(slots)}; got "
            f"{subset_name(modalities)}. model.infrared names the infrared modality."
        )
