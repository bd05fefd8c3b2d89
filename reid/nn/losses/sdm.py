"""Similarity distribution matching (Jiang & Ye 2023, IRRA)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from reid.nn.precision import without_autocast

EPSILON = 1e-8


def sdm(a: Tensor, b: Tensor, labels: Tensor, scale: float = 50.0) -> Tensor:
    """KL of the softmaxed similarities against the identity-match distribution, both directions.

    a, b (B, D) are paired features of the same rows, labels (B,) identities, scale = 1 / temperature.
    Computed in float32: the epsilon underflows in half precision.
    """
    with without_autocast(a.device):
        similarity = scale * F.normalize(a.float(), dim=1) @ F.normalize(b.float(), dim=1).T  # (B, B)
        match = (labels[:, None] == labels[None, :]).float()
        target = (match / match.sum(1, keepdim=True) + EPSILON).log()
        return _kl(similarity, target) + _kl(similarity.T, target)


def _kl(logits: Tensor, log_target: Tensor) -> Tensor:
    log_p = F.log_softmax(logits, dim=1)
    return (log_p.exp() * (log_p - log_target)).sum(1).mean()
