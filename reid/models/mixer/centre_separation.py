"""Separation of class centres (the metric of MPANet's and SAAI's public code)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reid.nn.losses.triplet import euclidean
from reid.nn.precision import full_precision

PULL, PUSH = 0.01, 0.7


def centre_separation(features: Tensor, labels: Tensor, pull: float = PULL, push: float = PUSH) -> Tensor:
    """A scalar: unit vectors farther than `pull` from their class's mean, and means nearer than `push`.

    features (N, D), labels (N,). The mean over rows of [d - pull]+ plus the mean over pairs of classes of
    [push - d]+; one class alone pushes nothing.
    """
    unit = F.normalize(full_precision(features), dim=1)
    classes, own = labels.unique(return_inverse=True)
    member = F.one_hot(own, len(classes)).to(unit.dtype)  # (N, classes)
    centres = (member.T @ unit) / member.sum(0)[:, None]
    spread = F.relu((unit - centres[own]).square().sum(1).clamp_min(1e-12).sqrt() - pull).mean()
    upper = torch.triu(torch.ones(len(classes), len(classes), device=unit.device), diagonal=1)
    apart = F.relu(push - euclidean(centres, centres)) * upper
    return spread + apart.sum() / upper.sum().clamp_min(1)
