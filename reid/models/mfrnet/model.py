"""MFRNet (ICML 2025): mixtures of experts that fuse modalities before the encoder and refine them within it.

One CLIP tower encodes the aligned cameras. FFM (paper section 3.2): each modality receives tokens that two
mixtures generate from the other modalities; they also replace a missing modality. FRM (section 3.3): a
mixture of residual adapters replaces the FFN of the last block. By default the experts are distinct and
trained; the public code had one shared set, set to zero at loading. The `official` switches reproduce it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from reid.comparison.regimes import Regime
from reid.config import Plugin, Section
from reid.data.batches.batch import Batch
from reid.errors import ConfigError
from reid.modality import ORDER, Modality, Subset, parse_subset, subset_name
from reid.models.base import ExpertMap, ModelContext, Output, ReIDModel, Side
from reid.models.mfrnet.feature_fusion import (
    FeatureFusion,
    FeatureFusionConfig,
    Generations,
    MixtureConfig,
    MixtureUse,
    Tokens,
)
from reid.models.mfrnet.global_local import GlobalLocal
from reid.nn.bnneck import BNNeck
from reid.nn.buffers import to_buffers
from reid.nn.distributed import gather_rows
from reid.nn.losses.identity import IdentityTerms, identity_losses
from reid.nn.losses.routing import LoadOf, balance_loss
from reid.nn.moe.experts import Init
from reid.nn.moe.layer import MixtureOutput
from reid.nn.moe.routing import RouterConfig
from reid.nn.towers.block import Replacement
from reid.nn.towers.class_bias import ClassBias
from reid.nn.towers.clip import ImageTower, ImageTowerConfig, resolved_image_config
from reid.nn.towers.weights import load_tower_weights


class FRMConfig(MixtureConfig):
    """Refinement within the encoder (FRM)."""

    experts: int = Field(6, ge=1, description="number of experts in each mixture")
    hidden: int = Field(512, ge=1, description="size of an expert's hidden layer")
    init: Init = Field(
        "xavier",
        description="initial weights of the experts: a convolution's (conv), Xavier uniform "
        "(xavier), zero output (adapter), or all zero (dead)",
    )
    router: RouterConfig = Field(
        RouterConfig(score="cosine", noise=1.0, init="normal"),
        description="how tokens are assigned to experts",
    )
    layers: tuple[int, ...] = Field(
        (-1,),
        description="encoder blocks whose FFN the mixture replaces; negative numbers count from the end",
    )


class BalanceConfig(Section):
    """The routers' auxiliary loss."""

    weight: float = Field(0.01, ge=0, description="weight of the routers' balance loss")
    load_of: LoadOf = Field(
        "probability",
        description="value that is compared with noisy logits for the load: the probability (public "
        "code) or the logit",
    )
    ffm_calls: Literal["mean", "last"] = Field(
        "mean", description="which calls of an FFM mixture count: the mean of all, or the last"
    )
    ffm_factor: float = Field(1.0, ge=0, description="factor of FFM's balance terms beside FRM's")


class OfficialConfig(Section):
    """Behaviour of the public code that changes results; off unless its checkpoints are reproduced."""

    bypass_single: bool = Field(
        False, description="skip FFM and FRM for a batch of one row, as the public code does"
    )
    raw_alone: bool = Field(
        False,
        description="weight tokens generated from RGB alone by the layer's raw output instead of the "
        "softmax, as the public code does",
    )


class Config(IdentityTerms, Plugin):
    """Fields of `model:` when `model.name` is mfrnet."""

    name: Literal["mfrnet"] = Field("mfrnet", description="the system: MFRNet")
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
        "joint", description="identity heads: one on all modalities together (joint), or one on each"
    )
    global_local: bool = Field(False, description="reduce the class token and the mean patch to one feature")
    ffm: FeatureFusionConfig = Field(
        FeatureFusionConfig(), description="fusion of modalities before the encoder (FFM)"
    )
    frm: FRMConfig = Field(FRMConfig(), description="refinement within the encoder (FRM)")
    balance: BalanceConfig = Field(BalanceConfig(), description="the routers' balance loss")
    completion: Literal["generate", "leave_out"] = Field(
        "generate",
        description="what stands for a modality that a query or an item lacks: generate (FFM completes its "
        "tokens, and all blocks are compared), or leave_out (its block is zero, and common modalities are "
        "compared)",
    )
    official: OfficialConfig = Field(
        OfficialConfig(), description="behaviour of the public code that changes results"
    )


class Model(ReIDModel):
    """The MFRNet model. Rows may have any non-empty subset of the camera modalities."""

    regime = Regime.MATCHED

    def __init__(self, config: Config, context: ModelContext) -> None:
        super().__init__()
        self.config = config
        self.mixes_rows = (
            "FRM balances its experts over the tokens of the whole batch" if config.frm.enabled else ""
        )
        self.modalities = list(context.modalities)
        if len(self.modalities) < 2 or Modality.TEXT in self.modalities:
            raise ConfigError(
                "data.modalities: mfrnet fuses two or more camera modalities and takes no text; got "
                f"{subset_name(context.modalities)}."
            )
        depth = resolved_image_config(config.tower).layers
        self.frm_layers = sorted({_index(x, depth) for x in config.frm.layers}) if config.frm.enabled else []
        if config.ffm.enabled and config.ffm.after_block >= depth:
            raise ConfigError(
                f"model.ffm.after_block: {config.ffm.after_block} of {depth} blocks; use 0 to {depth - 1}."
            )
        spare = config.official.bypass_single
        self.image_tower = ImageTower(
            config.tower, context.height, context.width, () if spare else self.frm_layers
        )
        for layer in self.frm_layers if spare else []:  # needed for a single row, never trained
            to_buffers(self.image_tower.blocks[layer].get_submodule("mlp"))
        width, dim = self.image_tower.width, self.image_tower.dim
        cameras = context.num_cameras if config.camera_embedding else 0
        self.class_bias = ClassBias(width, cameras, self.modalities if config.modality_embedding else ())
        self.ffm: FeatureFusion | None = None
        self.needs_whole_rows = not config.ffm.enabled
        if config.ffm.enabled:
            self.ffm = FeatureFusion(config.ffm, width, self.modalities, config.official.raw_alone)
            self.completes = config.completion == "generate"
        self.frm = nn.ModuleDict({str(x): config.frm.build(width, residual=True) for x in self.frm_layers})
        self.reduce: nn.ModuleDict | None = None
        if config.global_local:
            self.reduce = nn.ModuleDict({m.value: GlobalLocal(dim) for m in self.modalities})
        self.query_modalities = self.gallery_modalities = frozenset(self.modalities)
        self.dim = len(self.modalities) * dim
        self.feature_blocks = {m.value: slice(i * dim, (i + 1) * dim) for i, m in enumerate(self.modalities)}
        heads = {"joint": self.dim} if config.heads == "joint" else {m.value: dim for m in self.modalities}
        self.heads = nn.ModuleDict({n: BNNeck(size, context.num_classes) for n, size in heads.items()})

    @classmethod
    def answers(cls, query: Subset, gallery: Subset) -> str | None:
        """Any pairing of camera modalities, because missing ones are completed."""
        return "" if {*query, *gallery} <= set(parse_subset("rgb+nir+tir")) else None

    def load_pretrained(self) -> None:
        """Load the tower from `model.weights`, without the FFNs that FRM replaces."""
        load_tower_weights(self.config.weights, self.image_tower, None, self.config.tower.arch)

    def forward(self, batch: Batch) -> Output:
        """Identity losses of every head and the routers' balance loss, over the rows of all ranks.

        Without FFM every row needs every modality; raises DataError otherwise.
        """
        if self.ffm is None:
            batch.require(self.modalities)
        features, uses = self._features(batch, class_only=False)
        labels = gather_rows(batch.pid)
        losses: dict[str, Tensor] = {}
        joined = torch.cat(list(features.values()), dim=1)
        for name, head in self.heads.items():
            assert isinstance(head, BNNeck)
            rows = gather_rows((joined if name == "joint" else features[Modality(name)]).float())
            suffix = "" if name == "joint" else f"_{name}"
            for kind, value in identity_losses(head, rows, labels, self.config).items():
                losses[kind + suffix] = value
        if uses and self.config.balance.weight:
            losses["balance"] = self.config.balance.weight * self._balance(uses)
        names = [m.value for m in self.modalities]
        stats = {
            f"{use.name}/{key}": value
            for use in uses
            for key, value in use.result.stats(use.kinds, names).items()
        }
        return Output(losses, joined, {**stats})

    def embed(self, batch: Batch, side: Side) -> Tensor:
        """(B, dim) unit vectors; FFM completes missing modalities, without FFM their blocks are zero.

        Raises DataError when a row has no modality of this model.
        """
        batch.require_any(self.modalities)
        features, _ = self._features(batch, self._class_only)
        return self._joined(features, batch)

    def embed_many(self, batch: Batch, subsets: Sequence[Subset], side: Side) -> dict[Subset, Tensor]:
        """See ReIDModel.

        All subsets share the blocks before FFM and FFM's generations, without FFM the whole pass.

        With an expert capacity nothing is shared: there a token's output depends on the other tokens.
        """
        used = {m for subset in subsets for m in subset} & set(self.modalities)
        mixtures = [*self.frm.values(), *(self.ffm.generators if self.ffm is not None else ())]
        if any(m.capacity is not None for m in mixtures) or self._bypasses(batch) or not used:
            return super().embed_many(batch, subsets, side)
        whole = self._own(batch.only(used))
        tokens, _ = self._before_fusion(whole)
        generations: Generations = {}
        shared: dict[Modality, Tensor] = {}
        if self.ffm is None:
            shared, _ = self._encode(tokens, whole, self._class_only, None)
        else:
            generations, _ = self.ffm.generate(tokens)
        vectors = {}
        for subset in subsets:
            rows = batch.only(subset)
            rows.require_any(self.modalities)
            if self.ffm is None:
                features = {m: x if m in subset else torch.zeros_like(x) for m, x in shared.items()}
            else:
                own = {(s, t): x if s in subset else x[:0] for (s, t), x in generations.items()}
                present = {m: x if m in subset else x[:0] for m, x in tokens.items()}
                features, _ = self._encode(present, self._own(rows), self._class_only, own)
            vectors[subset] = self._joined(features, rows)
        return vectors

    def _joined(self, features: dict[Modality, Tensor], batch: Batch) -> Tensor:
        """(B, dim) unit vectors of features m -> (B, dim)."""
        if not self.completes:
            there = {m: batch.present[:, ORDER.index(m)][:, None] for m in features}
            features = {m: torch.where(there[m], x, 0) for m, x in features.items()}
        return F.normalize(torch.cat(list(features.values()), dim=1).float(), dim=1)

    @property
    def _class_only(self) -> bool:
        """Whether an embedding needs the class tokens of the last block alone."""
        limited = any(self.frm[str(x)].capacity is not None for x in self.frm_layers)
        return self.prune and not limited and self.reduce is None

    @torch.no_grad()
    def routing(self, batch: Batch) -> dict[str, ExpertMap]:
        """Experts of every mixture and modality, without pruning.

        A completed modality has entries of FRM only.

        Raises DataError when a row has no modality of this model.
        """
        batch.require_any(self.modalities)
        _, uses = self._features(batch, class_only=False)
        rows, columns = self.image_tower.grid
        maps: dict[str, ExpertMap] = {}
        for use in uses:
            routing = use.result.routing
            best = torch.where(routing.chosen.any(1), routing.gates.argmax(1), -1)  # (S,)
            for i, modality in enumerate(self.modalities):
                own = best[use.kinds == i].view(-1, 1 + rows * columns)[:, 1:]  # without class tokens
                where = batch.index.get(modality, batch.pid.new_zeros(0))
                experts = own.new_full((len(batch), rows * columns), -1)
                if use.name.startswith("ffm") or len(own) == len(where):  # only of the present images
                    experts[where] = own[: len(where)]
                else:
                    experts = own
                grid = experts.view(-1, rows, columns)
                maps[f"{use.name}/{modality.value}"] = ExpertMap(grid, routing.experts)
        return maps

    def _features(self, batch: Batch, class_only: bool) -> tuple[dict[Modality, Tensor], list[MixtureUse]]:
        """Features m -> (B, dim) and how every mixture routed, in the order in which they ran.

        A modality that a row lacks has zeros unless FFM completes it.
        """
        batch = self._own(batch)
        tokens, before = self._before_fusion(batch)
        generations: Generations | None = None
        fusion: list[MixtureUse] = []
        if self.ffm is not None and not self._bypasses(batch):
            generations, fusion = self.ffm.generate(tokens)
        features, after = self._encode(tokens, batch, class_only, generations)
        return features, [*before, *fusion, *after]

    def _own(self, batch: Batch) -> Batch:
        """The batch reduced to this model's modalities; each has an entry, empty where no row has it."""
        return batch.only(self.modalities).completed(self.modalities, *self.image_tower.size)

    def _bypasses(self, batch: Batch) -> bool:
        """Whether FFM and FRM are skipped: `official.bypass_single` and a batch of one row."""
        return self.config.official.bypass_single and len(batch) == 1

    def _before_fusion(self, batch: Batch) -> tuple[Tokens, list[MixtureUse]]:
        """FFM's input m -> (b_m, T, width), and how the FRMs of the blocks before FFM routed."""
        sizes = [len(batch.index[m]) for m in self.modalities]
        images = torch.cat([batch.images[m] for m in self.modalities])
        stacked = self.image_tower.patchify(images, self.class_bias(batch, self.modalities))
        uses: list[MixtureUse] = []
        if self.ffm is not None and not self._bypasses(batch) and self.ffm.config.after_block:
            stacked, uses = self._blocks(stacked, sizes, batch, stop=self.ffm.config.after_block)
        return dict(zip(self.modalities, stacked.split(sizes), strict=True)), uses

    def _encode(
        self, tokens: Tokens, batch: Batch, class_only: bool, generations: Generations | None
    ) -> tuple[dict[Modality, Tensor], list[MixtureUse]]:
        """Features m -> (B, dim) and how FRM routed: FFM's fusion, then the remaining blocks.

        Without `generations` nothing is fused and all blocks run.
        """
        start = 0
        if self.ffm is not None and generations is not None:
            start = self.ffm.config.after_block
            tokens = self.ffm.fuse(tokens, generations, batch)
        sizes = [len(tokens[m]) for m in self.modalities]
        stacked = torch.cat([tokens[m] for m in self.modalities])
        stacked, uses = self._blocks(stacked, sizes, batch, class_only, start)
        encoded = self.image_tower.project(stacked)  # (sum, T or 1, dim)
        features: dict[Modality, Tensor] = {}
        for modality, x in zip(self.modalities, encoded.split(sizes), strict=True):
            feature = x[:, 0] if self.reduce is None else self.reduce[modality.value](x)
            features[modality] = feature if len(x) == len(batch) else batch.spread(modality, feature)
        return features, uses

    def _blocks(
        self,
        tokens: Tensor,
        sizes: list[int],
        batch: Batch,
        class_only: bool = False,
        start: int = 0,
        stop: int | None = None,
    ) -> tuple[Tensor, list[MixtureUse]]:
        """The tower's blocks from `start` to `stop`, FRM in place of its blocks' FFN, and how FRM routed.

        `tokens` (sum of sizes, T, width) holds `sizes[i]` sequences of modality i.
        """
        if self._bypasses(batch):
            return self.image_tower.encode(tokens, {}, class_only, start, stop), []
        kinds = torch.cat([batch.pid.new_full((size,), i) for i, size in enumerate(sizes)])
        uses: list[MixtureUse] = []

        def refine(layer: int, tokens: Tensor) -> Tensor:
            result: MixtureOutput = self.frm[str(layer)](tokens)
            uses.append(MixtureUse(f"frm{layer}", result, kinds.repeat_interleave(tokens.shape[1])))
            return result.tokens

        replaced: dict[int, Replacement] = {layer: partial(refine, layer) for layer in self.frm_layers}
        return self.image_tower.encode(tokens, replaced, class_only, start, stop), uses

    def _balance(self, uses: list[MixtureUse]) -> Tensor:
        """The sum of FFM's terms (mean or last of their calls) times `ffm_factor`, and of FRM's terms."""
        config = self.config.balance
        terms = []
        for use in uses:
            calls = use.calls if config.ffm_calls == "mean" else use.calls[-1:]
            each = [balance_loss(use.result.routing[call], config.load_of) for call in calls]
            factor = config.ffm_factor if use.name.startswith("ffm") else 1.0
            terms.append(factor * torch.stack(each).mean())
        return torch.stack(terms).sum()


def _index(layer: int, depth: int) -> int:
    if not -depth <= layer < depth:
        raise ConfigError(f"model.frm.layers: there is no block {layer}; the tower has {depth}.")
    return layer % depth
