"""The plain reference that models are measured against: the same weights and mathematics, written plainly.

Blocks are nn.MultiheadAttention with the textbook activation, every token goes through the last block and the
projection, and a mixture is a Python loop over its experts, each on every token.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.models.base import ReIDModel
from reid.nn.moe.experts import BottleneckExperts
from reid.nn.moe.layer import MixtureOutput, MoE
from reid.nn.moe.routing import Routing
from reid.nn.towers.block import QuickGELU, Replacement
from reid.nn.towers.clip import ImageTower


class TextbookGELU(nn.Module):
    """CLIP's activation as it is defined."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return x * torch.sigmoid(1.702 * x)


class PlainTower(ImageTower):
    """The image tower as a stack of open_clip's own blocks."""

    def encode(
        self,
        tokens: Tensor,
        ffn: Mapping[int, Replacement] | None = None,
        class_only: bool = False,
        start: int = 0,
        stop: int | None = None,
    ) -> Tensor:
        """As ImageTower's, but all tokens go through all blocks, whatever `class_only` says."""
        tokens = self.visual.ln_pre(tokens) if start == 0 else tokens
        block: Any
        for layer, block in list(enumerate(self.blocks))[start:stop]:
            if layer in (ffn or {}):
                normed = block.ln_1(tokens)
                tokens = tokens + block.attn(normed, normed, normed, need_weights=False)[0]
                tokens = tokens + (ffn or {})[layer](block.ln_2(tokens))
            else:
                tokens = block(tokens)
        return tokens


class LoopMoE(MoE):
    """A mixture as a loop over experts, every expert on every token."""

    def forward(self, tokens: Tensor, *args: Any, **kwargs: Any) -> MixtureOutput:
        """As MoE's without capacity."""
        flat = tokens.flatten(0, -2)
        routing = self.router(flat)
        return MixtureOutput(loop(flat, routing, self.experts).view_as(tokens), routing)


def loop(tokens: Tensor, routing: Routing, experts: nn.Module) -> Tensor:
    """(S, D) -> (S, D): the definition of a mixture, expert after expert."""
    out = torch.zeros_like(tokens)
    for e in range(routing.experts):
        out = out + routing.gates[:, e, None] * one_expert(experts, e, tokens)
    return out


def loop_chosen(tokens: Tensor, routing: Routing, experts: nn.Module) -> Tensor:
    """(S, D) -> (S, D): expert after expert, each on the tokens that chose it."""
    out = torch.zeros_like(tokens)
    for e in range(routing.experts):
        rows = routing.chosen[:, e].nonzero()[:, 0]
        value = routing.gates[rows, e, None] * one_expert(experts, e, tokens[rows])
        out = out.index_add(0, rows, value.to(out.dtype))
    return out


def one_expert(experts: nn.Module, e: int, tokens: Tensor) -> Tensor:
    """Expert e of a BottleneckExperts on (n, D) tokens."""
    assert isinstance(experts, BottleneckExperts)
    e = 0 if experts.shared else e
    hidden = F.linear(tokens, experts.down[e], experts.down_bias[e])
    if experts.activation is not None:
        hidden = experts.activation(hidden)
    hidden = F.dropout(hidden, experts.dropout, experts.training)
    out = F.linear(hidden, experts.up[e], experts.up_bias[e])
    return out + tokens if experts.residual else out


def plain(model: ReIDModel) -> ReIDModel:
    """A copy of the model that computes plainly and skips nothing."""
    twin = copy.deepcopy(model)
    twin.prune = False
    for module in twin.modules():
        if isinstance(module, ImageTower):
            module.__class__ = PlainTower
            for block in module.blocks:
                mlp = block.get_submodule("mlp")
                if isinstance(getattr(mlp, "gelu", None), QuickGELU):
                    mlp.gelu = TextbookGELU()
        elif isinstance(module, MoE):
            module.__class__ = LoopMoE
    return twin
