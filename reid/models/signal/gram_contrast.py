"""Contrast by Gram volume: modalities of one capture span little, those of two captures much.

Cicchetti et al. 2025 (GRAM), as Signal (AAAI 2026) uses it for global alignment.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from reid.nn.losses.classification import smoothed_cross_entropy
from reid.nn.precision import without_autocast


def gram_volume(anchors: Tensor, others: Tensor, epsilon: float = 1e-8) -> Tensor:
    """(B, C) volumes spanned by anchor i (B, D) and the M - 1 vectors of j (C, M - 1, D), in float32.

    sqrt(max(det, 0) + epsilon), whose gradient is finite when vectors coincide. With `epsilon` 0, the public
    code's sqrt(|det|); its gradient at 0 is taken as 0.
    """
    with without_autocast(anchors.device):
        anchors, others = anchors.float(), others.float()
        vectors: list[Tensor] = list(others.unbind(1))
        first = [anchors.square().sum(1)[:, None], *(anchors @ v.T for v in vectors)]  # (B, 1), (B, C), ...
        rest = [[(a * b).sum(1) for b in vectors] for a in vectors]  # each (C,)
        rows = [first, *([first[i + 1], *row] for i, row in enumerate(rest))]
        det = _determinant(rows).expand(len(anchors), len(others))
        if epsilon:
            return (det.clamp_min(0) + epsilon).sqrt()
        flat = det == 0
        return det.abs().masked_fill(flat, 1).sqrt().masked_fill(flat, 0)


def _determinant(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Of a small matrix of broadcastable entries, by expansion: no division, so any gradient is finite."""
    if len(rows) == 1:
        return rows[0][0]
    total = torch.zeros_like(rows[0][0])
    for column, entry in enumerate(rows[0]):
        minor = _determinant([[*row[:column], *row[column + 1 :]] for row in rows[1:]])
        total = total + (-1) ** column * entry * minor
    return total


def gram_contrast(
    features: Tensor, temperature: Tensor | float, smoothing: float = 0.1, epsilon: float = 1e-8
) -> Tensor:
    """Mean of both directions' smoothed cross-entropies of -volume / temperature, target: the own row.

    features (B, M, D), any length: rows of one batch (gathered over ranks), M >= 2 modalities of which the
    first is the anchor. All B x B combinations count, also those within one identity.
    """
    with without_autocast(features.device):
        unit = F.normalize(features.float(), dim=2)
        logits = -gram_volume(unit[:, 0], unit[:, 1:], epsilon) / temperature
        own = torch.arange(len(features), device=features.device)
        forwards = smoothed_cross_entropy(logits, own, smoothing)
        return 0.5 * (forwards + smoothed_cross_entropy(logits.T, own, smoothing))
