"""STMI (AAAI 2026): attention changed by masks, tokens gathered by a caption, interaction over a hypergraph.

One CLIP tower encodes the aligned cameras. SFM (`mask_attention`) changes its attention by the object's mask.
STR (`semantic_tokens`) gathers each modality's patches into a few tokens, with the caption's feature as one
of the queries. CHI (`hypergraph`) lets the tokens of all modalities interact. The class tokens G attend to
the result, which gives U. Identity losses act on G, on U and on the caption's feature.

The paper has no public code. From the paper: the data flow, one pair of strengths for each layer, K = 4, the
three losses and their sum, batches, learning rates. Reconstructed: initial values and learning rates of the
strengths, every threshold, head counts and norms, the retrieved feature (U with unit norm), and the handling
of what is missing: a caption becomes a learned vector; without a mask attention is CLIP's; a missing modality
has no node in the hypergraph and a zero block, so that both sides are compared on common blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
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
from reid.models.base import Auxiliary, ModelContext, Output, ReIDModel, Side
from reid.models.stmi.hypergraph import HypergraphConfig, Interaction
from reid.models.stmi.mask_attention import MaskAttentionConfig, Modulation
from reid.models.stmi.mask_tokens import TokenMask, perturbed, token_mask
from reid.models.stmi.semantic_tokens import SemanticTokens, SemanticTokensConfig
from reid.nn.bnneck import BNNeck
from reid.nn.cross_attention import CrossAttention
from reid.nn.distributed import gather_host_rows, gather_rows
from reid.nn.losses.identity import IdentityTerms
from reid.nn.losses.triplet import batch_hard_triplet
from reid.nn.towers.class_bias import ClassBias
from reid.nn.towers.clip import ImageTower, ImageTowerConfig, TextTower, TextTowerConfig
from reid.nn.towers.weights import load_tower_weights

log = logging.getLogger(__name__)
Tokens = dict[Modality, Tensor]


class Config(IdentityTerms, Plugin):
    """Fields of `model:` when `model.name` is stmi."""

    name: Literal["stmi"] = Field("stmi", description="the system: STMI")
    weights: str = Field(
        "random", description="initial weights: random, an open_clip tag (openai), a path or run:<path>"
    )
    tower: ImageTowerConfig = Field(ImageTowerConfig(), description="sizes of the image towers")
    text: TextTowerConfig = Field(TextTowerConfig(), description="sizes of the text tower")
    share_backbone: bool = Field(True, description="one image tower for all modalities; false: one for each")
    text_trainable: bool = Field(
        True, description="train the caption's encoder; false: it keeps the loaded weights"
    )
    camera_embedding: bool = Field(
        True, description="add a learned vector for each camera to the class token"
    )
    modality_embedding: bool = Field(
        False, description="add a learned vector for each modality to the class token"
    )
    heads: int | None = Field(
        None, ge=1, description="attention heads outside the towers; default: one for every 64 dimensions"
    )
    sfm: MaskAttentionConfig = Field(MaskAttentionConfig(), description="attention changed by masks (SFM)")
    semantic: SemanticTokensConfig = Field(
        SemanticTokensConfig(), description="semantic tokens from captions (STR)"
    )
    chi: HypergraphConfig = Field(
        HypergraphConfig(), description="interaction of modalities over a hypergraph (CHI)"
    )
    retrieval: Literal["U", "G", "GU"] = Field(
        "U",
        description="what a vector consists of: interaction features (U), class tokens (G), or both; "
        "without STR only G",
    )
    id_weight: float = Field(
        1.0,
        ge=0,
        description="weight of identity classification; the paper sums with 1, CLIP recipes use 0.25",
    )
    margin: float | None = Field(None, ge=0, description="margin of the triplets; null: soft margin")
    text_weight: float = Field(
        1.0, ge=0, description="weight of the identity losses of the caption's feature"
    )
    captions: bool = Field(
        True,
        description="read captions; false: the learned null caption stands for all of them",
    )
    caption_dropout: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="probability in training of replacing a caption by the null caption, which is "
        "trained only this way; the paper has 0",
    )


class Model(ReIDModel):
    """The STMI model.

    Rows may have any non-empty subset of the camera modalities; captions and masks are optional.
    """

    regime = Regime.MATCHED
    needs_whole_rows = True
    mixes_rows = ""

    def __init__(self, config: Config, context: ModelContext) -> None:
        super().__init__()
        self.config = config
        self.modalities = context.modalities
        if not self.modalities or Modality.TEXT in self.modalities:
            raise ConfigError(
                "data.modalities: stmi takes visual modalities; captions are an auxiliary input beside them. "
                f"Take text out of {subset_name(self.modalities)}."
            )
        self.query_modalities = self.gallery_modalities = frozenset(self.modalities)
        towers = ["all"] if config.share_backbone else [m.value for m in self.modalities]
        made = {name: ImageTower(config.tower, context.height, context.width) for name in towers}
        if config.share_backbone:
            self.image_tower = made["all"]
        else:
            self.image_towers = nn.ModuleDict(made)
        first = made[towers[0]]
        dim, self.grid = first.dim, first.grid
        cameras = context.num_cameras if config.camera_embedding else 0
        kinds = self.modalities if config.modality_embedding else ()
        self.class_bias = ClassBias(first.width, cameras, kinds)
        count = len(self.modalities)
        self.sfm: Modulation | None = None
        if config.sfm.enabled:
            self.sfm = Modulation(config.sfm, first.config.layers, first.config.heads, count)
        sizes = {"g": count * dim}
        self.semantic: SemanticTokens | None = None
        if config.semantic.enabled:
            sizes |= {"u": count * dim, "t": dim}
            self._build_semantics(config, dim)
        self.heads = nn.ModuleDict({n: BNNeck(size, context.num_classes) for n, size in sizes.items()})
        self._parts = [part for part in ("G", "U") if part in (config.retrieval if self.semantic else "G")]
        names = [f"{part.lower()}_{m.value}" for part in self._parts for m in self.modalities]
        self.feature_blocks = {name: slice(i * dim, (i + 1) * dim) for i, name in enumerate(names)}
        self.dim = len(names) * dim
        reads_captions = self.semantic is not None and config.captions
        uses = {Auxiliary.CAPTION: reads_captions, Auxiliary.MASK: self.sfm is not None}
        self.auxiliary = frozenset(kind for kind, used in uses.items() if used)
        self._warned: set[Auxiliary] = set()

    def _build_semantics(self, config: Config, dim: int) -> None:
        nodes = len(self.modalities) * (config.semantic.tokens + 1)
        self.text_tower = TextTower(config.text, dim).requires_grad_(config.text_trainable)
        self.text_null = nn.Parameter(torch.empty(dim))
        nn.init.normal_(self.text_null, std=0.02)
        self.semantic = SemanticTokens(config.semantic, dim, self.modalities, config.heads)
        self.chi = Interaction(config.chi, nodes, dim, config.heads)
        self.unify = CrossAttention(dim, config.heads, ffn=False)

    def load_pretrained(self) -> None:
        """Load the towers from `model.weights`."""
        text = self.text_tower if self.semantic is not None else None
        for tower, _ in self._towers(self.modalities):
            load_tower_weights(self.config.weights, tower, text, self.config.tower.arch)
            text = None

    def _towers(self, here: Sequence[Modality]) -> list[tuple[ImageTower, list[Modality]]]:
        """Each tower with the modalities that it encodes."""
        if self.config.share_backbone:
            return [(self.image_tower, list(here))]
        found = []
        for m in here:
            tower = self.image_towers[m.value]
            assert isinstance(tower, ImageTower)
            found.append((tower, [m]))
        return found

    def _encode(self, batch: Batch, here: Sequence[Modality], with_patches: bool) -> tuple[Tokens, Tokens]:
        """Projected class tokens m -> (b_m, D) and patches m -> (b_m, N, D); N = 0 without patches."""
        mask = self._token_mask(batch)
        cls: Tokens = {}
        patches: Tokens = {}
        for tower, members in self._towers(here):
            sizes = [len(batch.index[m]) for m in members]
            images = torch.cat([batch.images[m] for m in members])
            tokens = tower.patchify(images, self.class_bias(batch, members))
            if self.sfm is None or mask is None:
                tokens = tower.encode(tokens, class_only=not with_patches)
            else:
                rows = torch.cat([batch.index[m] for m in members])
                places = [self.modalities.index(m) for m in members]
                kinds = torch.cat([rows.new_full((n,), i) for i, n in zip(places, sizes, strict=True)])
                tokens = self.sfm.encode(tower, tokens, mask[rows], kinds, class_only=not with_patches)
            for m, own in zip(members, tower.project(tokens).split(sizes), strict=True):
                cls[m], patches[m] = own[:, 0], own[:, 1:]
        return cls, patches

    def _token_mask(self, batch: Batch) -> TokenMask | None:
        """The rows' masks on the patch grid, perturbed in training; None without any mask."""
        if self.sfm is None:
            return None
        present, known = batch.mask_present, batch.labels.mask_present
        if batch.mask is None or present is None or known is None or not bool(known.any()):
            self._warn_once(Auxiliary.MASK, "the towers attend as CLIP's do")
            if not self.training:
                return None
            present = batch.present.new_zeros(len(batch))
        config = self.config.sfm
        found = token_mask(batch.mask, present, self.grid, config.theta, config.overlap)
        return perturbed(found, config.flip) if self.training else found

    def _captions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features (B, D) float32 of the rows' captions, the null vector for rows without one; and (B,) who
        has one, in main memory.
        """
        has = batch.labels.caption_present
        if not self.config.captions:
            has = torch.zeros(len(batch), dtype=torch.bool)
        elif batch.caption is None or has is None or not bool(has.any()):
            self._warn_once(Auxiliary.CAPTION, "the null caption is used")
            has = torch.zeros(len(batch), dtype=torch.bool)
        rows = placed(has.nonzero()[:, 0], batch.pid.device)
        null = self.text_null.expand(len(batch), -1)
        if not (len(rows) or self.training):
            return null, has
        tokens = batch.pid.new_zeros(0, 1) if batch.caption is None else batch.caption[rows]
        return null.index_copy(0, rows, self.text_tower.feature(tokens).to(null.dtype)), has

    def _warn_once(self, kind: Auxiliary, instead: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("A batch without any %s: %s. This warning is not repeated.", kind.value, instead)

    def _unified(
        self, cls: Tensor, nodes: Tensor, present: Tensor, complete: bool
    ) -> tuple[Tensor, Tensor | None]:
        """CHI, then U (B, M, D): class tokens (B, M, D), nodes (B, M, P, D), present (B, M); edges' sizes.

        `complete` says that every row has every modality.
        """
        there = present.repeat_interleave(nodes.shape[2], dim=1)  # (B, M * P)
        interacted, sizes = self.chi(nodes.flatten(1, 2), there)
        unified = self.unify(cls, interacted, None if complete else ~there)
        return unified.masked_fill(~present[..., None], 0), sizes

    def forward(self, batch: Batch) -> Output:
        """Losses over the batch of all ranks.

        Every row needs every modality; captions and masks are optional.
        """
        batch.require(self.modalities)
        cls, patches = self._encode(batch, self.modalities, self.semantic is not None)
        features = {"G": torch.stack([batch.spread(m, cls[m]) for m in self.modalities], dim=1)}  # (B, M, D)
        labels = gather_rows(batch.pid)
        losses = self._identity("g", gather_rows(features["G"].flatten(1).float()), labels)
        stats: dict[str, Tensor | float] = {}
        if self.sfm is not None:
            stats |= {n: self.sfm.bounded(getattr(self.sfm, n)).detach().mean() for n in ("alpha", "beta")}
        if self.semantic is not None:
            captions, has = self._captions(batch)
            shown = captions
            if self.config.caption_dropout > 0:
                kept = torch.rand(len(batch), 1, device=captions.device) >= self.config.caption_dropout
                shown = torch.where(kept, captions, self.text_null)
            nodes = self.semantic(patches, shown, batch)  # (B, M, K + 1, D)
            present = torch.ones_like(nodes[:, :, 0, 0], dtype=torch.bool)
            features["U"], sizes = self._unified(features["G"], nodes, present, complete=True)
            losses |= self._identity("u", gather_rows(features["U"].flatten(1).float()), labels)
            losses |= self._caption_losses(captions, has, labels)
            if sizes is not None:
                stats["hyperedge"] = sizes.float().mean()
        found = torch.cat([features[part].flatten(1) for part in self._parts], dim=1)
        return Output(losses, found, stats)

    def _identity(self, name: str, rows: Tensor, labels: Tensor, weight: float = 1.0) -> dict[str, Tensor]:
        """Weighted "id_<name>" and "triplet_<name>" of gathered float32 rows."""
        config = self.config
        head = self.heads[name]
        assert isinstance(head, BNNeck)
        entropy = head.loss(rows, labels, config.label_smoothing)
        return {
            f"id_{name}": weight * config.id_weight * entropy,
            f"triplet_{name}": weight
            * config.triplet_weight
            * batch_hard_triplet(rows, labels, config.margin),
        }

    def _caption_losses(self, captions: Tensor, has: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Identity losses of rows with a caption; 0 with zero gradients if fewer than two have one."""
        rows, described = gather_rows(captions.float()), gather_host_rows(has).nonzero()[:, 0]
        if len(described) > 1:
            described = placed(described, rows.device)
            return self._identity("t", rows[described], labels[described], self.config.text_weight)
        nothing = rows.sum() * 0
        for parameter in self.heads["t"].parameters():
            nothing = nothing + parameter.sum() * 0
        return {"id_t": nothing, "triplet_t": nothing}

    def embed(self, batch: Batch, side: Side) -> Tensor:
        """(B, dim) unit vectors; a missing modality has zero blocks.

        Raises DataError when a row has no modality of this model.
        """
        return self.embed_many(batch, [self.modalities], side)[self.modalities]

    def embed_many(self, batch: Batch, subsets: Sequence[Subset], side: Side) -> dict[Subset, Tensor]:
        """See ReIDModel; the towers and STR run once for all subsets."""
        for subset in subsets:
            batch.require_any([m for m in self.modalities if m in subset])
        wanted = canonical(m for subset in subsets for m in subset)
        here = [m for m in self.modalities if m in wanted and m in batch.modalities]
        semantic = self.semantic if "U" in self._parts or not self.prune else None
        if not here:
            return {subset: batch.present.new_zeros(0, self.dim, dtype=torch.float32) for subset in subsets}
        packed, patches = self._encode(batch, here, semantic is not None)
        cls = torch.stack([batch.spread(m, packed[m]) for m in here], dim=1)  # (B, here, D)
        columns = [ORDER.index(m) for m in here]
        places = torch.tensor([self.modalities.index(m) for m in here], device=cls.device)
        nodes = None if semantic is None else semantic(patches, self._captions(batch)[0], batch)
        vectors: dict[Subset, Tensor] = {}
        for subset in subsets:
            inside = torch.tensor([m in subset for m in here], device=cls.device)
            present = (batch.present[:, columns] & inside).new_zeros(len(batch), len(self.modalities))
            present[:, places] = batch.present[:, columns] & inside
            everyone = cls.new_zeros(len(batch), len(self.modalities), cls.shape[2])
            everyone[:, places] = cls * present[:, places, None]
            parts = {"G": everyone}
            if nodes is not None:
                complete = all(m in subset and batch.full(m) for m in self.modalities)
                parts["U"], _ = self._unified(everyone, nodes, present, complete)
            joined = torch.cat([parts[part].flatten(1) for part in self._parts], dim=1)
            vectors[subset] = F.normalize(joined.float(), dim=1)
        return vectors
