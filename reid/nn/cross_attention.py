"""A pre-norm transformer block whose queries and keys may come from different sequences.

Systems use it to let one modality attend to another. Where papers do not fix a detail: pre-norm, a
feed-forward network of four times the width, quick GELU, no dropout.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from reid.errors import ConfigError
from reid.nn.towers.block import QuickGELU, attention

Residual = Literal["q", "kv", "none"]
CrossInit = Literal["clip", "torch"]
HEAD = 64
"""Width of an attention head unless the number of heads is given."""


class CrossAttention(nn.Module):
    """Queries (b, Q, D) and a source (b, K, D) -> (b, Q, D); with source = queries it is self-attention.

    z = residual + MHA(norm_q(queries), norm_kv(source)); with `ffn`, z + FFN(norm(z)). `residual`: "q" the
    queries, "kv" the source (or what the call names instead), "none" nothing. `heads`: default one for every
    64 dimensions. `init` "clip": normal, the residual branches narrower with `depth`, the number of such
    blocks in a row (as IRRA does after CLIP), biases zero; "torch": the modules' own. Raises ConfigError when
    the heads do not divide the width.
    """

    def __init__(
        self,
        dim: int,
        heads: int | None = None,
        residual: Residual = "q",
        ffn: bool = True,
        hidden: int | None = None,
        dropout: float = 0.0,
        depth: int = 1,
        init: CrossInit = "clip",
    ) -> None:
        super().__init__()
        heads = max(1, dim // HEAD) if heads is None else heads
        if dim % heads:
            raise ConfigError(
                f"{heads} attention heads do not divide a width of {dim}: use one of its factors."
            )
        self.residual = residual
        self.norm_q = nn.LayerNorm(dim)
        self.norm_kv = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm: nn.LayerNorm | None = None
        self.ffn: nn.Sequential | None = None
        self.drop = nn.Dropout(dropout)
        if ffn:
            hidden = 4 * dim if hidden is None else hidden
            self.norm = nn.LayerNorm(dim)
            self.ffn = nn.Sequential(nn.Linear(dim, hidden), QuickGELU(), nn.Linear(hidden, dim))
        if init == "clip":
            self._initialise(dim, depth)

    def _initialise(self, dim: int, depth: int) -> None:
        branch = dim**-0.5 * (2 * depth) ** -0.5
        nn.init.normal_(self.attention.in_proj_weight, std=dim**-0.5)
        nn.init.normal_(self.attention.out_proj.weight, std=branch)
        if self.ffn is None:
            return
        for layer, std in ((self.ffn[0], (2 * dim) ** -0.5), (self.ffn[2], branch)):
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(
        self, queries: Tensor, source: Tensor, ignored: Tensor | None = None, own: Tensor | None = None
    ) -> Tensor:
        """`ignored` (b, K) bool: positions of the source that get no attention; a row needs one that does.

        `own` (b, Q, D) is what residual "kv" adds; without it the source itself, which then must be as long
        as the queries.
        """
        attended = attention(self.attention, self.norm_q(queries), self.norm_kv(source), ignored)
        z = self.drop(attended)
        if self.residual == "q":
            z = queries + z
        elif self.residual == "kv":
            z = (source if own is None else own) + z
        if self.ffn is not None and self.norm is not None:
            z = z + self.drop(self.ffn(self.norm(z)))
        out: Tensor = z
        return out


class CrossAttentionStack(nn.Module):
    """`depth` such blocks: the queries are refined, the source stays. Arguments as CrossAttention's."""

    def __init__(
        self,
        dim: int,
        depth: int = 1,
        heads: int | None = None,
        residual: Residual = "q",
        ffn: bool = True,
        init: CrossInit = "clip",
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            CrossAttention(dim, heads, residual, ffn, depth=depth, init=init) for _ in range(depth)
        )

    def forward(
        self,
        queries: Tensor,
        source: Tensor | None = None,
        ignored: Tensor | None = None,
        own: Tensor | None = None,
    ) -> Tensor:
        """(b, Q, D). Without a source every block attends to its own input (self-attention)."""
        out = queries
        for block in self.blocks:
            out = block(out, out if source is None else source, ignored, own)
        return out


def keep_mean(tokens: Tensor, ignored: Tensor | None = None) -> Tensor:
    """Mean over the sequence (b, T, D) -> (b, D), without the ignored (b, T) positions."""
    if ignored is None:
        return tokens.mean(1)
    weight = (~ignored).to(tokens.dtype)[..., None]
    return torch.sum(tokens * weight, dim=1) / weight.sum(1).clamp_min(1)
