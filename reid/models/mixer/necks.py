"""The batch norm of a BNNeck (Luo et al. 2019) by itself, shared by two modalities or one for each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.nn.precision import full_precision


class Neck(nn.Module):
    """Features (n, dim), the visible ones first, -> normalised ones in float32; no bias is learned.

    Feed it the rows of all ranks (`gather_rows`) in training. With `dual` each modality has a norm of its own
    (SAAI's option).
    """

    def __init__(self, dim: int, dual: bool = False) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm1d(dim) for _ in range(1 + dual))
        for norm in self.norms:
            assert isinstance(norm, nn.BatchNorm1d)
            norm.bias.requires_grad_(False)

    def forward(self, features: Tensor, visible: int) -> Tensor:
        """The first `visible` rows are of visible pictures. By the batch's statistics in training."""
        return torch.cat([norm(x) for norm, x in self._pairs(features, visible)])

    def stored(self, features: Tensor, visible: int) -> Tensor:
        """By the running statistics, in training too: what an embedding has."""
        normed = [
            F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
            for norm, x in self._pairs(features, visible)
        ]
        return torch.cat(normed)

    def _pairs(self, features: Tensor, visible: int) -> list[tuple[nn.BatchNorm1d, Tensor]]:
        features = full_precision(features)
        parts = [features] if len(self.norms) == 1 else [features[:visible], features[visible:]]
        return [(norm, x) for norm, x in zip(self.norms, parts, strict=True)]  # type: ignore[misc]
