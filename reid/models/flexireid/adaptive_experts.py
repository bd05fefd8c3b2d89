"""Adaptive expert allocation: a mixture of bottleneck adapters that uses as many experts as a token needs.

FlexiReID, AEA-MoE: a linear router without bias; a token goes to the fewest experts whose probabilities
together exceed a threshold. From the paper: six experts, the threshold (0.6, elsewhere 0.4), probabilities as
gates. Reconstructed: bottleneck, activation, scale and zero start (AdaptFormer's), routing of single tokens.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from reid.config import Section
from reid.models.flexireid.adapted_tower import Place, Reads, Sequences
from reid.nn.moe.experts import Activation, BottleneckExperts, Init
from reid.nn.moe.layer import Dispatch, dense, grouped
from reid.nn.moe.routing import Router, RouterConfig, Routing

Strategy = Literal["adaptive", "topk", "soft", "hash"]
Unit = Literal["token", "sample_cls", "sample_mean"]


class AdaptiveExpertsConfig(Section):
    """The mixtures of adapters in every block. Image experts are shared by RGB, sketch and infrared."""

    enabled: bool = Field(True, description="add mixtures of adapters to the towers; false: the towers alone")
    experts: int = Field(6, ge=1, description="number of experts in each block")
    hidden: int = Field(64, ge=1, description="size of an adapter's bottleneck")
    activation: Activation = Field("relu", description="activation of the bottleneck")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout rate of the bottleneck")
    init: Init = Field(
        "adapter",
        description="initial weights; adapter: adds nothing at the start, so that CLIP's output is unchanged",
    )
    scale: float = Field(0.1, gt=0, description="factor of the mixture's output")
    learn_scale: bool = Field(False, description="train the factor of the mixture's output")
    place: Place = Field(
        "parallel",
        description="where the mixture stands: parallel to the FFN, in its place (replace) or after "
        "it (sequential)",
    )
    reads: Reads = Field(
        "ln",
        description="the mixture's input: ln: the normalised tokens (sequential: the FFN's output); "
        "h: the residual stream",
    )
    router: Strategy = Field(
        "adaptive",
        description="how many experts a token uses: adaptive, topk, all (soft), or one by a fixed hash",
    )
    threshold: float = Field(
        0.6,
        ge=0,
        lt=1,
        description="probability that the chosen experts must exceed together (router: adaptive); "
        "the paper names 0.6 and 0.4",
    )
    top_k: int = Field(2, ge=1, description="number of experts for each token (router: topk)")
    renormalise: bool = Field(False, description="scale the gates of the chosen experts to sum 1")
    unit: Unit = Field(
        "token", description="what is routed: each token, or a whole sample by its global or mean token"
    )
    dispatch: Dispatch = Field(
        "auto",
        description="how experts are computed: sorted by expert (grouped), all on every token "
        "(dense), or the faster (auto)",
    )

    @model_validator(mode="after")
    def _fits(self) -> AdaptiveExpertsConfig:
        if self.router == "topk" and self.top_k > self.experts:
            raise ValueError(f"top_k = {self.top_k} of {self.experts} experts; use at most that")
        if self.router == "hash" and self.unit != "token":
            raise ValueError("router: hash sends tokens by their place or word; use unit: token")
        return self

    def routing(self) -> RouterConfig:
        """The shared router's configuration."""
        return RouterConfig(
            score="hash" if self.router == "hash" else "linear",
            select={"adaptive": "threshold", "soft": "soft"}.get(self.router, "top_k"),
            top_k=self.top_k if self.router == "topk" else 1,
            threshold=self.threshold,
            renormalise=self.renormalise,
            init="normal",
        )


class AdaptiveExperts(nn.Module):
    """Tokens (b, T, D) -> the mixture's output of the same shape, and the routing of b * T tokens or b
    samples.
    """

    def __init__(self, config: AdaptiveExpertsConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.router = Router(config.routing(), width, config.experts)
        self.experts = BottleneckExperts(
            config.experts, width, config.hidden, config.activation, config.dropout, init=config.init
        )
        self.scale: nn.Parameter | None = None
        if config.learn_scale:
            self.scale = nn.Parameter(torch.tensor(config.scale))

    def forward(self, tokens: Tensor, sequences: Sequences) -> tuple[Tensor, Routing]:
        """See the class."""
        flat = tokens.flatten(0, -2)  # (b * T, D)
        routing = self.router(self._units(tokens, sequences), self._keys(tokens, sequences))
        spread = routing
        if self.config.unit != "token":
            parts = {f.name: getattr(routing, f.name) for f in fields(Routing)}
            spread = Routing(**{n: x.repeat_interleave(tokens.shape[1], 0) for n, x in parts.items()})
        scale = self.config.scale if self.scale is None else self.scale
        spread = replace(spread, gates=spread.gates * scale)  # cheaper than scaling the outputs
        if self._grouped(spread, tokens.shape[-1]):
            combined = grouped(flat, spread, self.experts, self.router.config.each)
        else:
            combined = dense(flat, spread, self.experts)
        return combined.view_as(tokens), routing

    def _units(self, tokens: Tensor, sequences: Sequences) -> Tensor:
        """The router's input: (b * T, D) tokens or (b, D) samples."""
        unit = self.config.unit
        if unit == "token":
            return tokens.flatten(0, -2)
        if unit == "sample_cls":
            if sequences.anchor is None:
                return tokens[:, 0]
            return tokens[torch.arange(len(tokens), device=tokens.device), sequences.anchor]
        if sequences.valid is None:
            return tokens.mean(1)
        weight = sequences.valid[..., None].to(tokens.dtype)
        return torch.sum(tokens * weight, dim=1) / weight.sum(1)

    def _keys(self, tokens: Tensor, sequences: Sequences) -> Tensor | None:
        if self.config.router != "hash":
            return None
        if sequences.keys is not None:
            return sequences.keys.flatten()
        place = torch.arange(tokens.shape[1], device=tokens.device)
        return place.expand(tokens.shape[:-1]).flatten()

    def _grouped(self, routing: Routing, width: int) -> bool:
        """Whether to sort by expert. "auto": on a CPU where that was faster when measured; elsewhere dense,
        which needs no count of the chosen tokens and keeps less for the backward pass.

        Forward and backward on one core, grouped / dense, at 1, 2, 3 of 6 experts a token: 193 x 768 with
        hidden 64: 0.28, 0.53, 0.73; 77 x 512: 0.41, 0.66, 0.76; 2,112 x 96 with hidden 16: 0.40, 0.83, 1.66;
        528 x 96: 0.76, 1.15, 1.36; 33 x 96: over 2.
        """
        if self.config.dispatch != "auto":
            return self.config.dispatch == "grouped"
        if routing.gates.is_cuda or routing.gates.is_meta or len(routing.gates) * width < 2**15:
            return False
        most = routing.experts / (2 if width >= 256 else 3)
        return bool(routing.chosen.sum() <= most * len(routing.gates))
