"""FFM (MFRNet section 3.2): before the encoder, each modality receives tokens generated from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from reid.config.typed import Section
from reid.data.batches.batch import Batch
from reid.modality import ORDER, Modality
from reid.nn.moe.experts import BottleneckExperts, Init
from reid.nn.moe.layer import Dispatch, MixtureOutput, MoE
from reid.nn.moe.routing import Router, RouterConfig

Tokens = dict[Modality, Tensor]
Generations = dict[tuple[Modality, Modality], Tensor]
"""(source, target) -> (b_source, T, D): what a mixture makes of the source's tokens for the target."""


class MixtureConfig(Section):
    """One kind of mixture of experts: its experts and its router."""

    enabled: bool = Field(True, description="use this mixture of experts")
    experts: int = Field(3, ge=1, description="number of experts in each mixture")
    hidden: int = Field(1024, ge=1, description="size of an expert's hidden layer")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout rate inside the experts")
    init: Init = Field(
        "conv",
        description="initial weights of the experts: a convolution's (conv), Xavier uniform "
        "(xavier), zero output (adapter), or all zero (dead)",
    )
    shared: bool = Field(
        False, description="one set of weights for all experts, as in the public code of MFRNet"
    )
    capacity: float | None = Field(
        None,
        gt=0,
        description="tokens beyond this multiple of an expert's even share are dropped; null: none "
        "is dropped",
    )
    dispatch: Dispatch = Field(
        "auto",
        description="how experts are computed: sorted by expert (grouped), all on every token "
        "(dense), or the faster (auto)",
    )
    router: RouterConfig = Field(
        RouterConfig(score="cosine", noise=1.0), description="how tokens are assigned to experts"
    )

    @model_validator(mode="after")
    def _enough_experts(self) -> MixtureConfig:
        if self.router.select == "top_k" and self.router.top_k > self.experts:
            raise ValueError(
                f"router.top_k = {self.router.top_k} of {self.experts} experts; use at most that"
            )
        return self

    def build(self, width: int, residual: bool) -> MoE:
        """The layer for tokens of this width."""
        experts = BottleneckExperts(
            self.experts, width, self.hidden, "none", self.dropout, residual, self.shared, self.init
        )
        return MoE(Router(self.router, width, self.experts), experts, self.dispatch, self.capacity)


class FeatureFusionConfig(MixtureConfig):
    """Fusion before the encoder, or after some of its blocks (FFM)."""

    keep: float = Field(
        0.5, ge=0, le=1, description="weight of a modality's own tokens (lambda in the paper)"
    )
    after_block: int = Field(
        0, ge=0, description="number of encoder blocks before the fusion; 0: before ln_pre, as in the paper"
    )


@dataclass(frozen=True)
class MixtureUse:
    """How one mixture routed: its output, the modality of each token, and the tokens of each of its calls."""

    name: str
    result: MixtureOutput
    kinds: Tensor  # (S,) int64 index of the modality
    calls: Sequence[slice] = (slice(None),)


class FeatureFusion(nn.Module):
    """Each modality's tokens from its own and the others' (paper, equations 3 to 6).

    X'_M = keep * X_M + sum over sources S of a_S * G(X_S). a is the softmax of learned weights over the
    sources that a row has. A missing M has no first term; a row with one modality keeps it unchanged. Two
    mixtures serve all directions: in canonical order of target and source, one the first half, the other the
    second.
    """

    def __init__(
        self, config: FeatureFusionConfig, width: int, modalities: list[Modality], raw_alone: bool
    ) -> None:
        super().__init__()
        self.config = config
        self.modalities = modalities
        self.raw_alone = raw_alone
        pairs = [(s, t) for t in modalities for s in modalities if s is not t]
        half = (len(pairs) + 1) // 2
        self.calls = [pairs[:half], pairs[half:]]
        self.generators = nn.ModuleList(config.build(width, residual=False) for _ in self.calls)
        self.weights = nn.ModuleDict({f"{s.value}_to_{t.value}": nn.Linear(width, 1) for s, t in pairs})

    def forward(self, tokens: Tokens, batch: Batch) -> tuple[Tokens, list[MixtureUse]]:
        """Packed tokens m -> (b_m, T, D) to complete ones m -> (B, T, D), and how the mixtures routed."""
        generations, uses = self.generate(tokens)
        return self.fuse(tokens, generations, batch), uses

    def generate(self, tokens: Tokens) -> tuple[Generations, list[MixtureUse]]:
        """The generated tokens of every direction, and how the mixtures routed."""
        generations: Generations = {}
        uses: list[MixtureUse] = []
        length = next(iter(tokens.values())).shape[1]
        for i, (generator, pairs) in enumerate(zip(self.generators, self.calls, strict=True)):
            sizes = [len(tokens[s]) for s, _ in pairs]
            counts = [n * length for n in sizes]
            result: MixtureOutput = generator(torch.cat([tokens[s] for s, _ in pairs]), calls=counts)
            generations |= dict(zip(pairs, result.tokens.split(sizes), strict=True))
            calls = [slice(a, b) for a, b in pairwise(accumulate(counts, initial=0))]
            kinds = torch.cat(
                [
                    result.routing.logits.new_full((n,), self.modalities.index(s), dtype=torch.int64)
                    for n, (s, _) in zip(counts, pairs, strict=True)
                ]
            )
            uses.append(MixtureUse(f"ffm{i}", result, kinds, calls))
        return generations, uses

    def fuse(self, tokens: Tokens, generations: Generations, batch: Batch) -> Tokens:
        """Complete tokens m -> (B, T, D) from packed tokens and the tokens generated from them."""
        return {t: self._fused(t, tokens, generations, batch) for t in self.modalities}

    def _fused(
        self,
        target: Modality,
        tokens: Tokens,
        generations: Generations,
        batch: Batch,
    ) -> Tensor:
        sources = [s for s in self.modalities if s is not target]
        has = torch.stack([batch.present[:, ORDER.index(s)] for s in sources], dim=1)  # (B, sources)
        logits = torch.stack([self._weight(s, target, tokens, batch) for s in sources], dim=1)  # (B, sources)
        alone = ~has.any(1)  # nothing to receive from
        share = logits.masked_fill(~(has | alone[:, None]), -torch.inf).softmax(1) * has
        if self.raw_alone:
            only_rgb = has.sum(1) == 1
            only_rgb &= batch.present[:, ORDER.index(Modality.RGB)]
            only_rgb &= ~batch.present[:, ORDER.index(target)]
            share = torch.where(only_rgb[:, None], logits * has, share)
        keep = torch.where(alone, 1.0, self.config.keep)
        own = keep[batch.index[target]][:, None, None] * tokens[target]
        total = batch.spread(target, own)
        for column, source in enumerate(sources):
            scale = share[batch.index[source], column][:, None, None]
            total = total + batch.spread(source, scale.to(total.dtype) * generations[source, target])
        return total

    def _weight(self, source: Modality, target: Modality, tokens: Tokens, batch: Batch) -> Tensor:
        """(B,) raw weight of a direction from the source's mean token, 0 where it is missing."""
        raw = self.weights[f"{source.value}_to_{target.value}"](tokens[source].mean(1))[:, 0]
        return batch.spread(source, raw.float())
