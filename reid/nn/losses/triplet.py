"""Batch-hard triplet loss (Hermans et al. 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reid.nn.precision import without_autocast


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Pairwise distances (B, C) of rows x (B, D) and y (C, D), in float32, at least 1e-6."""
    with without_autocast(x.device):
        x, y = x.float(), y.float()
        squared = x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * x @ y.T
        return squared.clamp_min(1e-12).sqrt()


def batch_hard_triplet(features: Tensor, labels: Tensor, margin: float | None = None) -> Tensor:
    """Mean over anchors of the hardest positive against the hardest negative; features (B, D), labels (B,).

    Soft margin log(1 + exp(d_ap - d_an)) when `margin` is None, else max(0, d_ap - d_an + margin). An anchor
    without any negative is left out (one identity gives 0); without another positive it is its own.
    """
    alone = torch.eye(len(features), dtype=torch.bool, device=features.device)
    distance = euclidean(features, features).masked_fill(alone, 1e-6)  # exactly, not the root of rounding
    same = labels[:, None] == labels[None, :]
    hardest_positive = distance.masked_fill(~same, -torch.inf).amax(1)
    hardest_negative = distance.masked_fill(same, torch.inf).amin(1)
    usable = ~same.all(1)
    gap = torch.where(usable, hardest_positive - hardest_negative.masked_fill(~usable, 0.0), 0.0)
    loss = F.softplus(gap) if margin is None else F.relu(gap + margin)
    return (loss * usable).sum() / usable.sum().clamp_min(1)
