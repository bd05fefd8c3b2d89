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
    own, used = class_numbers(labels)
    member = F.one_hot(own, len(labels)).to(unit.dtype)  # (N, N): there are at most N classes
    centres = (member.T @ unit) / member.sum(0).clamp_min(1)[:, None]
    spread = F.relu((unit - centres[own]).square().sum(1).clamp_min(1e-12).sqrt() - pull).mean()
    upper = torch.triu(used[:, None] & used[None], diagonal=1).to(unit.dtype)
    apart = F.relu(push - euclidean(centres, centres)) * upper
    return spread + apart.sum() / upper.sum().clamp_min(1)


def class_numbers(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (N,) as numbers 0, 1, ... in ascending order, (N,), and which of N numbers are used, (N,) bool.

    `torch.unique` without its wait for the number of classes.

    >>> class_numbers(torch.tensor([7, 2, 7]))
    (tensor([1, 0, 1]), tensor([ True,  True, False]))
    """
    ordered, place = labels.sort(stable=True)
    first = F.pad(ordered[1:] != ordered[:-1], (1, 0))  # where a new class begins, but for the first
    number = first.cumsum(0)
    used = torch.arange(len(labels), device=labels.device) <= number[-1:]
    return torch.empty_like(place).scatter(0, place, number), used
