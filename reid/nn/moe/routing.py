"""Routers: scores of tokens against experts, and the experts that a token goes to.

A router is a scorer (cosine, linear or hash) and a selection rule (top-k, adaptive threshold or soft).
Everything here is float32, under autocast too: rounding would change the chosen experts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from reid.config import Section
from reid.errors import ConfigError
from reid.nn.precision import without_autocast

SCALE_LIMIT = math.log(100.0)
"""Largest logarithm of the cosine router's scale: a temperature of 0.01."""
HASH_PRIME = 2_654_435_761  # Knuth's multiplicative hash


class RouterConfig(Section):
    """How tokens are scored against experts, and how many they go to."""

    score: Literal["cosine", "linear", "hash"] = Field(
        "linear",
        description="how a token is scored against an expert: scaled cosine, linear layer, or a fixed hash",
    )
    select: Literal["top_k", "threshold", "soft"] = Field(
        "top_k",
        description="which experts a token goes to: the top k, the fewest above a threshold, or all (soft)",
    )
    top_k: int = Field(1, ge=1, description="number of experts for each token (select: top_k)")
    threshold: float = Field(
        0.6,
        ge=0,
        lt=1,
        description="a token goes to the fewest experts whose probabilities together exceed this "
        "(select: threshold)",
    )
    renormalise: bool = Field(
        False, description="scale the chosen gates to sum 1; false: gates are the raw probabilities"
    )
    noise: float = Field(
        0.0, ge=0, description="standard deviation of the training noise on logits, in units of 1 / experts"
    )
    dim: int = Field(256, ge=1, description="size of the low-rank space of the cosine (score: cosine)")
    temperature: float = Field(
        0.5, ge=0.01, le=100, description="initial temperature of the cosine (score: cosine)"
    )
    learn_temperature: bool = Field(True, description="train the temperature of the cosine")
    init: Literal["linear", "normal"] = Field(
        "linear",
        description="initial weights of the projection: torch's default (linear), or truncated "
        "normal 0.02 and zero bias",
    )
    bias: bool = Field(False, description="give the linear layer a bias (score: linear)")

    @model_validator(mode="after")
    def _hash_has_no_probabilities(self) -> RouterConfig:
        if self.score == "hash" and (self.select != "top_k" or self.top_k != 1):
            raise ValueError("score: hash sends a token to one expert; it goes with select: top_k, top_k: 1")
        return self

    @property
    def each(self) -> int | None:
        """The number of experts of every token; None if it differs from token to token.

        >>> RouterConfig(top_k=2).each, RouterConfig(select="threshold").each
        (2, None)
        """
        return self.top_k if self.select == "top_k" else None


@dataclass(frozen=True)
class Routing:
    """Where S tokens go among E experts. All float32."""

    logits: Tensor  # (S, E) without noise
    noisy: Tensor  # (S, E) with the training noise: what the choice was made on
    probabilities: Tensor  # (S, E) softmax of the clean logits
    gates: Tensor  # (S, E) what an expert's output is multiplied by; zero where not chosen
    chosen: Tensor  # (S, E) bool
    wanted: Tensor  # (S, E) bool; chosen before capacity dropped any
    priority: Tensor  # (S,) largest probability; who goes first when capacity is short

    @property
    def experts(self) -> int:
        """E."""
        return int(self.logits.shape[1])

    def __getitem__(self, rows: slice) -> Routing:
        """The routing of some of the tokens (one call's share of a joint call)."""
        return Routing(*(x[rows] for x in vars(self).values()))

    @staticmethod
    def join(parts: Sequence[Routing]) -> Routing:
        """The routings of several calls as that of one, in their order."""
        return Routing(*(torch.cat(same) for same in zip(*(vars(p).values() for p in parts), strict=True)))

    def limited(self, capacity: int) -> Routing:
        """At most `capacity` tokens an expert, most confident first; the rest are dropped (gate 0)."""
        order = self.priority.argsort(descending=True, stable=True)
        place = torch.empty_like(order).scatter(0, order, torch.arange(len(order), device=order.device))
        rank = self.chosen[order].cumsum(0)[place]  # (S, E) 1-based among those who chose the expert
        kept = self.chosen & (rank <= capacity)
        return replace(self, gates=self.gates * kept, chosen=kept)


def top_k_experts(probabilities: Tensor, k: int) -> Tensor:
    """(S, E) -> bool mask of the k most probable; equal ones in expert order."""
    order = probabilities.argsort(dim=1, descending=True, stable=True)[:, :k]
    return torch.zeros_like(probabilities, dtype=torch.bool).scatter(1, order, True)


def adaptive_experts(probabilities: Tensor, threshold: float) -> Tensor:
    """(S, E) -> bool mask of the fewest most probable whose sum exceeds `threshold`; at least one.

    FlexiReID's adaptive selection: one expert when it alone exceeds the threshold.
    """
    values, order = probabilities.sort(dim=1, descending=True, stable=True)
    before = values.cumsum(1) - values
    kept = before <= threshold
    kept[:, 0] = True  # rounding must not leave a token without an expert
    return torch.zeros_like(kept).scatter(1, order, kept)


class Router(nn.Module):
    """Tokens (S, D) -> Routing over `experts`. Raises ConfigError for more top-k than experts."""

    def __init__(self, config: RouterConfig, dim: int, experts: int) -> None:
        super().__init__()
        if config.select == "top_k" and config.top_k > experts:
            raise ConfigError(
                f"router.top_k: {config.top_k} of {experts} experts is not possible; use at most {experts}."
            )
        self.config = config
        self.experts = experts
        self.scorer = _scorer(config, dim, experts)

    def forward(self, tokens: Tensor, keys: Tensor | None = None) -> Routing:
        """`keys` (S,) int64 is what score: hash hashes, e.g. a token's position."""
        config = self.config
        with without_autocast(tokens.device):
            if isinstance(self.scorer, HashScorer):
                return _certain(self.scorer(tokens, keys))
            logits = self.scorer(tokens.float())  # (S, E)
            noisy = logits
            if self.training and config.noise:
                noisy = logits + torch.randn_like(logits) * (config.noise / self.experts)
            clean = logits.softmax(1)
            p = clean if noisy is logits else noisy.softmax(1)
            if config.select == "soft":
                chosen = torch.ones_like(p, dtype=torch.bool)
            elif config.select == "threshold":
                chosen = adaptive_experts(p.detach(), config.threshold)
            else:
                chosen = top_k_experts(p.detach(), config.top_k)
            gates = p * chosen
            if config.renormalise:
                gates = gates / gates.sum(1, keepdim=True)
            return Routing(logits, noisy, clean, gates, chosen, chosen, p.detach().amax(1))


def _scorer(config: RouterConfig, dim: int, experts: int) -> nn.Module:
    if config.score == "cosine":
        return CosineScorer(config, dim, experts)
    if config.score == "hash":
        return HashScorer(experts)
    linear = nn.Linear(dim, experts, bias=config.bias)
    _initialise(linear, config.init)
    return linear


class CosineScorer(nn.Module):
    """Scaled cosine in a low-rank space (MFRNet §4.1; Chi et al. 2022): (S, D) -> logits (S, E)."""

    def __init__(self, config: RouterConfig, dim: int, experts: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, config.dim)
        _initialise(self.project, config.init)
        self.directions = nn.Parameter(torch.randn(config.dim, experts) * 0.01)
        self.log_scale = nn.Parameter(
            torch.tensor([math.log(1 / config.temperature)]), requires_grad=config.learn_temperature
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits in [-100, 100]."""
        low = F.normalize(self.project(tokens), dim=1)  # (S, r)
        cosine: Tensor = low @ F.normalize(self.directions, dim=0)
        return cosine * self.log_scale.clamp(max=SCALE_LIMIT).exp()


class HashScorer(nn.Module):
    """A fixed choice by hashing a key: the control that a learned router should beat."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, tokens: Tensor, keys: Tensor | None) -> Tensor:
        """One-hot (S, E) float32. Raises ConfigError without keys."""
        if keys is None:
            raise ConfigError("router.score: hash needs a key for every token (its position or modality).")
        bucket = ((keys * HASH_PRIME) % 2**32 * self.experts) // 2**32
        return F.one_hot(bucket, self.experts).float()


def _certain(one_hot: Tensor) -> Routing:
    """The routing of a choice that has no probabilities: gate 1."""
    logits = torch.zeros_like(one_hot)
    chosen = one_hot.bool()
    return Routing(logits, logits, one_hot, one_hot, chosen, chosen, one_hot.amax(1))


def _initialise(linear: nn.Linear, init: str) -> None:
    if init == "normal":
        nn.init.trunc_normal_(linear.weight, std=0.02)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)
