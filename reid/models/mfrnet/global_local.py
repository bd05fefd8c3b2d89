"""The feature of an image from its class token and its patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid.nn.towers.block import quick_gelu


class GlobalLocal(nn.Module):
    """Projected tokens (b, 1 + N, dim) -> (b, dim): the class token and the mean patch, reduced together."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * dim)
        self.linear = nn.Linear(2 * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(b, dim)."""
        both = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], dim=1)
        return quick_gelu(self.linear(self.norm(both)))
