"""The residual attention block of CLIP's image tower, computed from open_clip's modules.

Same mathematics as open_clip's own block; written out so that a block may have its FFN replaced or compute
the class token only, and so that inference makes fewer passes over memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.nn.compiled_blocks import compilable

QUICK = 1.702
Replacement = Callable[[Tensor], Tensor]
"""(b, T, width) after a block's second layer norm -> what the block adds, instead of its FFN's output."""


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), CLIP's activation, as a scaled SiLU: it keeps one tensor for the backward."""
    return F.silu(QUICK * x) / QUICK


class QuickGELU(nn.Module):
    """`quick_gelu` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return quick_gelu(x)


@compilable
def run_block(block: Any, tokens: Tensor, ffn: Replacement | None = None, class_only: bool = False) -> Tensor:
    """tokens (b, T, width) -> (b, T, width), or (b, 1, width) with `class_only`.

    `block` has ln_1, attn (nn.MultiheadAttention), ln_2 and mlp (c_fc, activation, c_proj). With `class_only`
    the other tokens are keys and values only.
    """
    normed = block.ln_1(tokens)
    attended = attention(block.attn, normed[:, :1], normed) if class_only else attention(block.attn, normed)
    tokens = tokens[:, : attended.shape[1]] + attended
    normed = block.ln_2(tokens)
    return tokens + (feed_forward(block.mlp, normed) if ffn is None else ffn(normed))


def attention(
    module: nn.MultiheadAttention,
    queries: Tensor,
    keys: Tensor | None = None,
    ignored: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """What nn.MultiheadAttention computes: (b, Q, D), keys and values (b, K, D), default: self -> (b, Q, D).

    `ignored` (b, K) bool keys get no attention; a row needs one that does. `causal`, not together with it: a
    position attends to itself and those before. Used instead of the module's own forward, which copies its
    weights once a key position when queries are not the keys.
    """
    width = queries.shape[-1]
    weight, bias = module.in_proj_weight, module.in_proj_bias
    if keys is None:
        q, k, v = F.linear(queries, weight, bias).chunk(3, dim=-1)
    else:
        q = F.linear(queries, weight[:width], bias[:width])
        k, v = F.linear(keys, weight[width:], bias[width:]).chunk(2, dim=-1)
    q, k, v = (x.unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for x in (q, k, v))  # (b, heads, ., d)
    mask = None if ignored is None else ~ignored[:, None, None]  # (b, 1, 1, K) bool, True takes part
    mixed = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
    out: Tensor = module.out_proj(mixed.transpose(1, 2).flatten(2))
    return out


def feed_forward(mlp: Any, tokens: Tensor) -> Tensor:
    """The FFN; without gradients its activation works in place and the scale goes into the second product."""
    if torch.is_grad_enabled() or not isinstance(mlp.gelu, QuickGELU):
        out: Tensor = mlp(tokens)
        return out
    hidden = F.silu(mlp.c_fc(tokens).mul_(QUICK), inplace=True)
    rows = torch.addmm(mlp.c_proj.bias, hidden.flatten(0, -2), mlp.c_proj.weight.T, alpha=1 / QUICK)
    return rows.view(*tokens.shape)
