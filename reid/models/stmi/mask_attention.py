"""Attention changed by a mask: STMI's segmentation-guided modulation of a vision transformer (AAAI 2026).

In a block with logits A = Q K^T, pairs of foreground tokens move towards the largest logit of their row and
other pairs towards the smallest: A + a (max - A) for the former, A - b (A - min) for the latter (the paper's
equation; a = b = 0 gives CLIP). The softmax divides by the square root of a head's width; the paper prints
the model's width, so this is a reconstruction. A background token's row has no foreground pair: it only
flattens.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from reid.config import Section
from reid.models.stmi.mask_tokens import TokenMask
from reid.nn.blockwise import in_parts, run_block_step
from reid.nn.compiled_blocks import compilable
from reid.nn.precision import without_autocast
from reid.nn.towers.block import feed_forward, run_block
from reid.nn.towers.clip import ImageTower

Scope = Literal["layer", "shared", "head", "early", "late"]


class MaskAttentionConfig(Section):
    """Segmentation-guided modulation. A row without a mask is encoded as by CLIP."""

    enabled: bool = Field(True, description="let masks change the towers' attention")
    scope: Scope = Field(
        "layer",
        description="which attention layers share a pair of strengths: each layer its own (paper), "
        "all one pair, each head of each layer its own, or each layer of the first or "
        "second half its own, the other half unchanged",
    )
    param: Literal["clamp", "sigmoid"] = Field("clamp", description="how strengths are kept between 0 and 1")
    init: float = Field(0.1, ge=0, le=1, description="initial value of both strengths; not in the paper")
    per_modality: bool = Field(False, description="separate strengths for each modality")
    theta: float = Field(
        0.5, gt=0, le=1, description="least masked share of a patch that makes it foreground (overlap: share)"
    )
    overlap: Literal["share", "any"] = Field(
        "share", description="what makes a patch foreground: a masked share of theta, or any masked pixel"
    )
    flip: float = Field(
        0.1, ge=0, le=1, description="probability in training that a background patch counts as foreground"
    )

    @model_validator(mode="after")
    def _inside(self) -> MaskAttentionConfig:
        if self.param == "sigmoid" and not 0 < self.init < 1:
            raise ValueError("init: with param sigmoid it must lie between 0 and 1")
        return self


class Modulation(nn.Module):
    """Learned strengths alpha (foreground pairs) and beta (other pairs) of a tower's attention."""

    def __init__(self, config: MaskAttentionConfig, layers: int, heads: int, modalities: int) -> None:
        super().__init__()
        self.config = config
        half = layers // 2
        self.layers = {"early": range(half), "late": range(half, layers)}.get(config.scope, range(layers))
        shape = (
            modalities if config.per_modality else 1,
            1 if config.scope == "shared" else len(self.layers),
            heads if config.scope == "head" else 1,
        )
        start = math.log(config.init / (1 - config.init)) if config.param == "sigmoid" else config.init
        self.alpha = nn.Parameter(torch.full(shape, start))
        self.beta = nn.Parameter(torch.full(shape, start))

    def bounded(self, raw: Tensor) -> Tensor:
        """The strengths within [0, 1].

        The clamp passes the gradient, so that a strength can leave the bound again.
        """
        if self.config.param == "sigmoid":
            return raw.sigmoid()
        return raw.detach().clamp(0, 1) + (raw - raw.detach())

    def strengths(self, layer: int, usable: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor] | None:
        """alpha and beta (b, heads or 1) of a layer, for b rows of the modalities `kinds`; 0 for rows without
        a mask.

        None if the layer is not modulated.
        """
        if layer not in self.layers:
            return None
        place = 0 if self.config.scope == "shared" else self.layers.index(layer)
        of = kinds if self.config.per_modality else torch.zeros_like(kinds)
        pair = (self.bounded(raw)[:, place][of] * usable[:, None] for raw in (self.alpha, self.beta))
        alpha, beta = pair
        return alpha, beta

    def encode(
        self, tower: ImageTower, tokens: Tensor, mask: TokenMask, kinds: Tensor, class_only: bool = False
    ) -> Tensor:
        """`tower.encode` with modulated attention: (b, 1 + N, width) before ln_pre -> the same shape.

        `mask` belongs to the b images; `kinds` (b,) is the index of each image's modality. `class_only` gives
        (b, 1, width).
        """
        blocks: list[Any] = list(tower.blocks)

        def encoded(tokens: Tensor, foreground: Tensor, usable: Tensor, kinds: Tensor) -> Tensor:
            tokens = tower.visual.ln_pre(tokens)
            for layer, block in enumerate(blocks):
                only = class_only and layer == len(blocks) - 1
                strengths = self.strengths(layer, usable, kinds)
                if strengths is None:
                    tokens = run_block_step(run_block, block, tokens, None, only)
                else:
                    tokens = run_block_step(modulated_block, block, tokens, foreground, *strengths, only)
            return tokens

        return in_parts(encoded, tokens, mask.tokens, mask.usable, kinds)


@compilable
def modulated_block(
    block: Any, tokens: Tensor, foreground: Tensor, alpha: Tensor, beta: Tensor, class_only: bool = False
) -> Tensor:
    """`run_block` with `modulated_attention`."""
    attended = modulated_attention(block.attn, block.ln_1(tokens), foreground, alpha, beta, class_only)
    tokens = tokens[:, : attended.shape[1]] + attended
    return tokens + feed_forward(block.mlp, block.ln_2(tokens))


def modulated_attention(
    module: nn.MultiheadAttention,
    tokens: Tensor,
    foreground: Tensor,
    alpha: Tensor,
    beta: Tensor,
    class_only: bool = False,
) -> Tensor:
    """Self-attention of tokens (b, T, D) with modulated logits -> (b, T, D), or (b, 1, D) for the first
    token.

    foreground (b, T) bool; alpha and beta (b, heads) or (b, 1) in [0, 1].
    """
    q, k, v = F.linear(tokens, module.in_proj_weight, module.in_proj_bias).chunk(3, dim=-1)
    if class_only:
        q = q[:, :1]
    q, k, v = (x.unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for x in (q, k, v))  # (b, h, ., d)
    mixed: Tensor = _Modulated.apply(q, k, v, foreground, alpha, beta)
    out: Tensor = module.out_proj(mixed.transpose(1, 2).flatten(2))
    return out


class _Modulated(torch.autograd.Function):
    """The closed form (1 - s) A + s t: s, t = alpha, max for a foreground pair and beta, min for any other.

    The attention matrix is not kept: the backward pass computes it again from queries and keys. Softmax and
    modulation are in float32, products in the type of the queries.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, foreground: Tensor, alpha: Tensor, beta: Tensor
    ) -> Tensor:
        ctx.save_for_backward(q, k, v, foreground, alpha, beta)
        with without_autocast(q.device):
            logits, high, low, pair = _parts(q, k, foreground)
            share, target = _towards(pair, alpha, beta, high.values, low.values)
            weights = logits.lerp_(target, share).mul_(q.shape[-1] ** -0.5).softmax(-1)
            return weights.to(v.dtype) @ v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, foreground, alpha, beta = ctx.saved_tensors
        with without_autocast(q.device):
            grad, scale = grads[0].to(v.dtype), q.shape[-1] ** -0.5
            logits, high, low, pair = _parts(q, k, foreground)
            share, target = _towards(pair, alpha, beta, high.values, low.values)
            weights = torch.lerp(logits, target, share).mul_(scale).softmax(-1)
            grad_v = weights.to(v.dtype).transpose(-1, -2) @ grad
            inner = (grad @ v.transpose(-1, -2)).to(weights.dtype)
            inner = weights.mul_(inner - (weights * inner).sum(-1, keepdim=True)).mul_(
                scale
            )  # dL/d modulated
            moved = target.sub_(logits).mul_(inner)  # dL/d share
            grad_alpha = _summed(moved.masked_fill(~pair, 0), alpha)
            grad_beta = _summed(moved.masked_fill_(pair, 0), beta)
            pulled = inner * share
            inner.sub_(pulled)
            inner.scatter_add_(-1, high.indices, pulled.masked_fill(~pair, 0).sum(-1, keepdim=True))
            inner.scatter_add_(-1, low.indices, pulled.masked_fill_(pair, 0).sum(-1, keepdim=True))
            inner = inner.to(q.dtype)
            return inner @ k, inner.transpose(-1, -2) @ q, grad_v, None, grad_alpha, grad_beta


def _parts(q: Tensor, k: Tensor, foreground: Tensor) -> tuple[Tensor, Any, Any, Tensor]:
    """Logits (b, h, Q, K) in float32 at least, the extremes of each row, and which pairs are foreground.

    Queries are the first Q of the tokens.
    """
    logits = q @ k.transpose(-1, -2)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    pair = foreground[:, None, : q.shape[2], None] & foreground[:, None, None]  # (b, 1, Q, K)
    return logits, logits.max(-1, keepdim=True), logits.min(-1, keepdim=True), pair


def _towards(pair: Tensor, alpha: Tensor, beta: Tensor, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """How far every logit moves, (b, h or 1, Q, K), and to where, (b, h, Q, K)."""
    alpha, beta = (x.to(high.dtype)[..., None, None] for x in (alpha, beta))
    share = torch.where(pair, alpha, beta)
    return share, torch.where(pair, high, low)


def _summed(moved: Tensor, like: Tensor) -> Tensor:
    """(b, h, Q, K) -> (b, h), or (b, 1) for strengths that heads share."""
    found = moved.sum((-1, -2))
    return (found if like.shape[1] > 1 or moved.shape[1] == 1 else found.sum(1, keepdim=True)).to(like.dtype)
